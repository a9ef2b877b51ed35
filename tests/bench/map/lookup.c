// SPDX-License-Identifier: GPL-2.0-only
/*
 * The map of kernel/map.c against what else could have been its place: a sorted array, a hash with
 * chains, a red-black tree, a list. Native, in one process, on the same questions: what differs is
 * the answer's price. See docs/performance.md; tools/bench-map runs it.
 *
 * lookup [--max ENTRIES] [--json FILE]
 * lookup --only DESIGN ENTRIES PATTERN QUESTION LOOKUPS	so many: see tools/bench-map
 *
 * A question is "is any of these blocks remapped, and if so which is the first, and to where?", as
 * map() puts it. Each one waits for the answer to the one before, as those of I/Os do, which come
 * one by one and not in a loop that a CPU could run ahead in.
 */
#include <error.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bsd/sys/tree.h>
#include "../../../kernel/map.c"
#include "../../map_bytes.h"

#define DISK_BLOCKS	(1ULL << 31)	/* 8 TiB in blocks of 4 KiB */
#define QUESTIONS	(1U << 20)
#define ROUNDS		7
#define LIST_MAX	10000

struct entry {
	u64 block;
	u32 slot;
};

/* ---- the designs; each answers with the first block that has an entry, or REMAP_MAP_END ---- */

static struct remap_map map;
static struct entry *array;
static size_t array_n;

struct node {
	struct node *next;
	u64 block;
	u32 slot;
};

static struct node **bucket, *list;
static unsigned int hash_shift;

struct twig {
	RB_ENTRY(twig) link;
	u64 block;
	u32 slot;
};

static RB_HEAD(tree, twig) tree = RB_INITIALIZER(&tree);

static int twig_order(const struct twig *a, const struct twig *b)
{
	return a->block < b->block ? -1 : a->block > b->block;
}

RB_GENERATE_INTERNAL(tree, twig, link, twig_order, static __attribute__((unused)))

static void *need(void *p)
{
	if (!p)
		error(1, 0, "out of memory");
	return p;
}

/* as remap_map() goes about it */
static inline u64 map_find(u64 first, u64 last, u32 *slot)
{
	u64 entry;

	if (first != last)
		return remap_map_touches(&map, first, last) ?
		       remap_map_next(&map, first, last, slot) : REMAP_MAP_END;
	entry = remap_map_root(&map, first);
	if (!entry || !remap_map_may_have(entry, first))
		return REMAP_MAP_END;
	*slot = remap_map_value(entry, first);
	return *slot == REMAP_VALUE_NONE ? REMAP_MAP_END : first;
}

static void map_start(size_t n)
{
	(void)n;
	if (remap_map_init(&map, DISK_BLOCKS))
		error(1, 0, "out of memory");
}

static void map_add(u64 block, u32 slot)
{
	if (remap_map_set(&map, block, slot))
		error(1, 0, "out of memory");
}

static size_t map_bytes(void)
{
	return ((DISK_BLOCKS >> REMAP_ROOT_SHIFT) + 1) * sizeof(*map.root) + map_kernel_bytes(&map);
}

static void map_end(void)
{
	remap_map_destroy(&map);
}

static inline u64 array_find(u64 first, u64 last, u32 *slot)
{
	const struct entry *from = array;
	size_t n = array_n;

	if (!n)
		return REMAP_MAP_END;
	while (n > 1) {		/* without a branch that could be mispredicted */
		from += from[n / 2 - 1].block < first ? n / 2 : 0;
		n -= n / 2;
	}
	from += from->block < first;
	if (from == array + array_n || from->block > last)
		return REMAP_MAP_END;
	*slot = from->slot;
	return from->block;
}

static void array_start(size_t n)
{
	array = need(malloc(n * sizeof(*array)));
	array_n = 0;
}

static void array_add(u64 block, u32 slot)
{
	size_t at = array_n++;

	while (at && array[at - 1].block > block) {
		array[at] = array[at - 1];
		at--;
	}
	array[at] = (struct entry){ .block = block, .slot = slot };
}

static size_t array_bytes(void)
{
	return array_n * sizeof(*array);
}

static void array_end(void)
{
	free(array);
}

static inline struct node **hash_of(u64 block)
{
	return &bucket[block * 0x61c8864680b583ebULL >> hash_shift];
}

