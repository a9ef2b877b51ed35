// SPDX-License-Identifier: GPL-2.0-only
/*
 * Error texts of libremap. Only puts them together; what they say is up to who met the error.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "err.h"

static const char *remedy(int code)
{
	switch (-code) {
	case EPERM:
	case EACCES:
		return " (run as root)";
	case EIO:
		return " (see the kernel log)";
	default:
		return "";
	}
}

static void fill(struct remap_err *err, int code, bool say_errno, const char *fmt, va_list ap)
{
	size_t n;

	if (!err)
		return;
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	n = strlen(err->text);
	if (say_errno)
		snprintf(err->text + n, sizeof(err->text) - n, ": %s%s", strerror(-code),
			 remedy(code));
}

int remap_fail(struct remap_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, code, false, fmt, ap);
	va_end(ap);
	return code;
}

int remap_fail_errno(struct remap_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, code, true, fmt, ap);
	va_end(ap);
	return code;
}
