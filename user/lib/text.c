// SPDX-License-Identifier: GPL-2.0-only
/*
 * Text helpers, see text.h.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include "text.h"

int remap_read_file(const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return (int)strlen(buf);
}

int remap_read_u64(const char *path, uint64_t *value)
{
	char line[64];
	int r = remap_read_file(path, line, sizeof(line));

	if (r < 0)
		return r;
	return remap_parse_u64(line, value) ? 0 : -EINVAL;
}

size_t remap_utf8_len(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c;
	size_t n;

	if (p[0] < 0x80)
		return p[0] >= 0x20 && p[0] != 0x7f;
	n = (p[0] & 0xe0) == 0xc0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
	if (!n)
		return 0;
	c = p[0] & (0x7fU >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	/* overlong forms, surrogates, beyond Unicode, and the C1 controls, which terminals obey */
	if (c < lowest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || c < 0xa0)
		return 0;
	return n;
}

bool remap_text_ok(const char *s)
{
	while (*s) {
		size_t n = remap_utf8_len(s);

		if (!n)
			return false;
		s += n;
	}
	return true;
}

void remap_text_clean(char *to, size_t size, const char *from)
{
	size_t at = 0, end = 0;

	while (isspace((unsigned char)*from))
		from++;
	while (*from) {
		size_t n = remap_utf8_len(from);

		if (at + (n ? n : 1) >= size)
			break;
		if (n) {
			memcpy(to + at, from, n);
		} else {
			to[at] = '?';
			n = 1;
		}
		at += n;
		if (!isspace((unsigned char)*from))
			end = at;
		from += n;
	}
	to[end] = 0;
}

void remap_uuid_str(const uint8_t uuid[16], char text[REMAP_UUID_STR])
{
	size_t at = 0;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[at++] = '-';
		text[at++] = "0123456789abcdef"[uuid[i] >> 4];
		text[at++] = "0123456789abcdef"[uuid[i] & 15];
	}
	text[at] = 0;
}

int remap_uuid_random(uint8_t uuid[16])
{
	ssize_t n = getrandom(uuid, 16, 0);

	if (n != 16)
		return n < 0 ? -errno : -EIO;
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	return 0;
}

bool remap_parse_u64(const char *s, uint64_t *value)
{
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	char *end;

	/* strtoull() would take signs and blanks in front */
	if (!isdigit((unsigned char)s[0]) || (hex && !isxdigit((unsigned char)s[2])))
		return false;
	errno = 0;
	*value = strtoull(s, &end, hex ? 16 : 10);
	return !errno && !*end;
}
