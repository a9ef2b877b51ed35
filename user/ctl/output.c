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
	char text[2560], clean[2560];	/* an error's text, and what is put around it */

	vsnprintf(text, sizeof(text), fmt, ap);
	progress_hide();
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

void warning_err(const struct remap_err *err)
{
	warning("%s", err->text);
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

static const char *json_text(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					      JSON_C_TO_STRING_NOSLASHESCAPE);
}

bool out_json(const struct args *a, struct json_object *o)
{
	progress_hide();
	if (a->json)
		puts(json_text(o));
	return a->json;
}

/* Lines deeper by @indent; a string has no newline in JSON. */
static void print_indented(const char *text, int indent)
{
	for (const char *end; (end = strchr(text, '\n')); text = end + 1)
		printf("%.*s\n%*s", (int)(end - text), text, indent, "");
	fputs(text, stdout);
}

/*
 * The frame is what json-c makes of an array whose only element is null, the last word of it; the
 * elements are put there one at a time.
 */
static void print_framed(struct json_object *whole, const struct rows *rows)
{
	const char *text = json_text(whole), *mark = text, *line, *next;
	int indent;

	while ((next = strstr(mark + 1, "null")))
		mark = next;
	for (line = mark; line > text && line[-1] != '\n'; line--)
		;
	indent = (int)(mark - line);
	printf("%.*s", (int)(mark - text), text);
	for (size_t i = 0; i < rows->n; i++) {
		_cleanup_json_ struct json_object *o = rows->row(rows->arg, i);

		if (i)
			printf(",\n%*s", indent, "");
		print_indented(json_text(o), indent);
	}
	puts(mark + strlen("null"));
}

bool out_rows_json(const struct args *a, struct json_object *o, const char *key,
		   const struct rows *rows)
{
	struct json_object *array;

	if (!a->json)
		return false;
	array = json_object_new_array();
	if (rows->n)
		json_object_array_add(array, NULL);
	if (o)
		json_object_object_add(o, key, json_object_get(array));
	if (rows->n)
		print_framed(o ? o : array, rows);
	else
		out_json(a, o ? o : array);
	json_object_put(array);
	return true;
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

void text_rows(const struct rows *rows, const struct field *f, size_t n)
{
	_cleanup_free_ int *width = calloc(n, sizeof(*width));
	_cleanup_json_ struct json_object *first = rows->n ? rows->row(rows->arg, 0) : NULL;

	if (!rows->n || !width)
		return;
	progress_hide();
	for (size_t c = 0; c < n; c++)
		width[c] = width_of(f[c].title);
	for (size_t r = 0; r < rows->n; r++) {
		_cleanup_json_ struct json_object *o = rows->row(rows->arg, r);

		for (size_t c = 0; c < n; c++) {
			_cleanup_free_ char *text = cell(o, f[c].key);
			int w = text ? width_of(text) : 0;

			if (w > width[c])
				width[c] = w;
		}
	}
	for (size_t c = 0; c < n; c++)
		print_cell(f[c].title, width[c], is_number(first, f[c].key), c + 1 == n);
	for (size_t r = 0; r < rows->n; r++) {
		_cleanup_json_ struct json_object *o = rows->row(rows->arg, r);

		for (size_t c = 0; c < n; c++) {
			_cleanup_free_ char *text = cell(o, f[c].key);

			print_cell(text ? text : "-", width[c], is_number(first, f[c].key),
				   c + 1 == n);
		}
	}
}

static struct json_object *array_row(const void *arg, size_t i)
{
	/* json-c has no const for it, though nothing is changed but the count of references */
	struct json_object *array = (struct json_object *)(uintptr_t)arg;

	return json_object_get(json_object_array_get_idx(array, i));
}

void text_table(struct json_object *array, const struct field *f, size_t n)
{
	const struct rows rows = {
		.n = json_object_array_length(array), .row = array_row, .arg = array,
	};

	text_rows(&rows, f, n);
}

void out_table(const struct args *a, struct json_object *array, const struct field *f, size_t n)
{
	if (!out_json(a, array))
		text_table(array, f, n);
}

void text_fields(struct json_object *o, const struct field *f, size_t n)
{
	int width = 0;

	progress_hide();
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