static inline u64 hash_find(u64 first, u64 last, u32 *slot)
{
	for (; first <= last; first++)
		for (const struct node *n = *hash_of(first); n; n = n->next)
			if (n->block == first) {
				*slot = n->slot;
				return first;
			}
	return REMAP_MAP_END;
}

/* as many buckets as entries, or up to twice as many */
static void hash_start(size_t n)
{
	hash_shift = 63;
	while (1ULL << (64 - hash_shift) < n)
		hash_shift--;
	bucket = need(calloc(1ULL << (64 - hash_shift), sizeof(*bucket)));
}

static void push(struct node **head, u64 block, u32 slot)
{
	struct node *n = need(malloc(sizeof(*n)));

	*n = (struct node){ .next = *head, .block = block, .slot = slot };
	*head = n;
}

static void hash_add(u64 block, u32 slot)
{
	push(hash_of(block), block, slot);
}

static size_t hash_bytes(void)
{
	size_t bytes = (1ULL << (64 - hash_shift)) * sizeof(*bucket);

	for (size_t i = 0; i < 1ULL << (64 - hash_shift); i++)
		for (const struct node *n = bucket[i]; n; n = n->next)
			bytes += sizeof(*n);
	return bytes;
}

static void drop(struct node *n)
{
	for (struct node *next; n; n = next) {
		next = n->next;
		free(n);
	}
}

static void hash_end(void)
{
	for (size_t i = 0; i < 1ULL << (64 - hash_shift); i++)
		drop(bucket[i]);
	free(bucket);
}

static inline u64 tree_find(u64 first, u64 last, u32 *slot)
{
	const struct twig *t = RB_ROOT(&tree), *best = NULL;

	while (t) {
		if (t->block < first) {
			t = RB_RIGHT(t, link);
		} else {
			best = t;
			if (t->block == first)
				break;
			t = RB_LEFT(t, link);
		}
	}
	if (!best || best->block > last)
		return REMAP_MAP_END;
	*slot = best->slot;
	return best->block;
}

static void tree_start(size_t n)
{
	(void)n;
	RB_INIT(&tree);
}

static size_t tree_n;

static void tree_add(u64 block, u32 slot)
{
	struct twig *t = need(malloc(sizeof(*t)));

	t->block = block;
	t->slot = slot;
	RB_INSERT(tree, &tree, t);
	tree_n++;
}

/* the kernel's rb_node keeps its colour in a pointer */
static size_t tree_bytes(void)
{
	return tree_n * (3 * sizeof(void *) + 2 * sizeof(u64));
}

static void tree_drop(struct twig *t)
{
	if (!t)
		return;
	tree_drop(RB_LEFT(t, link));
	tree_drop(RB_RIGHT(t, link));
	free(t);
}

static void tree_end(void)
{
	tree_drop(RB_ROOT(&tree));
	RB_INIT(&tree);
	tree_n = 0;
}

static inline u64 list_find(u64 first, u64 last, u32 *slot)
{
	u64 best = REMAP_MAP_END;

	for (const struct node *n = list; n; n = n->next)
		if (n->block >= first && n->block <= last && n->block < best) {
			best = n->block;
			*slot = n->slot;
			if (best == first)
				break;
		}
	return best;
}

static void list_start(size_t n)
{
	(void)n;
	list = NULL;
}

static void list_add(u64 block, u32 slot)
{
	push(&list, block, slot);
}

static size_t list_bytes(void)
{
	size_t bytes = 0;

	for (const struct node *n = list; n; n = n->next)
		bytes += sizeof(*n);
	return bytes;
}

static void list_end(void)
{
	drop(list);
	list = NULL;
}

/* ---- asking ---- */

struct asker {
	const u64 *first;
	size_t from, n;
	u64 length;		/* of each question, in blocks */
	u64 found;		/* for nobody to leave the work out */
	double seconds;
};

static volatile u64 nothing;	/* zero, but the compiler is not to know */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline __attribute__((always_inline)) void
ask(struct asker *a, u64 (*find)(u64 first, u64 last, u32 *slot))
{
	u64 none = nothing, answer = 0, found = 0, length = a->length;
	double start = now();

	for (size_t i = 0; i < a->n; i++) {
		u64 first = a->first[(a->from + i) % QUESTIONS] + (answer & none);
		u32 slot = 0;

		answer = find(first, first + length - 1, &slot) + slot;
		found += answer;
	}
	a->found = found;
	a->seconds = now() - start;
}

