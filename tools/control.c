/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A client of the control socket; see control.h. And the commands that are no
 * more than a request. */
#include "config.h"

#include "tools/control.h"

#include "proto/fd.h"
#include "tools/reply.h"
#include "tools/sock.h"
#include "tools/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* What a daemon with 256 connections says is some hundred KiB. */
#define REPLY_MAX ((size_t)16 << 20)

const char *
control_path(const struct ctl_args *args)
{
	const char *path = args->option[CTL_CONTROL];

	return path != NULL ? path : CONTROL_SOCKET;
}

static enum ctl_status
unreachable(const struct ctl_args *args, int rc)
{
	(void)text_error("the daemon at %s: %s", control_path(args),
	    rc == -EMSGSIZE ? "its reply is too long" : sock_strerror(rc));
	return rc == -ETIMEDOUT ? CTL_UNREACHABLE : CTL_FAILED;
}

/* The bytes of a line without its end; -EPIPE if there is none, -EMSGSIZE.
 * *line is the caller's to free. */
static ssize_t
recv_line(struct sock *s, char **line, int *fd)
{
	size_t size = 0, room = 0;

	*line = NULL;
	for (;;) {
		char *end, *bigger;
		ssize_t n;

		if (size == room) {
			room = room != 0 ? 2 * room : (size_t)64 << 10;
			bigger =
			    room <= REPLY_MAX ? realloc(*line, room) : NULL;
			if (bigger == NULL)
				return -EMSGSIZE;
			*line = bigger;
		}
		n = sock_recv(s, *line + size, room - size, fd);
		if (n <= 0)
			return n == 0 ? -EPIPE : n;
		end = memchr(*line + size, '\n', (size_t)n);
		size += (size_t)n;
		if (end != NULL)
			return end - *line;
	}
}

/* Whether the reply says that it was done. */
static enum ctl_status
judge(json_t *reply)
{
	const char *error;
	bool ok;

	if (!reply_flag(reply, "ok", &ok))
		return CTL_FAILED;
	if (!ok && reply_text(reply, "error", false, &error))
		(void)text_error("%s", error);
	return ok ? CTL_OK : CTL_FAILED;
}

static enum ctl_status
converse(const struct ctl_args *args, struct sock *s, const char *request,
    json_t **reply, int *fd)
{
	AUTO_TEXT line = NULL;
	json_error_t error;
	enum ctl_status status;
	ssize_t len;
	int rc = sock_send(s, request, strlen(request));

	if (rc < 0)
		return unreachable(args, rc);
	len = recv_line(s, &line, fd);
	if (len < 0)
		return unreachable(args, (int)len);
	*reply = json_loadb(line, (size_t)len, 0, &error);
	if (!json_is_object(*reply)) {
		(void)text_error("the daemon's reply makes no sense: %s",
		    *reply == NULL ? error.text : "it is no object");
		status = CTL_FAILED;
	} else {
		status = judge(*reply);
	}
	if (status != CTL_OK) {
		json_decref(*reply);
		*reply = NULL;
	}
	return status;
}

enum ctl_status
control_ask(
    const struct ctl_args *args, json_t *request, json_t **reply, int *fd)
{
	AUTO_TEXT text = json_dumps(request, JSON_COMPACT | JSON_ENSURE_ASCII);
	AUTO_TEXT line = text_format("%s\n", text != NULL ? text : "");
	enum ctl_status status;
	struct sock s;
	int rc;

	*reply = NULL;
	if (fd != NULL)
		*fd = -1;
	json_decref(request);
	if (text == NULL) {
		(void)text_error("the arguments are not UTF-8");
		return CTL_USAGE;
	}
	rc = sock_connect(&s, control_path(args), ctl_timeout(args, 5));
	if (rc < 0) {
		(void)unreachable(args, rc);
		return CTL_UNREACHABLE;
	}
	status = converse(args, &s, line, reply, fd);
	sock_close(&s);
	if (status != CTL_OK && fd != NULL)
		fd_closep(fd);
	return status;
}

enum ctl_status
disconnect_command(const struct ctl_args *args)
{
	const char *text = args->words[0];
	enum ctl_status status;
	json_t *reply;
	char *end;
	long id;

	errno = 0;
	id = strtol(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0) {
		(void)text_error("disconnect %s: the number of a connection "
				 "belongs here; '" CTL_NAME " connections' "
				 "shows them",
		    text);
		return CTL_USAGE;
	}
	status = control_ask(args,
	    json_pack("{s:s, s:I}", "command", "disconnect", "connection",
		(json_int_t)id),
	    &reply, NULL);
	json_decref(reply);
	return status;
}

enum ctl_status
reload_command(const struct ctl_args *args)
{
	struct ctl_args patient = *args;
	enum ctl_status status;
	const char *changed;
	json_t *reply;

	/* The reply comes when all of it is done. */
	if (patient.option[CTL_TIMEOUT] == NULL)
		patient.option[CTL_TIMEOUT] = "60";
	status = control_ask(
	    &patient, json_pack("{s:s}", "command", "reload"), &reply, NULL);
	if (status != CTL_OK)
		return status;
	if (reply_text(reply, "changed", false, &changed)) {
		AUTO_TEXT visible = text_visible(changed, "\n");

		if (puts(visible) < 0 || fflush(stdout) != 0)
			status = CTL_FAILED;
	} else {
		status = CTL_FAILED;
	}
	json_decref(reply);
	return status;
}
