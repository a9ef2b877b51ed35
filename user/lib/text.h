/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Small helpers for text that several parts of libremap and of the tools need: reading files of a
 * line, cleaning strings that a device made up, uuids. Nothing here knows about remap.
 */
#ifndef REMAP_TEXT_H
#define REMAP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REMAP_UUID_STR	37	/* bytes of a uuid in its usual notation, with the NUL */

static inline void remap_cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void remap_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void remap_cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_close_		__attribute__((cleanup(remap_cleanup_close)))
#define _cleanup_free_		__attribute__((cleanup(remap_cleanup_free)))
#define _cleanup_fclose_	__attribute__((cleanup(remap_cleanup_fclose)))

/** remap_read_file() - the first line of a file, NUL-terminated. Return: its length or -errno */
int remap_read_file(const char *path, char *buf, size_t size);

/** remap_read_u64() - a number in a file by itself, as sysfs has them */
int remap_read_u64(const char *path, uint64_t *value);

/** remap_utf8_len() - bytes of the printable UTF-8 character at @s; 0 if there is none */
size_t remap_utf8_len(const char *s);

/** remap_text_ok() - nothing but printable UTF-8? */
bool remap_text_ok(const char *s);

/** remap_text_clean() - copy, without blanks at the ends, '?' for what does not print */
void remap_text_clean(char *to, size_t size, const char *from);

void remap_uuid_str(const uint8_t uuid[16], char text[REMAP_UUID_STR]);

/** remap_uuid_random() - a new uuid (version 4). Return: 0 or -errno */
int remap_uuid_random(uint8_t uuid[16]);

/** remap_parse_u64() - the whole of @s as a number, decimal or 0x. Return: false if it is none */
bool remap_parse_u64(const char *s, uint64_t *value);

#endif