#define DESIGN(name)							\
	static void *name##_ask(void *p)				\
	{								\
		ask(p, name##_find);					\
		return NULL;						\
	}
DESIGN(map)
DESIGN(array)
DESIGN(hash)
DESIGN(tree)
DESIGN(list)

static const struct design {
	const char *name;
	void (*start)(size_t n);
	void (*add)(u64 block, u32 slot);
	void *(*ask)(void *asker);
	size_t (*bytes)(void);
	void (*end)(void);
} designs[] = {
	{ "dm-remap", map_start, map_add, map_ask, map_bytes, map_end },
	{ "sorted array", array_start, array_add, array_ask, array_bytes, array_end },
	{ "hash", hash_start, hash_add, hash_ask, hash_bytes, hash_end },
	{ "red-black tree", tree_start, tree_add, tree_ask, tree_bytes, tree_end },
	{ "list", list_start, list_add, list_ask, list_bytes, list_end },
};

#define DESIGNS (sizeof(designs) / sizeof(designs[0]))

/* ---- the entries and the questions ---- */

static u64 seed;

/* splitmix64 of Steele, Lea and Flood, OOPSLA 2014 */
static u64 draw(void)
{
	u64 z = seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static u64 below(u64 n)
{
	return (u64)((unsigned __int128)draw() * n >> 64);
}

static const char *const patterns[] = { "scattered", "dense" };

/* In the order of their blocks: one somewhere in each of n parts of the disk, or one long run. */
static struct entry *entries_make(size_t n, const char *pattern)
{
	struct entry *e = need(malloc(n * sizeof(*e)));
	u64 stride = DISK_BLOCKS / n;

	seed = n;
	for (size_t i = 0; i < n; i++) {
		e[i].block = strcmp(pattern, "dense") ? i * stride + below(stride) :
			     DISK_BLOCKS / 2 + i;
		e[i].slot = (u32)i;
	}
	return e;
}

static bool entries_have(const struct entry *e, size_t n, u64 block)
{
	size_t from = 0;

	while (n - from > 1) {
		size_t middle = from + (n - from) / 2;

		if (e[middle].block <= block)
			from = middle;
		else
			n = middle;
	}
	return e[from].block == block;
}

static const struct question {
	const char *name;
	u64 length;
} questions[] = { { "miss", 1 }, { "near", 1 }, { "hit", 1 }, { "64 KiB", 16 }, { "1 MiB", 256 } };

#define NQUESTIONS (sizeof(questions) / sizeof(questions[0]))

/* Two blocks beside one that is remapped, or, in a run, up to a mebibyte beside the run. */
static u64 near(const struct entry *e, size_t n)
{
	u64 block;

	do {
		block = e[below(n)].block ^ 2;
		if (entries_have(e, n, block))
			block = below(2) ? e[0].block - 1 - below(256) :
					   e[n - 1].block + 1 + below(256);
	} while (block >= DISK_BLOCKS);
	return block;
}

/* miss: anywhere on the disk. Of larger ones some hit. */
static u64 *questions_make(const struct entry *e, size_t n, const struct question *q)
{
	u64 *first = need(malloc(QUESTIONS * sizeof(*first)));

	for (size_t i = 0; i < QUESTIONS; i++) {
		do {
			if (!strcmp(q->name, "near"))
				first[i] = near(e, n);
			else if (!strcmp(q->name, "hit"))
				first[i] = e[below(n)].block;
			else
				first[i] = below(DISK_BLOCKS / q->length) * q->length;
		} while (!strcmp(q->name, "miss") && entries_have(e, n, first[i]));
	}
	return first;
}

/* ---- measuring ---- */

static FILE *json;
static const char *comma = "";

static double fastest(const struct design *d, const u64 *first, u64 length, size_t n, int threads,
		      int round, double best)
{
	struct asker a[2];
	pthread_t thread;
	double seconds;

	for (int t = 0; t < 2; t++)
		a[t] = (struct asker){ .first = first, .n = n, .length = length,
				       .from = ((size_t)round * n + (size_t)t * (QUESTIONS / 2)) %
					       QUESTIONS };
	if (threads == 2 && pthread_create(&thread, NULL, d->ask, &a[1]))
		error(1, 0, "no second thread");
	d->ask(&a[0]);
	if (threads == 2)
		pthread_join(thread, NULL);
	seconds = threads == 2 && a[1].seconds > a[0].seconds ? a[1].seconds : a[0].seconds;
	seconds = seconds * 1e9 / (double)n;
	return round && best < seconds ? best : seconds;
}

static void measure(size_t n, const char *pattern)
{
	struct entry *e = entries_make(n, pattern);
	size_t use = n > LIST_MAX ? DESIGNS - 1 : DESIGNS, d, q;
	double load[DESIGNS];

	for (d = 0; d < use; d++) {
		double start = now();

		designs[d].start(n);
		for (size_t i = 0; i < n; i++)
			designs[d].add(e[i].block, e[i].slot);
		load[d] = (now() - start) * 1e9 / (double)n;
	}
	printf("\n%zu %s\n%16s", n, pattern, "");
	for (q = 0; q < NQUESTIONS; q++)
		printf("%9s", questions[q].name);
	printf("%9s%9s%9s\n", "2 CPUs", "load", "bytes");

	double ns[DESIGNS][NQUESTIONS + 1];

	for (q = 0; q < NQUESTIONS; q++) {
		u64 *first = questions_make(e, n, &questions[q]);

		for (int round = 0; round < ROUNDS; round++)
			for (d = 0; d < use; d++) {
				size_t many = d == DESIGNS - 1 ? 20000000 / n / 10 + 1 :
					      QUESTIONS / ROUNDS;

				ns[d][q] = fastest(&designs[d], first, questions[q].length, many, 1,
						   round, ns[d][q]);
				if (q == 0)
					ns[d][NQUESTIONS] = fastest(&designs[d], first, 1, many, 2,
								    round, ns[d][NQUESTIONS]);
			}
		free(first);
	}
	for (d = 0; d < use; d++) {
		double bytes = (double)designs[d].bytes() / (double)n;

		printf("%-16s", designs[d].name);
		for (q = 0; q < NQUESTIONS; q++)
			printf("%9.1f", ns[d][q]);
		printf("%9.1f%9.1f%9.1f\n", ns[d][NQUESTIONS], load[d], bytes);
		if (!json)
			continue;
		fprintf(json, "%s\n{\"entries\": %zu, \"pattern\": \"%s\", \"design\": \"%s\"",
			comma, n, pattern, designs[d].name);
		for (q = 0; q < NQUESTIONS; q++)
			fprintf(json, ", \"%s\": %.2f", questions[q].name, ns[d][q]);
		fprintf(json, ", \"2 CPUs\": %.2f, \"load\": %.2f, \"bytes\": %.2f}",
			ns[d][NQUESTIONS], load[d], bytes);
		comma = ",";
	}
	for (d = 0; d < use; d++)
		designs[d].end();
	free(e);
	fflush(stdout);
}

static int only(char **arg)
{
	size_t n = strtoull(arg[1], NULL, 10), lookups = strtoull(arg[4], NULL, 10), d, q;
	struct entry *e = entries_make(n, arg[2]);

	for (d = 0; d < DESIGNS && strcmp(designs[d].name, arg[0]); d++)
		;
	for (q = 0; q < NQUESTIONS && strcmp(questions[q].name, arg[3]); q++)
		;
	if (d == DESIGNS || q == NQUESTIONS)
		return 2;
	designs[d].start(n);
	for (size_t i = 0; i < n; i++)
		designs[d].add(e[i].block, e[i].slot);
	designs[d].ask(&(struct asker){ .first = questions_make(e, n, &questions[q]),
					.n = lookups, .length = questions[q].length });
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "max", required_argument, NULL, 'm' },
		{ "json", required_argument, NULL, 'j' },
		{ 0 }
	};
	size_t n, max = 10000000;
	int c;

	if (argc == 7 && !strcmp(argv[1], "--only"))
		return only(argv + 2);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'm') {
			max = strtoull(optarg, NULL, 10);
		} else if (c == 'j') {
			json = fopen(optarg, "w");
			if (!json)
				error(1, errno, "%s", optarg);
			fputc('[', json);
		} else {
			return 2;
		}
	}
	printf("nanoseconds for each look-up; load: for each entry; bytes: for each entry\n");
	for (size_t p = 0; p < 2; p++)
		for (n = 1000; n <= max; n *= 10)
			measure(n, patterns[p]);
	if (json && (fputs("\n]\n", json) < 0 || fclose(json)))
		error(1, errno, "JSON");
	return 0;
}
