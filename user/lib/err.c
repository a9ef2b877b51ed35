// SPDX-License-Identifier: GPL-2.0-only
/*
 * Error texts of libremap. Only puts them together; what they say is up to who met the error.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "err.h"

int remap_fail(struct remap_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

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

int remap_fail_errno(struct remap_err *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!err)
		return code;
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	n = strlen(err->text);
	snprintf(err->text + n, sizeof(err->text) - n, ": %s%s", strerror(-code), remedy(code));
	return code;
}
