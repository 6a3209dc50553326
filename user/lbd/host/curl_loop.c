/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Runs libcurl transfers on the libevent loop (curl_multi_socket_action). */
#include "curl_loop.h"

#include <errno.h>
#include <stdlib.h>

#include <event2/event_struct.h>

#include "common/clock.h"

struct curl_loop {
	struct event_base *base;
	CURLM *multi;
	struct event timer;
	CURL *served; /* by curl_loop_serve, as long as it is in the loop */
	curl_loop_done_fn *done;
};

static void take_out(struct curl_loop *loop, CURL *transfer)
{
	if (loop->served == transfer)
		loop->served = NULL;
	curl_multi_remove_handle(loop->multi, transfer);
}

static void report_ended(struct curl_loop *loop)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(loop->multi, &left))) {
		CURL *transfer = message->easy_handle;
		CURLcode code = message->data.result;
		void *arg = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(transfer, CURLINFO_PRIVATE, &arg);
		take_out(loop, transfer);
		loop->done(arg, code);
	}
}

static void on_timer(int fd, short what, void *arg)
{
	struct curl_loop *loop = arg;
	int running;

	curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	report_ended(loop);
}

static void on_socket(int fd, short what, void *arg)
{
	struct curl_loop *loop = arg;
	int action =
	    (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
	int running;

	curl_multi_socket_action(loop->multi, fd, action, &running);
	report_ended(loop);
}

static int want_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct curl_loop *loop = arg;
	struct timeval timeout;

	if (timeout_ms < 0) {
		event_del(&loop->timer);
		return 0;
	}
	timeout = clock_span_ms((uint64_t)timeout_ms);
	event_base_update_cache_time(loop->base);
	return event_add(&loop->timer, &timeout);
}

static int want_socket(CURL *transfer, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct curl_loop *loop = arg;
	struct event *event = socket_arg;
	short events = EV_PERSIST;

	if (event)
		event_free(event);
	if (what == CURL_POLL_REMOVE) {
		curl_multi_assign(loop->multi, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EV_READ;
	if (what & CURL_POLL_OUT)
		events |= EV_WRITE;
	event = event_new(loop->base, fd, events, on_socket, loop);
	if (event && event_add(event, NULL)) {
		event_free(event);
		event = NULL;
	}
	curl_multi_assign(loop->multi, fd, event);
	return event ? 0 : -1;
}

int curl_loop_new(struct event_base *base, curl_loop_done_fn *done, struct curl_loop **ret)
{
	struct curl_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->base = base;
	loop->done = done;
	evtimer_assign(&loop->timer, base, on_timer, loop);
	if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
		free(loop);
		return -ENOMEM;
	}
	loop->multi = curl_multi_init();
	if (!loop->multi) {
		curl_loop_free(loop);
		return -ENOMEM;
	}
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
	*ret = loop;
	return 0;
}

void curl_loop_free(struct curl_loop *loop)
{
	if (!loop)
		return;
	if (loop->multi)
		curl_multi_cleanup(loop->multi);
	event_del(&loop->timer);
	curl_global_cleanup();
	free(loop);
}

int curl_loop_add(struct curl_loop *loop, CURL *transfer)
{
	return curl_multi_add_handle(loop->multi, transfer) ? -ENOMEM : 0;
}

bool curl_loop_serve(struct curl_loop *loop, CURL *transfer, curl_socket_t fd)
{
	int running;
	bool ended;

	loop->served = transfer;
	/* events 0: curl checks the socket itself */
	curl_multi_socket_action(loop->multi, fd < 0 ? CURL_SOCKET_TIMEOUT : fd, 0, &running);
	report_ended(loop);
	ended = !loop->served;
	loop->served = NULL;
	return ended;
}

void curl_loop_remove(struct curl_loop *loop, CURL *transfer)
{
	take_out(loop, transfer);
}
