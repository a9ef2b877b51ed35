// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is in the file is in the table below: a word for each setting, with how its value is
 * written and what it may be. libinih takes the lines apart; it does not say which one it is at,
 * so the lines are counted as it takes them.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "text.h"

#define MS	1000000ULL
#define DAY	86400ULL

void agent_settings_default(struct agent_settings *s)
{
	*s = (struct agent_settings){
		.policy = AGENT_CONFIG_DEFAULT,
		.scrub_rate = 32 << 20,
		.smart_interval = 1800,
		.metrics = true,
		.metrics_at = "127.0.0.1:9477",
		.address.v4 = {
			.sin_family = AF_INET,
			.sin_port = htons(9477),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		},
	};
}

struct reader {
	FILE *file;
	const char *path;
	unsigned int line;		/* that is being taken apart */
	unsigned int mistakes;
	bool too_long;			/* the last line had no end */
	struct agent_settings s;
	unsigned int given[32];		/* in which line, by the table's index; 0: not yet */
	void (*complain)(void *arg, const char *text);
	void *arg;
};

static void mistake(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void mistake(struct reader *r, const char *fmt, ...)
{
	char raw[400], text[400], whole[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	remap_text_clean(text, sizeof(text), raw);
	snprintf(whole, sizeof(whole), "%.90s:%u: %s", r->path, r->line, text);
	r->complain(r->arg, whole);
	r->mistakes++;
}

/* ---- values ---- */

enum form {
	COUNT,		/* 3 */
	SECONDS,	/* 10min, 1d: a number and a unit */
	MILLISECONDS,	/* 200ms, 1s */
	BYTES,		/* 1M: powers of 1,024 */
	YES_NO,
	ADDRESS,	/* 127.0.0.1:9477, [::1]:9477 or none */
	PROGRAM,	/* a path from the root on */
};

static const char *const form_text[] = {
	"a number", "a time, as in 30s, 10min, 12h or 7d", "a time, as in 200ms or 1s",
	"a size, as in 64K, 1M or 1G", "yes or no",
	"an address and a port, as in 127.0.0.1:9477 or [::1]:9477, or none",
	"the full path of a program",
};

struct unit {
	const char *name;
	u64 factor;
};

static const struct unit seconds[] = {
	{ "s", 1 }, { "min", 60 }, { "h", 3600 }, { "d", DAY }, { NULL, 0 },
}, milliseconds[] = {
	{ "ms", MS }, { "s", 1000 * MS }, { NULL, 0 },
}, bytes[] = {
	{ "", 1 }, { "K", 1 << 10 }, { "M", 1 << 20 }, { "G", 1 << 30 }, { NULL, 0 },
}, plain[] = {
	{ "", 1 }, { NULL, 0 },
};

/* A number and one of the units. 0 needs none. */
static bool parse_number(const char *text, const struct unit *unit, u64 *value)
{
	char *end;
	u64 n;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return false;
	end += strspn(end, " ");
	if (!n && !*end) {
		*value = 0;
		return true;
	}
	for (; unit->name; unit++)
		if (!strcmp(end, unit->name) && n <= UINT64_MAX / unit->factor) {
			*value = n * unit->factor;
			return true;
		}
	return false;
}

static bool parse_yes(const char *text, bool *value)
{
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[] = { "no", "false", "off", "0" };

	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
		if (!strcasecmp(text, yes[i]) || !strcasecmp(text, no[i])) {
			*value = !strcasecmp(text, yes[i]);
			return true;
		}
	}
	return false;
}

static bool parse_address(const char *text, struct agent_settings *s)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	u64 port;

	if (!strcasecmp(text, "none")) {
		s->metrics = false;
		snprintf(s->metrics_at, sizeof(s->metrics_at), "none");
		return true;
	}
	if (!len || len >= sizeof(host) || strlen(text) >= sizeof(s->metrics_at) ||
	    !parse_number(colon + 1, plain, &port) || !port || port > 65535)
		return false;
	memcpy(host, text, len);
	host[len] = 0;
	memset(&s->address, 0, sizeof(s->address));
	if (*host == '[' && host[len - 1] == ']') {
		host[len - 1] = 0;
		s->address.v6.sin6_family = AF_INET6;
		s->address.v6.sin6_port = htons((uint16_t)port);
		if (inet_pton(AF_INET6, host + 1, &s->address.v6.sin6_addr) != 1)
			return false;
	} else {
		s->address.v4.sin_family = AF_INET;
		s->address.v4.sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, host, &s->address.v4.sin_addr) != 1)
			return false;
	}
	s->metrics = true;
	snprintf(s->metrics_at, sizeof(s->metrics_at), "%s", text);
	return true;
}

