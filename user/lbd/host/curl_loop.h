/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs libcurl transfers on the libevent loop: waits for the sockets and timeouts that curl asks
 * for. */
#ifndef LBD_CURL_LOOP_H
#define LBD_CURL_LOOP_H

#include <curl/curl.h>
#include <event2/event.h>
#include <stdbool.h>

struct curl_loop;

/* Called from the loop when a transfer has ended, after its removal from the loop. arg: its
 * CURLOPT_PRIVATE. */
typedef void curl_loop_done_fn(void *arg, CURLcode code);

/* 0 or -ENOMEM. */
int curl_loop_new(struct event_base *base, curl_loop_done_fn *done, struct curl_loop **ret);
/* Every transfer must have been removed before. */
void curl_loop_free(struct curl_loop *loop);
/* Starts a transfer. 0 or -ENOMEM. */
int curl_loop_add(struct curl_loop *loop, CURL *transfer);
/* Handles what has arrived on a transfer's socket, without waiting. True: it has ended and done was
 * called, or it was removed meanwhile. fd -1: it has no socket yet. */
bool curl_loop_serve(struct curl_loop *loop, CURL *transfer, curl_socket_t fd);
/* Aborts a running transfer. Must not be called from curl's own callbacks. */
void curl_loop_remove(struct curl_loop *loop, CURL *transfer);

#endif
