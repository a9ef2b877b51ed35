// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page that remapctl report writes, from the JSON that report --json prints, which it carries
 * along. One file that asks nothing of a network; readable without its script, which only makes
 * what <title> says come at once, and on a touch screen. Colour never says anything by itself.
 *
 * Names, labels and events come from devices and other programs: all text goes through esc().
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include "report.h"
#include "surface.h"

#define COLUMNS		64	/* of the surface */
#define CELL_W		16
#define CELL_H		24
#define MANY		16	/* blocks in a cell, from which on it is drawn full */
#define STRIP_COLUMNS	50	/* blocks of a place in a row */
#define STRIP_CELL	10
#define MAX_LINES	40	/* of a hover text where not all blocks are listed */

static const char style[] =
	":root{color-scheme:light dark;--bg:#f5f6f8;--card:#fff;--ink:#1b1f24;--soft:#57606a;"
	"--line:#d5dae0;--none:#e6e9ed;--moved:#2f6fde;--lost:#c8102e;--error:#c2600a;"
	"--slow:#0b7a7c;--ok:#1a7f37;--on:#fff}\n"
	"@media(prefers-color-scheme:dark){:root{--bg:#13161a;--card:#1c2127;--ink:#e7eaee;"
	"--soft:#9ea7b3;--line:#363d46;--none:#2b3139;--moved:#6ba3ff;--lost:#ff6472;"
	"--error:#f2a33a;--slow:#4cc4c6;--ok:#4ac26b;--on:#13161a}}\n"
	"*{box-sizing:border-box}\n"
	"body{margin:0;background:var(--bg);color:var(--ink);"
	"font:16px/1.45 system-ui,sans-serif}\n"
	"main{max-width:68rem;margin:0 auto;padding:1rem}h1,h2,h3,p,ul,table{margin:0}\n"
	"h1{font-size:1.35rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-bottom:.6rem}\n"
	"h3{font-size:.95rem;margin:.9rem 0 .3rem}\n"
	"section{background:var(--card);border:1px solid var(--line);border-radius:.5rem;"
	"padding:1rem;margin-top:1rem}\n"
	".soft{color:var(--soft);font-size:.875rem}.soft+*{margin-top:.5rem}\n"
	".verdict{border-left:.6rem solid var(--level)}\n"
	".verdict h2{font-size:1.45rem;line-height:1.25;color:var(--level);display:flex;"
	"gap:.6rem}\n"
	".well{--level:var(--ok)}.watch{--level:var(--moved)}.bad{--level:var(--error)}\n"
	".stopped,.bad.gone{--level:var(--lost)}\n"
	".three{display:grid;gap:1rem;"
	"grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr))}\n"
	".three h3{margin-top:0;color:var(--soft)}.three ul{padding-left:1.1rem}\n"
	".three li{margin-bottom:.3rem}\n"
	".facts{display:grid;gap:.6rem;margin-top:1rem;"
	"grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr))}\n"
	".facts div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;"
	"padding:.5rem .75rem}\n"
	".facts b{display:block;font-size:1.3rem;overflow-wrap:anywhere}\n"
	"svg{display:block;width:100%}svg.flat{height:8rem}\n"
	"svg.key{display:inline-block;width:1rem;height:1.5rem;vertical-align:middle}\n"
	".ends{display:flex;justify-content:space-between;gap:1rem}\n"
	".legend{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;margin-top:.6rem;"
	"font-size:.875rem}\n"
	".scroll{overflow-x:auto;max-height:24rem;overflow-y:auto}\n"
	"table{border-collapse:collapse;font-size:.875rem}\n"
	"th,td{text-align:left;padding:.25rem .9rem .25rem 0;vertical-align:top;"
	"border-bottom:1px solid var(--line)}\n"
	"th{color:var(--soft);font-weight:600;white-space:nowrap}\n"
	".n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
	"td.text{min-width:14rem;overflow-wrap:anywhere}\n"
	".axis{position:relative;height:1.4rem;font-size:.75rem;color:var(--soft);"
	"margin:0 1.5rem}\n"
	".axis span{position:absolute;transform:translateX(-50%);white-space:nowrap}\n"
	".plot{padding:0 1.5rem}\n"
	".copies{display:flex;flex-wrap:wrap;gap:.5rem;padding:0;list-style:none}\n"
	".copies li{border:2px solid var(--ok);border-radius:.4rem;padding:.25rem .6rem}\n"
	".copies .wrong{border:2px dashed var(--lost);color:var(--lost);font-weight:600}\n"
	"svg.strip{margin-top:.35rem}#about table{width:100%}#about td{min-width:0}\n"
	"summary{cursor:pointer;padding:.3rem 0}.none{fill:var(--none)}\n"
	".moved{fill:var(--moved)}.pale{fill:var(--moved);opacity:.3}.lost{fill:var(--lost)}\n"
	".error{fill:var(--error)}.slow{fill:var(--slow)}\n"
	".mark{stroke:var(--on);stroke-width:3;fill:none}\n"
	".fine{stroke:var(--on);stroke-width:1.2;fill:none}\n"
	".wave{stroke:var(--slow);stroke-width:2;fill:none}.base{stroke:var(--line)}\n"
	".hit{fill:transparent}g:hover>.hit{fill:var(--ink);opacity:.12}\n"
	".at{stroke:var(--ink);stroke-width:1;stroke-dasharray:4 3}\n"
	"#tip{position:fixed;z-index:9;max-width:min(24rem,94vw);max-height:60vh;"
	"overflow:hidden;background:var(--ink);color:var(--bg);border-radius:.4rem;"
	"padding:.4rem .6rem;font-size:.8rem;white-space:pre-line;pointer-events:none}\n"
	"@media(max-width:40rem){#surface{height:14rem}}\n"
	"@media print{body{background:none}section{break-inside:avoid}}\n";