/* ---- settings ---- */

#define AT(member) offsetof(struct agent_settings, member)

static const struct setting {
	const char *section, *name;
	enum form form;
	size_t at;
	u64 least, most;	/* of numbers; 0 is always good where zero_ok */
	bool zero_ok, small;	/* small: an unsigned int, else a u64 */
} settings[] = {
	{ "agent", "dry_run", YES_NO, AT(policy.dry_run), 0, 0, 0, 0 },
	{ "agent", "metrics", ADDRESS, 0, 0, 0, 0, 0 },
	{ "agent", "program", PROGRAM, 0, 0, 0, 0, 0 },
	{ "move", "strikes", COUNT, AT(policy.strikes), 1, AGENT_MAX_STRIKES, true, true },
	{ "move", "window", SECONDS, AT(policy.window), 1, 365 * DAY, false, false },
	{ "move", "look_again", YES_NO, AT(policy.look_again), 0, 0, 0, 0 },
	{ "move", "per_day", COUNT, AT(policy.per_day), 1, 1000000, true, true },
	{ "move", "slow", MILLISECONDS, AT(slow_ns), MS, 200000 * MS, true, false },
	{ "read", "neighbourhood", BYTES, AT(policy.neighbourhood), 4096, 1 << 30, true, true },
	{ "read", "rate", BYTES, AT(scrub_rate), 64 << 10, 1ULL << 40, false, false },
	{ "scrub", "interval", SECONDS, AT(policy.scrub_interval), 60, 3650 * DAY, true, false },
	{ "check", "interval", SECONDS, AT(policy.check_interval), 60, 3650 * DAY, false, false },
	{ "smart", "interval", SECONDS, AT(smart_interval), 60, 365 * DAY, true, false },
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

_Static_assert(SETTINGS <= sizeof(((struct reader *)0)->given) / sizeof(unsigned int), "room");

/* The largest unit that it is a whole number of. */
static const struct unit *best(const struct unit *unit, u64 n)
{
	const struct unit *u = unit;

	for (; unit->name; unit++)
		if (!(n % unit->factor))
			u = unit;
	return u;
}

static void set_number(struct reader *r, const struct setting *t, const char *value)
{
	static const struct unit *const units[] = {
		[COUNT] = plain, [SECONDS] = seconds, [MILLISECONDS] = milliseconds,
		[BYTES] = bytes,
	};
	void *to = (char *)&r->s + t->at;
	u64 n;

	if (!parse_number(value, units[t->form], &n)) {
		mistake(r, "%s = %s: not %s", t->name, value, form_text[t->form]);
		return;
	}
	if ((n < t->least || n > t->most) && (n || !t->zero_ok)) {
		const struct unit *from = best(units[t->form], t->least);
		const struct unit *to_unit = best(units[t->form], t->most);

		mistake(r, "%s = %s: must be from %llu%s to %llu%s%s", t->name, value,
			(unsigned long long)(t->least / from->factor), from->name,
			(unsigned long long)(t->most / to_unit->factor), to_unit->name,
			t->zero_ok ? ", or 0" : "");
		return;
	}
	/* the policy counts what is read in sectors */
	if (t->at == AT(policy.neighbourhood))
		n >>= 9;
	if (t->small)
		*(unsigned int *)to = (unsigned int)n;
	else
		*(u64 *)to = n;
}

static void set(struct reader *r, const struct setting *t, const char *value)
{
	bool ok;

	switch (t->form) {
	case YES_NO:
		ok = parse_yes(value, (bool *)((char *)&r->s + t->at));
		break;
	case ADDRESS:
		ok = parse_address(value, &r->s);
		break;
	case PROGRAM:
		ok = *value == '/' && strlen(value) < sizeof(r->s.program);
		if (ok)
			snprintf(r->s.program, sizeof(r->s.program), "%s", value);
		break;
	default:
		set_number(r, t, value);
		return;
	}
	if (!ok)
		mistake(r, "%s = %s: not %s", t->name, value, form_text[t->form]);
}

static int on_setting(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *r = arg;
	bool known = false;

	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *t = &settings[i];

		if (strcmp(section, t->section))
			continue;
		known = true;
		if (strcmp(name, t->name))
			continue;
		if (r->given[i])
			mistake(r, "%s was set in line %u already", name, r->given[i]);
		else
			set(r, t, value);
		r->given[i] = r->line;
		return 1;
	}
	if (known)
		mistake(r, "%s: no such setting in [%s]", name, section);
	else if (*section)
		mistake(r, "[%s]: no such section (there are agent, move, read, scrub, check and "
			"smart)", section);
	else
		mistake(r, "%s: is in no section", name);
	return 1;
}

