/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The command "doctor": findings, printed; and the check of the daemon. */
#include "config.h"

#include "tools/doctor.h"

#include "tools/control.h"
#include "tools/sock.h"
#include "tools/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

struct doctor {
	json_t *list; /* if JSON is wanted, else NULL */
	unsigned failed;
};

void
doctor_say(struct doctor *d, enum finding finding, const char *what,
    const char *advice, const char *format, ...)
{
	static const char *const names[] = {
		[FINDING_OK] = "ok",
		[FINDING_WARN] = "warn",
		[FINDING_FAIL] = "fail",
	};
	AUTO_TEXT text = NULL;
	AUTO_TEXT visible = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	visible = text_visible(text != NULL ? text : "", "");
	d->failed += finding == FINDING_FAIL;
	if (d->list != NULL)
		(void)json_array_append_new(d->list,
		    json_pack("{s:s, s:s, s:s, s:s?}", "status", names[finding],
			"what", what, "finding", visible, "advice", advice));
	else
		(void)printf("%-4s  %s: %s%s%s\n", names[finding], what,
		    visible, advice != NULL ? "; " : "",
		    advice != NULL ? advice : "");
}

static void
check_control(struct doctor *d, const struct ctl_args *args)
{
	const char *path = control_path(args);
	struct sock s;
	int rc = sock_connect(&s, path, ctl_timeout(args, 5));

	if (rc == 0) {
		sock_close(&s);
		doctor_say(
		    d, FINDING_OK, "control socket", NULL, "%s answers", path);
	} else if (rc == -EACCES) {
		doctor_say(d, FINDING_WARN, "control socket",
		    "ask as root, or as a user whom the daemon permits it",
		    "%s: %s", path, sock_strerror(rc));
	} else {
		/* Not every daemon has one. */
		doctor_say(d, FINDING_WARN, "control socket",
		    "start " PACKAGE_NAME
		    ", or name its socket with --control=PATH",
		    "%s: %s", path, sock_strerror(rc));
	}
}

enum ctl_status
doctor_command(const struct ctl_args *args)
{
	struct doctor d = { 0 };
	enum ctl_status status = CTL_OK;

	if (args->option[CTL_JSON] != NULL)
		d.list = json_array();
	doctor_check_host(&d);
	check_control(&d, args);
	if (d.list != NULL)
		status = text_json(d.list);
	else if (fflush(stdout) != 0)
		status = CTL_FAILED;
	json_decref(d.list);
	return d.failed != 0 ? CTL_FAILED : status;
}
