/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs libcurl transfers on the libevent loop: curl says which sockets and which time it waits for,
 * this waits. */
#ifndef LBD_HEALTH_CURL_LOOP_H
#define LBD_HEALTH_CURL_LOOP_H

#include <curl/curl.h>
#include <event2/event.h>
#include <stdbool.h>

struct curl_loop;

/* Called from the loop when a transfer has ended; it is out of the loop by then. arg: its
 * CURLOPT_PRIVATE. */
typedef void curl_loop_done_fn(void *arg, CURLcode code);

/* 0 or -ENOMEM. */
int curl_loop_new(struct event_base *base, curl_loop_done_fn *done, struct curl_loop **ret);
/* every transfer was removed before */ /* Starts a transfer. 0 or -ENOMEM. */
void curl_loop_free(struct curl_loop *loop);
int curl_loop_add(struct curl_loop *loop, CURL *transfer);
/* Takes what has come for a transfer on its socket, without waiting. True: it has ended, and done
 * was called, or it was removed meanwhile. fd -1: it has no socket yet. */
bool curl_loop_serve(struct curl_loop *loop, CURL *transfer, curl_socket_t fd);
/* Abandons one that has not ended. Not to be called from curl's own callbacks. */
void curl_loop_remove(struct curl_loop *loop, CURL *transfer);

#endif
