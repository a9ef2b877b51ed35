// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything that remapctl prints. Text is made from the same JSON that --json prints. What the
 * words mean is the business of the commands.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "remapctl.h"
#include "text.h"

#define GAP	"  "		/* between columns */

static void say(const char *kind, const char *fmt, va_list ap)
{
	char text[1024], clean[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	remap_text_clean(clean, sizeof(clean), text);	/* one line, whatever names are in it */
	fprintf(stderr, "remapctl: %s%s\n", kind, clean);
}

int usage_error(const struct args *a, const char *fmt, ...)
{
	char raw[512], text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	remap_text_clean(text, sizeof(text), raw);
	fprintf(stderr, "remapctl: %s (see remapctl %s%s--help)\n", text,
		a ? a->command : "", a ? " " : "");
	return EXIT_USAGE;
}

int problem(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
	return EXIT_PROBLEM;
}

int problem_err(const struct remap_err *err)
{
	return problem("%s", err->text);
}

void warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("warning: ", fmt, ap);
	va_end(ap);
}

/* ---- JSON ---- */

void put_str(struct json_object *o, const char *key, const char *value)
{
	size_t size = value ? strlen(value) + 1 : 0;
	char *clean = value ? malloc(size) : NULL;

	/* labels and serial numbers come from devices: not all that is there is UTF-8 */
	if (clean)
		remap_text_clean(clean, size, value);
	json_object_object_add(o, key, clean ? json_object_new_string(clean) : NULL);
	free(clean);
}

void put_num(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

void put_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

bool out_json(const struct args *a, struct json_object *o)
{
	if (a->json)
		puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
						    JSON_C_TO_STRING_SPACED |
						    JSON_C_TO_STRING_NOSLASHESCAPE));
	return a->json;
}

/* ---- text ---- */

/* How a value looks in text. Caller frees. */
static char *cell(struct json_object *o, const char *key)
{
	struct json_object *v = json_object_object_get(o, key);
	char *text = NULL;
	size_t size;
	FILE *f;

	switch (json_object_get_type(v)) {
	case json_type_array:
		f = open_memstream(&text, &size);
		if (!f)
			return NULL;
		for (size_t i = 0; i < json_object_array_length(v); i++)
			fprintf(f, "%s%s", i ? "," : "",
				json_object_get_string(json_object_array_get_idx(v, i)));
		fclose(f);
		break;
	case json_type_boolean:
		return strdup(json_object_get_boolean(v) ? "yes" : "no");
	default:
		text = strdup(v ? json_object_get_string(v) : "");
	}
	if (text && !*text) {
		free(text);
		return strdup("-");	/* lest a column be empty: awk counts on it */
	}
	return text;
}

/* Columns that a terminal needs for it; wide and combining characters are not worth the trouble. */
static int width_of(const char *s)
{
	int width = 0;

	for (; *s; s++)
		width += (*s & 0xc0) != 0x80;
	return width;
}

static void print_cell(const char *text, int width, bool right, bool last)
{
	int pad = width - width_of(text);

	if (right)
		printf("%*s%s", pad, "", text);
	else
		printf("%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "\n" : GAP, stdout);
}

static bool is_number(struct json_object *o, const char *key)
{
	return json_object_get_type(json_object_object_get(o, key)) == json_type_int;
}

void text_table(struct json_object *array, const struct field *f, size_t n)
{
	size_t rows = json_object_array_length(array);
	_cleanup_free_ int *width = calloc(n, sizeof(*width));
	struct json_object *first = rows ? json_object_array_get_idx(array, 0) : NULL;

	if (!rows || !width)
		return;
	for (size_t c = 0; c < n; c++) {
		width[c] = width_of(f[c].title);
		for (size_t r = 0; r < rows; r++) {
			_cleanup_free_ char *text =
				cell(json_object_array_get_idx(array, r), f[c].key);
			int w = text ? width_of(text) : 0;

			if (w > width[c])
				width[c] = w;
		}
	}
	for (size_t c = 0; c < n; c++)
		print_cell(f[c].title, width[c], is_number(first, f[c].key), c + 1 == n);
	for (size_t r = 0; r < rows; r++) {
		struct json_object *o = json_object_array_get_idx(array, r);

		for (size_t c = 0; c < n; c++) {
			_cleanup_free_ char *text = cell(o, f[c].key);

			print_cell(text ? text : "-", width[c], is_number(first, f[c].key),
				   c + 1 == n);
		}
	}
}

void out_table(const struct args *a, struct json_object *array, const struct field *f, size_t n)
{
	if (!out_json(a, array))
		text_table(array, f, n);
}

void text_fields(struct json_object *o, const struct field *f, size_t n)
{
	int width = 0;

	for (size_t i = 0; i < n; i++)
		if (json_object_object_get_ex(o, f[i].key, NULL) && width_of(f[i].title) > width)
			width = width_of(f[i].title);
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *text = NULL;

		if (!json_object_object_get_ex(o, f[i].key, NULL))
			continue;
		text = cell(o, f[i].key);
		printf("%s:%*s%s\n", f[i].title, width - width_of(f[i].title) + 2, "",
		       text ? text : "-");
	}
}