static const char script[] =
	"(function(){var tip=document.createElement('div'),now=null;tip.id='tip';tip.hidden=true;"
	"document.body.appendChild(tip);\n"
	"function leave(){if(now){now.node.textContent=now.text;now=null;tip.hidden=true}}\n"
	"function enter(e){var g=e.target.closest&&e.target.closest('svg g'),"
	"t=g&&g.querySelector('title');leave();if(!t)return;now={node:t,text:t.textContent};"
	"t.textContent='';tip.textContent=now.text;tip.hidden=false;"
	"var w=tip.offsetWidth,h=tip.offsetHeight;"
	"tip.style.left=Math.max(4,Math.min(e.clientX+12,innerWidth-w-4))+'px';"
	"tip.style.top=Math.max(4,e.clientY+18+h>innerHeight?e.clientY-h-12:e.clientY+18)+'px'}\n"
	"document.addEventListener('pointerover',enter);document.addEventListener('click',enter);"
	"document.addEventListener('pointerleave',leave);"
	"addEventListener('scroll',leave,true)})();";

/* ---- text ---- */

static void esc(FILE *f, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		case '\'':
			fputs("&#39;", f);
			break;
		default:
			fputc(*s, f);
		}
	}
}

/* Formatted, and escaped. */
static void text(FILE *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void text(FILE *f, const char *fmt, ...)
{
	char buf[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	esc(f, buf);
}

static const char *plural(u64 n)
{
	return n == 1 ? "" : "s";
}

static void when(FILE *f, u64 seconds, const char *format)
{
	time_t t = (time_t)seconds;
	struct tm tm;
	char buf[64];

	if (localtime_r(&t, &tm) && strftime(buf, sizeof(buf), format, &tm))
		esc(f, buf);
}

#define TO_THE_SECOND	"%Y-%m-%d %H:%M:%S %Z"

static char *duration(u64 ns, char *buf, size_t size)
{
	static const char *const unit[] = { "ns", "µs", "ms", "s" };
	double n = (double)ns;
	int i = 0;

	while (n >= 999.5 && i < 3) {
		n /= 1000;
		i++;
	}
	snprintf(buf, size, n < 9.95 && i ? "%.1f %s" : "%.0f %s", n, unit[i]);
	return buf;
}

static void row(FILE *f, const char *title, const char *value)
{
	fputs("<tr><th scope='row'>", f);
	esc(f, title);
	fputs("</th><td class='text'>", f);
	esc(f, *value ? value : "-");
	fputs("</td></tr>\n", f);
}

/* ---- the first screen ---- */

static void list(FILE *f, const char *title, struct json_object *items, const char *none)
{
	struct json_object *item;

	fprintf(f, "<div><h3>%s</h3>", title);
	if (json_object_array_length(items)) {
		fputs("<ul>", f);
		EACH_ITEM(item, items) {
			fputs("<li>", f);
			esc(f, json_object_get_string(item));
			fputs("</li>", f);
		}
		fputs("</ul>", f);
	} else {
		fprintf(f, "<p>%s</p>", none);
	}
	fputs("</div>\n", f);
}

static void verdict(FILE *f, struct json_object *o, struct json_object *dev)
{
	struct json_object *v = get(o, "verdict");
	const char *level = get_str(v, "level");
	const char *sign = !strcmp(level, "well") ? "✓" : !strcmp(level, "watch") ? "ℹ" :
			   !strcmp(level, "bad") ? "⚠" : "✕";

	fprintf(f, "<section class='verdict %s%s' id='verdict'>\n<h2><span "
		"aria-hidden='true'>%s</span><span>", level, get_num(dev, "lost_sectors") ? " "
		"gone" : "", sign);
	esc(f, get_str(v, "headline"));
	fputs("</span></h2>\n<div class='three'>\n", f);
	list(f, "What is wrong?", get(v, "what"), "Nothing.");
	list(f, "Where?", get(v, "where"), "Nowhere.");
	fputs("<div><h3>Is it getting worse?</h3><p>", f);
	esc(f, get_str(v, "trend"));
	fputs("</p></div>\n</div>\n</section>\n", f);
}

static void fact(FILE *f, const char *title, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void fact(FILE *f, const char *title, const char *fmt, ...)
{
	char buf[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	fputs("<div><b>", f);
	esc(f, buf);
	fprintf(f, "</b><span class='soft'>%s</span></div>\n", title);
}

static void facts(FILE *f, struct json_object *o, struct json_object *dev)
{
	u64 used = get_num(dev, "slots_used"), bad = get_num(dev, "slots_bad");
	u64 total = get_num(dev, "slots_total");

	fputs("<div class='facts'>\n", f);
	fact(f, "state", "%s%s", get_str(dev, "state"),
	     get_bool(dev, "suspended") ? ", suspended" : "");
	fact(f, "sectors lost", "%" PRIu64, get_num(dev, "lost_sectors"));
	fact(f, "blocks on the spare", "%" PRIu64, used);
	fact(f, "slots of the spare left", "%" PRIu64, used + bad < total ? total - used - bad : 0);
	fact(f, "copies of the metadata whole", "%" PRIu64 " of %" PRIu64,
	     replicas_ok(o), get_num(dev, "replicas_total"));
	fact(f, "I/O errors passed up since it was started", "%" PRIu64, get_num(dev, "io_errors"));
	fputs("</div>\n", f);
}

/* ---- blocks in words ---- */

static struct json_object *block_at(struct json_object *blocks, size_t i)
{
	return i < json_object_array_length(blocks) ? json_object_array_get_idx(blocks, i) : NULL;
}

static u64 sector_at(struct json_object *lost, size_t i)
{
	return json_object_get_uint64(json_object_array_get_idx(lost, i));
}

/* Lost sectors as runs: "120000-120003, 120006" */
static void lost_text(FILE *f, struct json_object *lost, u64 unit)
{
	size_t n = json_object_array_length(lost);

	for (size_t i = 0, j; i < n; i = j) {
		u64 first = sector_at(lost, i);
		u64 end = first + unit;

		for (j = i + 1; j < n && sector_at(lost, j) == end; j++)
			end += unit;
		text(f, end - first > 1 ? "%s%" PRIu64 "-%" PRIu64 : "%s%" PRIu64,
		     i ? ", " : "", first, end - 1);
	}
}

static bool follows(struct json_object *a, struct json_object *b)
{
	return b && get_num(b, "sector") == get_num(a, "sector") + get_num(a, "count") &&
	       get_num(b, "slot") == get_num(a, "slot") + 1 &&
	       !json_object_array_length(get(a, "lost")) &&
	       !json_object_array_length(get(b, "lost"));
}

/* Blocks from @i on that lie side by side, on the disk and on the spare. Return: the next one */
static size_t run_text(FILE *f, struct json_object *blocks, size_t i, u64 unit)
{
	struct json_object *first = block_at(blocks, i), *last = first;
	size_t n = 1;
	u64 end;

	while (follows(last, block_at(blocks, i + n)))
		last = block_at(blocks, i + n++);
	end = get_num(last, "sector") + get_num(last, "count");
	text(f, "sectors %" PRIu64 "-%" PRIu64 ": ", get_num(first, "sector"), end - 1);
	if (n > 1)
		text(f, "%zu blocks, slots %" PRIu64 "-%" PRIu64, n, get_num(first, "slot"),
		     get_num(last, "slot"));
	else
		text(f, "slot %" PRIu64, get_num(first, "slot"));
	if (json_object_array_length(get(first, "lost"))) {
		fputs("; lost ", f);
		lost_text(f, get(first, "lost"), unit);
	}
	return i + n;
}

/* ---- the surface ---- */

static void symbols(FILE *f)
{
	fputs("<svg style='position:absolute;width:0;height:0' aria-hidden='true'><defs>\n"
	      "<g id='m-none'><rect class='none' x='1' y='1' width='14' height='22' rx='2'/></g>\n"
	      "<g id='m-some'><rect class='pale' x='1' y='1' width='14' height='22' rx='2'/><rect "
	      "class='moved' x='4' y='7' width='8' height='10'/></g>\n"
	      "<g id='m-many'><rect class='moved' x='1' y='1' width='14' height='22' rx='2'/></g>\n"
	      "<g id='m-lost'><rect class='lost' x='1' y='1' width='14' height='22' rx='2'/><path "
	      "class='mark' d='M4 6l8 12M12 6l-8 12'/></g>\n"
	      "<g id='m-error'><rect class='error' x='1' y='1' width='14' height='22' "
	      "rx='2'/><path class='mark' d='M8 5v9M8 17v3'/></g>\n"
	      "<g id='m-slow'><rect class='none' x='1' y='1' width='14' height='22' rx='2'/><path "
	      "class='wave' d='M3 12q2.5-6 5 0t5 0'/></g>\n"
	      "<pattern id='t-lost' width='8' height='8' patternUnits='userSpaceOnUse'><rect "
	      "class='lost' width='8' height='8'/><path class='fine' d='M1 1l6 6M7 1l-6 "
	      "6'/></pattern>\n"
	      "<pattern id='t-error' width='8' height='8' patternUnits='userSpaceOnUse'><rect "
	      "class='error' width='8' height='8'/><path class='fine' d='M0 8l8-8'/></pattern>\n"
	      "<pattern id='t-move' width='8' height='8' patternUnits='userSpaceOnUse'><rect "
	      "class='moved' width='8' height='8'/></pattern>\n"
	      "<pattern id='t-slow' width='8' height='8' patternUnits='userSpaceOnUse'><rect "
	      "class='slow' width='8' height='8'/><path class='fine' d='M0 4h8'/></pattern>\n"
	      "<pattern id='grid' width='16' height='24' patternUnits='userSpaceOnUse'><rect "
	      "class='none' x='1' y='1' width='14' height='22' rx='2'/></pattern>\n"
	      "</defs></svg>\n", f);
}

static const char *symbol_of(struct json_object *r)
{
	if (get_num(r, "lost"))
		return "lost";
	if (get_num(r, "blocks"))
		return get_num(r, "blocks") < MANY ? "some" : "many";
	return get_num(r, "errors") ? "error" : "slow";
}

static void key(FILE *f, const char *symbol, const char *words)
{
	fprintf(f, "<span><svg class='key' viewBox='0 0 16 24' aria-hidden='true'><use "
		"href='#m-%s'/></svg> %s</span>\n", symbol, words);
}

/*
 * What is in a region, for the hover: all of its blocks that are listed, and of others how many
 * and between where. *at: the first block that may be in it
 */
static void region_text(FILE *f, struct json_object *o, struct json_object *r, size_t *at)
{
	struct json_object *blocks = get(o, "blocks"), *b;
	u64 start = get_num(r, "sector"), end = start + get_num(r, "count");
	u64 n = get_num(r, "blocks"), lost = get_num(r, "lost");
	const char *listed = get_str(o, "blocks_listed");
	char slowest[32];
	int lines = 0;

	text(f, "sectors %" PRIu64 "-%" PRIu64, start, end - 1);
	if (n)
		text(f, "\n%" PRIu64 " block%s remapped, %" PRIu64 " sector%s lost", n, plural(n),
		     lost, plural(lost));
	if (get_num(r, "errors") || get_num(r, "slow"))
		text(f, "\n%" PRIu64 " I/O%s failed, %" PRIu64 " slow, the slowest %s",
		     get_num(r, "errors"), plural(get_num(r, "errors")), get_num(r, "slow"),
		     duration(get_num(r, "worst_ns"), slowest, sizeof(slowest)));
	if (n && strcmp(listed, "all"))
		text(f, "\nall between %" PRIu64 " and %" PRIu64, get_num(r, "first"),
		     get_num(r, "last"));
	while ((b = block_at(blocks, *at)) && get_num(b, "sector") < end) {
		if (lines++ < MAX_LINES || !strcmp(listed, "all")) {
			fputc('\n', f);
			*at = run_text(f, blocks, *at, get_num(o, "lost_unit"));
		} else {
			++*at;
		}
	}
	if (lines > MAX_LINES && strcmp(listed, "all"))
		text(f, "\nand %d more with lost sectors", lines - MAX_LINES);
}

static void map(FILE *f, struct json_object *o, struct json_object *dev)
{
	struct json_object *surface = get(o, "surface"), *r;
	u64 sectors = get_num(surface, "size_sectors");
	char one[32], all[32];
	size_t at = 0;

	fprintf(f, "<p class='soft'>The whole disk, %s, row by row: each of the %d cells is %s. "
		"Point at a cell, or tap it, to see what is in it.</p>\n",
		size_text(sectors * 512, all, sizeof(all)), TELEMETRY_REGIONS,
		size_text(sectors * 512 / TELEMETRY_REGIONS, one, sizeof(one)));
	fprintf(f, "<svg id='surface' viewBox='0 0 %d %d' preserveAspectRatio='none' role='img' "
		"aria-label='", CELL_W *
		COLUMNS, CELL_H * TELEMETRY_REGIONS / COLUMNS);
	text(f, "Surface of %s: %zu of %d cells have something in them, %" PRIu64 " blocks are "
	     "remapped, %" PRIu64 " sectors lost; the table of places below says where",
	     get_str(dev, "name"), json_object_array_length(get(surface, "regions")),
	     TELEMETRY_REGIONS, get_num(o, "blocks_total"), get_num(dev, "lost_sectors"));
	fprintf(f, "'>\n<rect width='%d' height='%d' fill='url(#grid)'/>\n",
		CELL_W * COLUMNS, CELL_H * TELEMETRY_REGIONS / COLUMNS);
	EACH_ITEM(r, get(surface, "regions")) {
		u64 i = get_num(r, "region");

		fputs("<g><title>", f);
		region_text(f, o, r, &at);
		fprintf(f, "</title><use href='#m-%s' x='%" PRIu64 "' y='%" PRIu64 "'/></g>\n",
			symbol_of(r), i % COLUMNS * CELL_W, i / COLUMNS * CELL_H);
	}
	fprintf(f, "</svg>\n<div class='ends soft'><span>sector 0</span><span>sector %" PRIu64
		"</span></div>\n<div class='legend'>\n", sectors ? sectors - 1 : 0);
	key(f, "none", "nothing");
	key(f, "some", "up to 15 blocks remapped");
	key(f, "many", "16 or more");
	key(f, "lost", "sectors lost");
	if (get(o, "latency")) {
		key(f, "error", "I/O failed, nothing remapped");
		key(f, "slow", "slow I/O");
	}
	fputs("</div>\n", f);
}

/* Each block of a place by itself; lost sectors make a cross. */
static void strip(FILE *f, struct json_object *o, struct json_object *place)
{
	struct json_object *blocks = get(o, "blocks"), *b;
	u64 start = get_num(place, "sector"), end = start + get_num(place, "count");
	size_t n = 0, from = 0, columns, total = json_object_array_length(blocks);

	while (from < total && get_num(block_at(blocks, from), "sector") < start)
		from++;
	while ((b = block_at(blocks, from + n)) && get_num(b, "sector") < end)
		n++;
	if (!n)
		return;
	columns = n < STRIP_COLUMNS ? n : STRIP_COLUMNS;
	fprintf(f, "<svg class='strip' style='width:%zupx;max-width:100%%' viewBox='0 0 %zu %zu' "
		"role='img' aria-label='%zu block%s of this place, one by one'>\n",
		columns * STRIP_CELL, columns * STRIP_CELL,
		(n + columns - 1) / columns * STRIP_CELL, n, plural(n));
	for (size_t i = 0; i < n; i++) {
		size_t x = i % columns * STRIP_CELL, y = i / columns * STRIP_CELL;
		bool lost;

		b = block_at(blocks, from + i);
		lost = json_object_array_length(get(b, "lost"));
		fputs("<g><title>", f);
		text(f, "sectors %" PRIu64 "-%" PRIu64 ": slot %" PRIu64, get_num(b, "sector"),
		     get_num(b, "sector") + get_num(b, "count") - 1, get_num(b, "slot"));
		if (lost) {
			fputs("; lost ", f);
			lost_text(f, get(b, "lost"), get_num(o, "lost_unit"));
		}
		fprintf(f, "</title><rect class='%s' x='%zu' y='%zu' width='8' height='8'/>",
			lost ? "lost" : "moved", x + 1, y + 1);
		if (lost)
			fprintf(f, "<path class='mark' style='stroke-width:1.5' d='M%zu %zul4 "
				"4m0-4l-4 4'/>", x + 3, y + 3);
		fputs("</g>\n", f);
	}
	fputs("</svg>", f);
}

static void places(FILE *f, struct json_object *o)
{
	struct json_object *surface = get(o, "surface"), *p;
	u64 total = get_num(surface, "places_total"), sectors = get_num(surface, "size_sectors");
	size_t shown = json_object_array_length(get(surface, "places"));

	if (!shown)
		return;
	fputs("<h3>Places, worst first</h3>\n<div class='scroll' tabindex='0' role='region' "
	      "aria-label='Places'>\n<table id='places'><thead><tr><th>Sectors</th>"
	      "<th class='n'>Lost</th><th class='n'>Blocks</th><th>Block by block (× is lost)</th>"
	      "<th class='n'>At</th></tr></thead><tbody>\n", f);
	EACH_ITEM(p, get(surface, "places")) {
		u64 first = get_num(p, "sector");

		fprintf(f, "<tr><td class='n'>%" PRIu64 "-%" PRIu64 "</td><td class='n'>%" PRIu64
			"</td><td class='n'>%" PRIu64 "</td><td>", first,
			first + get_num(p, "count") - 1, get_num(p, "lost"), get_num(p, "blocks"));
		if (get_num(p, "blocks"))
			strip(f, o, p);
		else
			fprintf(f, "%" PRIu64 " I/O%s failed", get_num(p, "errors"),
				plural(get_num(p, "errors")));
		fprintf(f, "</td><td class='n'>%.1f %%</td></tr>\n",
			(double)first * 100 / (double)(sectors ? sectors : 1));
	}
	fputs("</tbody></table></div>\n", f);
	if (total > shown)
		fprintf(f, "<p class='soft'>and %" PRIu64 " more</p>\n", total - shown);
}

static void blocks_table(FILE *f, struct json_object *o, struct json_object *dev)
{
	struct json_object *blocks = get(o, "blocks"), *b;
	const char *listed = get_str(o, "blocks_listed");
	bool all = !strcmp(listed, "all");
	u64 unit = get_num(o, "lost_unit");

	if (!get_num(o, "blocks_total"))
		return;
	if (!all) {
		fprintf(f, "<p class='soft'>%" PRIu64 " blocks are too many to show each: %s. "
			"remapctl list ", get_num(o, "blocks_total"), !strcmp(listed, "lost") ?
			"those with lost sectors are below" : "cells and places count them");
		esc(f, get_str(dev, "name"));
		fputs(" has them all.</p>\n", f);
	}
	if (!json_object_array_length(blocks))
		return;
	fprintf(f, "<details><summary>%zu block%s%s, one by one</summary>\n<div class='scroll' "
		"tabindex='0' role='region' aria-label='Blocks'><table id='blocks'><thead><tr><th "
		"class='n'>Sectors</th><th class='n'>Slot</th><th>Lost "
		"sectors</th></tr></thead><tbody>\n", json_object_array_length(blocks),
		plural(json_object_array_length(blocks)), all ? "" : " with lost sectors");
	EACH_ITEM(b, blocks) {
		fprintf(f, "<tr><td class='n'>%" PRIu64 "-%" PRIu64 "</td><td class='n'>%" PRIu64
			"</td><td>", get_num(b, "sector"),
			get_num(b, "sector") + get_num(b, "count") - 1, get_num(b, "slot"));
		lost_text(f, get(b, "lost"), unit);
		fputs("</td></tr>\n", f);
	}
	fputs("</tbody></table></div></details>\n", f);
}

/* ---- time ---- */

static u64 bin_total(struct json_object *bin)
{
	u64 n = 0;

	for (int k = 0; k < TROUBLES; k++)
		n += get_num(bin, trouble_name((enum trouble)k));
	return n;
}

static void bin_text(FILE *f, struct json_object *bin, bool days)
{
	static const char *const words[TROUBLES] = {
		[TROUBLE_LOST] = "lost sectors", [TROUBLE_ERROR] = "errors",
		[TROUBLE_MOVE] = "moves", [TROUBLE_SLOW] = "slow",
	};
	const char *format = days ? "%m-%d %H:%M" : "%H:%M:%S";

	when(f, get_num(bin, "from_ms") / 1000, format);
	fputs(" to ", f);
	when(f, get_num(bin, "to_ms") / 1000, format);
	for (int k = 0; k < TROUBLES; k++)
		if (get_num(bin, trouble_name((enum trouble)k)))
			text(f, "\n%s: %" PRIu64, words[k], get_num(bin,
			     trouble_name((enum trouble)k)));
}

static void time_line(FILE *f, struct json_object *events)
{
	static const char *const words[TROUBLES] = {
		[TROUBLE_LOST] = "sectors lost", [TROUBLE_ERROR] = "I/O failed",
		[TROUBLE_MOVE] = "block moved by remap-agent", [TROUBLE_SLOW] = "slow I/O",
	};
	struct json_object *bins = get(events, "time_line"), *bin;
	u64 most = 0, begin = get_num(events, "begin_ms"), sum = 0;
	size_t n = json_object_array_length(bins);
	u64 end = n ? get_num(json_object_array_get_idx(bins, n - 1), "to_ms") : begin;
	bool days = end - begin > 20 * 3600 * 1000ULL;

	EACH_ITEM(bin, bins) {
		most = bin_total(bin) > most ? bin_total(bin) : most;
		sum += bin_total(bin);
	}
	fprintf(f, "<svg id='time' class='flat' viewBox='0 0 %d 100' preserveAspectRatio='none' "
		"role='img' aria-label='Time line: %" PRIu64 " events, at most %" PRIu64 " in one "
		"of %d steps'>\n", EVENT_BINS * 20, sum, most, EVENT_BINS);
	EACH_ITEM(bin, bins) {
		double top = 98;

		if (!bin_total(bin))
			continue;
		fputs("<g><title>", f);
		bin_text(f, bin, days);
		fputs("</title>", f);
		for (int k = 0; k < TROUBLES; k++) {
			u64 count = get_num(bin, trouble_name((enum trouble)k));
			double height = (double)count * 92 / (double)most;

			if (!count)
				continue;
			top -= height;
			fprintf(f, "<rect fill='url(#t-%s)' x='%zu' y='%.1f' width='16' "
				"height='%.1f'/>", trouble_name((enum trouble)k), bin_i * 20 + 2,
				top, height);
		}
		fprintf(f, "<rect class='hit' x='%zu' y='0' width='20' height='100'/></g>\n",
			bin_i * 20);
	}
	fprintf(f, "<line class='base' x1='0' y1='99' x2='%d' y2='99'/>\n</svg>\n"
		"<div class='ends soft'><span>", EVENT_BINS * 20);
	when(f, begin / 1000, days ? "%Y-%m-%d %H:%M" : "%Y-%m-%d %H:%M:%S");
	fprintf(f, "</span><span>the fullest step has %" PRIu64 "</span><span>", most);
	when(f, end / 1000, days ? "%Y-%m-%d %H:%M" : "%H:%M:%S");
	fputs("</span></div>\n<div class='legend'>", f);
	for (int k = 0; k < TROUBLES; k++)
		fprintf(f, "<span><svg class='key' viewBox='0 0 16 24' aria-hidden='true'><rect "
			"fill='url(#t-%s)' y='4' width='16' height='16'/></svg> %s</span>\n",
			trouble_name((enum trouble)k), words[k]);
	fputs("</div>\n", f);
}

static void events(FILE *f, struct json_object *o)
{
	struct json_object *e = get(o, "events"), *all = get(e, "list");
	size_t n = e ? json_object_array_length(all) : 0;

	fputs("<section id='events'><h2>What happened when</h2>\n", f);
	if (!e) {
		fputs("<p>Not known: ", f);
		esc(f, get_str(o, "events_unknown"));
		fputs(". remap-agent keeps the record of errors, moves and slow "
		      "I/Os.</p></section>\n", f);
		return;
	}
	if (!n) {
		fputs("<p>Nothing: remap-agent has nothing of this device on "
		      "record.</p></section>\n", f);
		return;
	}
	time_line(f, e);
	fprintf(f, "<details><summary>%s%zu event%s in words, the latest first</summary>\n<div "
		"class='scroll' tabindex='0' role='region' "
		"aria-label='Events'><table><thead><tr><th>When</th><th>What</th><th>Sectors</th>"
		"<th>In words</th></tr></thead><tbody>\n",
		get_num(e, "total") > n ? "The last " : "", n, plural(n));
	for (size_t i = n; i--; ) {
		struct json_object *event = json_object_array_get_idx(all, i);

		fputs("<tr><td class='n'>", f);
		when(f, get_num(event, "time_ms") / 1000, "%Y-%m-%d %H:%M:%S");
		fputs("</td><td>", f);
		text(f, "%s %s", get_str(event, "what"), get_str(event, "result"));
		fputs("</td><td class='n'>", f);
		if (get_num(event, "count"))
			text(f, "%" PRIu64 "-%" PRIu64, get_num(event, "sector"),
			     get_num(event, "sector") + get_num(event, "count") - 1);
		fputs("</td><td class='text'>", f);
		esc(f, get_str(event, "text"));
		fputs("</td></tr>\n", f);
	}
	fputs("</tbody></table></div></details></section>\n", f);
}

/* ---- latency ---- */

#define PLOT_W	1000.0
#define PLOT_H	100.0

/* The logarithm to the base of 2, straight between powers of two, as telemetry's buckets are. */
static double logarithm(u64 n)
{
	int k = n ? 63 - __builtin_clzll(n) : 0;

	return n ? k + (double)n / (double)(1ULL << k) - 1 : 0;
}

/* A logarithmic axis that all operations share. */
struct axis {
	double low, high;
};

static double place_on(const struct axis *x, u64 ns)
{
	double at = logarithm(ns < 64 ? 64 : ns);

	return (at - x->low) * PLOT_W / (x->high - x->low);
}

static struct axis find_axis(struct json_object *ops)
{
	u64 low = UINT64_MAX, high = 0;
	struct json_object *op, *b;

	EACH_ITEM(op, ops)
		EACH_ITEM(b, get(op, "buckets")) {
			u64 from = get_num(b, "from_ns"), to = get_num(b, "to_ns");

			low = from < low ? from : low;
			high = to > high ? to : high;
		}
	if (low < 64 || low == UINT64_MAX)
		low = 64;
	if (high < 4 * low)
		high = 4 * low;
	return (struct axis){ logarithm(low), logarithm(high) };
}

static void histogram(FILE *f, struct json_object *op, const struct axis *x, u64 slow_ns)
{
	static const struct {
		const char *key, *name;
	} lines[] = { { "p50_ns", "half" }, { "p99_ns", "99 %" }, { "p999_ns", "99.9 %" } };
	static const char *const ticks[] = {
		"1 µs", "10 µs", "0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s",
	};
	struct json_object *b;
	u64 most = 1, tick = 1000;
	char from[32], to[32];

	EACH_ITEM(b, get(op, "buckets"))
		most = get_num(b, "ios") > most ? get_num(b, "ios") : most;
	fprintf(f, "<h3>%s: %" PRIu64 "</h3>\n<div class='plot'><svg class='flat latency' "
		"style='height:5rem' viewBox='0 0 %.0f %.0f' preserveAspectRatio='none' "
		"role='img' aria-label='Latency of %ss; the table below has the figures'>\n",
		get_str(op, "op"), get_num(op, "ios"), PLOT_W, PLOT_H, get_str(op, "op"));
	EACH_ITEM(b, get(op, "buckets")) {
		u64 low = get_num(b, "from_ns"), high = get_num(b, "to_ns");
		u64 ios = get_num(b, "ios");
		double left = place_on(x, low), right = place_on(x, high);
		/* logarithmic, lest the few slow ones that matter vanish; even one shows */
		double height = (logarithm(ios) + 1) / (logarithm(most) + 1) * 94;

		fputs("<g><title>", f);
		text(f, "%s to %s: %" PRIu64, duration(low, from, sizeof(from)),
		     duration(high, to, sizeof(to)), ios);
		fprintf(f, "</title><rect class='%s' x='%.1f' y='%.1f' width='%.1f' "
			"height='%.1f'/></g>\n", slow_ns && low >= slow_ns ? "error" : "moved",
			left,
			PLOT_H - 1 - height, right - left > 1 ? right - left - 0.5 : 0.5, height);
	}
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		double at = place_on(x, get_num(op, lines[i].key));

		fputs("<g><title>", f);
		text(f, "%s took at most %s", lines[i].name,
		     duration(get_num(op, lines[i].key), to, sizeof(to)));
		fprintf(f, "</title><line class='at' vector-effect='non-scaling-stroke' x1='%.1f' "
			"y1='0' x2='%.1f' y2='%.0f'/></g>\n", at, at, PLOT_H);
	}
	fprintf(f, "<line class='base' vector-effect='non-scaling-stroke' x1='0' y1='99' "
		"x2='%.0f' y2='99'/></svg></div>\n<div class='axis' aria-hidden='true'>",
		PLOT_W);
	for (size_t i = 0; i < sizeof(ticks) / sizeof(ticks[0]); i++, tick *= 10) {
		double at = place_on(x, tick) * 100 / PLOT_W;

		if (at >= -0.1 && at <= 100.1)
			fprintf(f, "<span style='left:%.1f%%'>%s</span>", at, ticks[i]);
	}
	fputs("</div>\n", f);
}

static void latency(FILE *f, struct json_object *o)
{
	struct json_object *l = get(o, "latency"), *ops = get(l, "ops"), *op;
	u64 slow_ns = get_num(l, "slow_ns");
	const char *note = get_str(o, "unmeasured");
	char buf[32];
	struct axis x;

	fputs("<section id='latency'><h2>How long the disk takes</h2>\n", f);
	if (!l) {
		fputs("<p>Not known: ", f);
		esc(f, note);
		fputs(". For the same reason it is not known where I/Os failed or were slow "
		      "without anything being remapped.</p></section>\n", f);
		return;
	}
	if (*note) {
		fputs("<p>", f);
		esc(f, note);
		fputs(".</p>\n", f);
	}
	fprintf(f, "<p class='soft'>All I/O to the data device since remap-agent watches it: "
		"%" PRIu64
		" failed, %" PRIu64 " slow", get_num(l, "errors"), get_num(l, "slow"));
	if (slow_ns)
		fprintf(f, " (longer than %s)", duration(slow_ns, buf, sizeof(buf)));
	fputs(". Both axes are logarithmic; dashed lines: half, 99 % and 99.9 % took no "
	      "longer.</p>\n", f);
	x = find_axis(ops);
	EACH_ITEM(op, ops)
		if (json_object_array_length(get(op, "buckets")))
			histogram(f, op, &x, slow_ns);
	if (!json_object_array_length(ops))
		fputs("<p>There was none yet.</p>\n", f);
	fputs("<div class='scroll'><table><thead><tr><th>Operation</th><th class='n'>I/Os</th><th "
	      "class='n'>half</th><th class='n'>99 %</th><th class='n'>99.9 %</th><th "
	      "class='n'>longest</th></tr></thead><tbody>\n", f);
	EACH_ITEM(op, ops) {
		static const char *const key_of[] = { "p50_ns", "p99_ns", "p999_ns", "longest_ns" };

		fprintf(f, "<tr><td>%s</td><td class='n'>%" PRIu64 "</td>", get_str(op, "op"),
			get_num(op, "ios"));
		for (size_t i = 0; i < sizeof(key_of) / sizeof(key_of[0]); i++)
			fprintf(f, "<td class='n'>%s</td>", get_num(op, key_of[i]) ?
				duration(get_num(op, key_of[i]), buf, sizeof(buf)) : "-");
		fputs("</tr>\n", f);
	}
	fputs("</tbody></table></div></section>\n", f);
}

/* ---- the spare, and the rest ---- */

static double at_least(double least, double n)
{
	return n < least ? least : n;
}

static void spare(FILE *f, struct json_object *o, struct json_object *dev)
{
	u64 total = get_num(dev, "slots_total"), used = get_num(dev, "slots_used");
	u64 bad = get_num(dev, "slots_bad"), left = used + bad < total ? total - used - bad : 0;
	struct json_object *replicas = get(o, "replicas"), *r;
	double unit = 1000 / (double)(total ? total : 1);

	fputs("<section id='spare'><h2>The spare</h2>\n", f);
	fprintf(f, "<p>%" PRIu64 " slots: %" PRIu64 " in use, %" PRIu64 " bad, %" PRIu64 " "
		"left.</p>\n"
		"<svg id='slots' viewBox='0 0 1000 24' preserveAspectRatio='none' "
		"style='height:1.2rem;margin-top:.4rem' role='img' aria-label='Slots: %" PRIu64 " "
		"in use, %" PRIu64
		" bad, %" PRIu64 " left'>\n"
		"<g><title>left: %" PRIu64 "</title><rect class='none' width='1000' "
		"height='24'/></g>\n", total, used, bad, left, used, bad, left, left);
	if (used)
		fprintf(f, "<g><title>in use: %" PRIu64 "</title><rect class='moved' width='%.2f' "
			"height='24'/></g>\n", used, at_least(2, (double)used * unit));
	if (bad)
		fprintf(f, "<g><title>bad: %" PRIu64 "</title><rect class='lost' x='%.2f' "
			"width='%.2f' height='24'/></g>\n", bad, (double)used * unit,
			at_least(2, (double)bad * unit));
	fputs("</svg>\n<h3>Copies of the metadata</h3>\n", f);
	if (replicas) {
		fputs("<ul class='copies'>\n", f);
		EACH_ITEM(r, replicas) {
			bool ok = !strcmp(get_str(r, "state"), "ok");

			fprintf(f, "<li%s>%s %" PRIu64 ": ", ok ? "" : " class='wrong'",
				ok ? "✓" : "✕", get_num(r, "index"));
			esc(f, get_str(r, "state"));
			fputs("</li>\n", f);
		}
		fputs("</ul>\n", f);
	} else {
		fputs("<p>Each is not known: ", f);
		esc(f, *get_str(o, "replicas_unknown") ? get_str(o, "replicas_unknown") :
		    get_str(o, "spare_unknown"));
		fputs("</p>\n", f);
	}
	fputs("</section>\n", f);
}

static void about(FILE *f, struct json_object *o, struct json_object *dev)
{
	struct json_object *disk = get(o, "disk"), *agent = get(o, "agent");
	char buf[64];

	fputs("<section id='about'><h2>The device</h2>\n<div class='scroll'><table><tbody>\n", f);
	row(f, "Data device", get_str(dev, "data_device"));
	row(f, "Model", get_str(disk, "model"));
	row(f, "Serial number", get_str(disk, "serial"));
	row(f, "WWN", get_str(disk, "wwn"));
	row(f, "Spare device", get_str(dev, "spare_device"));
	row(f, "Label", *get_str(o, "spare_unknown") ? get_str(o, "spare_unknown") :
	    get_str(o, "label"));
	row(f, "UUID", get_str(dev, "uuid"));
	snprintf(buf, sizeof(buf), "%" PRIu64 " sectors of 512 bytes", get_num(dev,
		 "size_sectors"));
	row(f, "Size", buf);
	snprintf(buf, sizeof(buf), "%" PRIu64 " bytes", get_num(dev, "block_size"));
	row(f, "Block", buf);
	snprintf(buf, sizeof(buf), "%" PRIu64 " blocks moved, %" PRIu64 " reads recovered",
		 get_num(dev, "relocations"), get_num(dev, "reads_recovered"));
	row(f, "Since it was started", buf);
	fputs("<tr><th scope='row'>Surface read completely</th><td>", f);
	if (get_bool(agent, "scrubbing"))
		fputs("is being read now; before: ", f);
	if (get_num(agent, "scrubbed"))
		when(f, get_num(agent, "scrubbed"), TO_THE_SECOND);
	else
		fputs(get(agent, "scrubbed") ? "never yet" : "not known, without remap-agent", f);
	fputs("</td></tr>\n</tbody></table></div></section>\n", f);
}

/* A script element ends at the first "</script", wherever that stands: so there is no "<". */
static void data(FILE *f, struct json_object *o)
{
	const char *s = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
						       JSON_C_TO_STRING_NOSLASHESCAPE);

	fputs("<script type='application/json' id='data'>", f);
	for (; *s; s++) {
		if (*s == '<')
			fputs("\\u003c", f);
		else
			fputc(*s, f);
	}
	fputs("</script>\n", f);
}

void report_html(FILE *f, struct json_object *o)
{
	struct json_object *dev = get(o, "device"), *disk = get(o, "disk");
	char size[32];

	fputs("<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>\n"
	      "<meta name='viewport' content='width=device-width,initial-scale=1'>\n"
	      "<meta name='color-scheme' content='light dark'>\n"
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
	      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>", f);
	text(f, "%s: %s", get_str(dev, "name"), get_str(get(o, "verdict"), "headline"));
	fprintf(f, "</title>\n<style>\n%s</style></head><body>\n<main>\n<header><h1>", style);
	esc(f, get_str(dev, "name"));
	fputs("</h1>\n<p class='soft'>", f);
	if (*get_str(o, "label"))
		text(f, "%s · ", get_str(o, "label"));
	if (*get_str(disk, "model"))
		text(f, "%s · ", get_str(disk, "model"));
	text(f, "%s, %s", get_str(dev, "data_device"),
	     size_text(get_num(dev, "size_sectors") * 512, size, sizeof(size)));
	if (*get_str(o, "host"))
		text(f, " · %s", get_str(o, "host"));
	fputs(" · ", f);
	when(f, get_num(o, "made"), TO_THE_SECOND);
	fputs("</p></header>\n", f);
	verdict(f, o, dev);
	facts(f, o, dev);
	symbols(f);
	fputs("<section id='where'><h2>Where</h2>\n", f);
	map(f, o, dev);
	places(f, o);
	blocks_table(f, o, dev);
	fputs("</section>\n", f);
	events(f, o);
	latency(f, o);
	spare(f, o, dev);
	about(f, o, dev);
	fputs("<p class='soft' style='margin-top:1rem'>Made by remapctl report (dm-remap ", f);
	esc(f, get_str(o, "version"));
	fputs("). Sectors are of 512 bytes and count from the start of the device. What stands "
	      "here is also in the page as JSON, in the element with the id data.</p>\n</main>\n",
	      f);
	data(f, o);
	fprintf(f, "<script>%s</script>\n</body></html>\n", script);
}
