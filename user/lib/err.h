/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How libremap reports what went wrong: it prints nothing. A function that can fail returns a
 * negative errno and, where the caller gave a struct remap_err, one line that names the thing,
 * what is wrong with it and, in brackets, the remedy. Who calls decides where the line goes.
 */
#ifndef REMAP_ERR_H
#define REMAP_ERR_H

struct remap_err {
	int code;		/* what was returned, negative */
	char text[2048];	/* one line, no newline; two identities of a disk fit in */
};

/** remap_fail() - fill in @err, which may be NULL. Return: @code */
int remap_fail(struct remap_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** remap_fail_errno() - the same, with the text of @code and, where there is one, the remedy */
int remap_fail_errno(struct remap_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