/* For libinih: the next line, as fgets() does it. */
static char *next_line(char *to, int size, void *arg)
{
	struct reader *r = arg;
	char begin;
	size_t n;

	if (!fgets(to, size, r->file))
		return NULL;
	n = strlen(to);
	if (!r->too_long)
		r->line++;
	if (n + 1 == (size_t)size && to[n - 1] != '\n') {
		/* the rest would be taken for a line of its own */
		if (!r->too_long)
			mistake(r, "the line is too long (at most %d bytes)", size - 2);
		r->too_long = true;
		*to = 0;
	} else if (r->too_long) {
		r->too_long = false;
		*to = 0;
	} else if (isspace((unsigned char)*to) && to[strspn(to, " \t\r\n")] &&
		   !strchr(";#", to[strspn(to, " \t")])) {
		/* libinih would join it to the setting before */
		memmove(to, to + strspn(to, " \t"), strlen(to + strspn(to, " \t")) + 1);
	}
	begin = to[strspn(to, " \t")];
	if (*to && begin != '[' && !strchr(";#\r\n", begin) && !strpbrk(to, "=:")) {
		to[strcspn(to, "\r\n")] = 0;
		mistake(r, "%s: not understood (neither [section] nor setting = value)", to);
		*to = 0;
	} else if (begin == '[' && !strchr(to, ']')) {
		mistake(r, "a section's name ends with ]");
		*to = 0;
	}
	return to;
}

int agent_settings_read(struct agent_settings *s, const char *path,
			void (*complain)(void *arg, const char *text), void *arg)
{
	struct reader r = { .path = path, .complain = complain, .arg = arg };
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char text[512];
	int code;

	if (!file) {
		code = -errno;
		snprintf(text, sizeof(text), "%.300s: %s", path, strerror(-code));
		complain(arg, text);
		return code;
	}
	r.file = file;
	agent_settings_default(&r.s);
	ini_parse_stream(next_line, &r, on_setting, &r);
	if (ferror(file)) {
		/* a folder, for one */
		snprintf(text, sizeof(text), "%.300s: %s", path, strerror(errno));
		complain(arg, text);
		return -EIO;
	}
	if (r.mistakes)
		return -EINVAL;
	*s = r.s;
	return 0;
}
