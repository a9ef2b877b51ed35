// SPDX-License-Identifier: GPL-2.0-only
/*
 * powercut: what is left of data and metadata when the power fails, at every point there is.
 *
 *   powercut work NAME VERSION DISK DATA_SECTORS SPARE_SECTORS
 *		commands on standard input: writes to the remap device NAME, versions from VERSION
 *		on, and makes sectors of the null_blk DISK bad
 *   powercut cut [OPTION]...
 *		tries the power cuts of what has been recorded
 *
 * One disk (null_blk) stands for all: its first part is the data device, the rest the spare, two
 * dm-linear devices over one dm-log-writes, so that there is one order of everything.
 *
 * What was written is in the log of dm-log-writes; its format is in drivers/md/dm-log-writes.c of
 * the kernel's sources. When it was written the log does not tell: a write appears there when it
 * is durable. So the kernel's tracepoints block_bio_queue and block_bio_complete on the same device
 * tell when each write set out and when it came back, and the marks of this program between them
 * (trace_marker) what was submitted, acknowledged and made durable by then. The n-th write
 * of a place in the trace is the n-th in the log: no two writes of one place are on their way
 * at a time.
 *
 * The power can fail before each event of the trace. On disk is then, by the rules of a volatile
 * write cache: what came back and was FUA, or came back before a flush set out that has come back
 * itself. All else that has set out may be there or not, whole or in part; so may, of a write that
 * failed, what is not in a bad place. What is on disk is applied in the order in which it set out.
 * Of the states that a cut may leave these are tried: all there, as far as it has been sent; only
 * what must be there; seeded random ones, each write there, not there or torn at sectors; all torn.
 *
 * Each state is put on a disk, with the bad sectors of that time, and a remap target on it must
 *
 *   - start, once "format" was done, and have five good replicas then (but of bad zones);
 *   - leave the data device as it is;
 *   - give for each sector a version from the last one known durable up to the last one
 *     submitted, whole and of this sector, or an error, if it was in a place that went bad
 *     and no newer version is known to be durable.
 *
 * Some states are then lived in: written to, remapped, started again.
 *
 * The marks, each after "pc ", sectors being those of the target:
 *
 *   W <sector> <count> <version>      is about to be written
 *   A <sector> <count> <version> <d>  was acknowledged; d is 1 if it must be durable by that
 *   f <id>, F <id>                    a flush is asked for; is done: what was acknowledged
 *                                     before it was asked for is durable
 *   L <sector> <count>                the place where these are has become bad
 *   B +<first>-<last>, B -...         sectors of the disk become bad, or good
 *   zones <mask>                      these zones may not be whole: something in them is bad
 *   format begin, format end          outside of these two there is nothing half-done
 *   here                              what came before is not cut
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <libdevmapper.h>
#include "format.h"

#define SECTOR		512U
#define BLOCK		8U		/* sectors */
#define CHUNK		128U		/* sectors, of bulk I/O */
#define FIRST_VERSION	1U
#define MAX_WRITE	4096U

static _Noreturn void die(const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	fputs("powercut: ", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(error));
	exit(2);
}

static void *zalloc(size_t size)
{
	void *p = NULL;

	if (posix_memalign(&p, 4096, size))
		die("memory");
	memset(p, 0, size);
	return p;
}

static uint64_t random_state;

static uint64_t rnd(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* ---- what a sector says ---- */

struct stamp {
	uint64_t sector;
	uint64_t version;
};

static void stamp(uint8_t *buf, uint64_t sector, uint64_t version)
{
	struct stamp s = { sector, version };

	for (size_t i = 0; i < SECTOR; i += sizeof(s))
		memcpy(buf + i, &s, sizeof(s));
}

/* The version of a sector as it was read, or 0 if it is none of ours, or of another place. */
static uint64_t version_of(const uint8_t *buf, uint64_t sector)
{
	struct stamp s;

	memcpy(&s, buf, sizeof(s));
	if (s.sector != sector || memcmp(buf, buf + sizeof(s), SECTOR - sizeof(s)))
		return 0;
	return s.version;
}

/* ---- device-mapper ---- */

static void quiet(int level, const char *file, int line, int error, const char *format, ...)
{
	(void)level, (void)file, (void)line, (void)error, (void)format;
}

static struct dm_task *dm_task(int type, const char *name)
{
	struct dm_task *task = dm_task_create(type);

	if (!task || !dm_task_set_name(task, name))
		die("device-mapper");
	return task;
}

/* Return: 0 or a negative error. @answer may be NULL */
static int dm_message(const char *name, const char *message, char *answer, size_t size)
{
	struct dm_task *task = dm_task(DM_DEVICE_TARGET_MSG, name);
	const char *response = NULL;
	int r = 0;

	if (!dm_task_set_sector(task, 0) || !dm_task_set_message(task, message))
		die("device-mapper");
	if (!dm_task_run(task))
		r = -dm_task_get_errno(task);
	else
		response = dm_task_get_message_response(task);
	if (answer)
		snprintf(answer, size, "%s", response ? response : "");
	dm_task_destroy(task);
	return r;
}

static void dm_status(const char *name, char *state, unsigned int *used, unsigned int *left)
{
	unsigned int total, unusable;
	struct dm_task *task = dm_task(DM_DEVICE_STATUS, name);
	char *target = NULL, *text = NULL;
	uint64_t start, length;

	if (!dm_task_run(task))
		die("status of %s", name);
	dm_get_next_target(task, NULL, &start, &length, &target, &text);
	if (!text || sscanf(text, "%15s %*u %u %u %u", state, &total, used, &unusable) != 4)
		die("status of %s: %s", name, text ? text : "none");
	*left = total - *used - unusable;
	dm_task_destroy(task);
}

/* Which slot a block is in, by the target's list; -1 if in none. */
static void slots_of(const char *name, int64_t *slot, size_t blocks)
{
	char text[16384], ask[64], *line, *next;
	uint64_t from = 0, sector;
	int64_t in;

	for (size_t i = 0; i < blocks; i++)
		slot[i] = -1;
	for (;;) {
		snprintf(ask, sizeof(ask), "list %" PRIu64, from);
		if (dm_message(name, ask, text, sizeof(text)))
			die("list");
		for (line = text; line && *line; line = next) {
			next = strchr(line, '\n');
			if (next)
				*next++ = 0;
			if (!strcmp(line, "end"))
				return;
			if (sscanf(line, "next %" SCNu64, &from) == 1)
				break;
			if (sscanf(line, "%" SCNu64 " %*u %" SCNd64, &sector, &in) == 2 &&
			    sector / BLOCK < blocks)
				slot[sector / BLOCK] = in;
		}
		if (!line || !*line)
			return;
	}
}

/* ---- work: what is recorded ---- */

static struct {
	const char *name;
	int fd, trace;
	char disk[64];			/* its bad blocks, in configfs */
	uint64_t data_sectors, spare_sectors, sectors;
	struct remap_layout layout;
	uint64_t version;		/* the next one, in all threads */
	uint64_t flushes;
	unsigned int zones;		/* that have something bad */
	unsigned int errors;		/* writes that failed */
} work;

static void mark(const char *format, ...)
{
	char text[128] = "pc ";
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text + 3, sizeof(text) - 3, format, args);
	va_end(args);
	if (write(work.trace, text, (size_t)n + 3) != n + 3)
		die("trace_marker");
}

enum how {
	PLAIN,
	DSYNC,
	MOVES		/* meets a bad block, and so is durable when it is acknowledged */
};

static void do_write(uint8_t *buf, uint64_t sector, uint64_t count, enum how how)
{
	uint64_t version = __atomic_fetch_add(&work.version, 1, __ATOMIC_SEQ_CST);
	struct iovec iov = { buf, count * SECTOR };
	ssize_t r;

	for (uint64_t i = 0; i < count; i++)
		stamp(buf + i * SECTOR, sector + i, version);
	mark("W %" PRIu64 " %" PRIu64 " %" PRIu64, sector, count, version);
	r = pwritev2(work.fd, &iov, 1, (off_t)(sector * SECTOR), how == DSYNC ? RWF_DSYNC : 0);
	if (r == (ssize_t)(count * SECTOR))
		mark("A %" PRIu64 " %" PRIu64 " %" PRIu64 " %d", sector, count, version,
		     how != PLAIN);
	else
		__atomic_fetch_add(&work.errors, 1, __ATOMIC_SEQ_CST);
}

static void do_flush(void)
{
	uint64_t id = __atomic_fetch_add(&work.flushes, 1, __ATOMIC_SEQ_CST);

	mark("f %" PRIu64, id);
	if (!fdatasync(work.fd))
		mark("F %" PRIu64, id);
}

static void set_bad(char sign, uint64_t first, uint64_t last)
{
	char text[64];
	int fd, n;

	/* before it is bad; but a good place is that only afterwards */
	if (sign == '+')
		mark("B +%" PRIu64 "-%" PRIu64, first, last);
	fd = open(work.disk, O_WRONLY);
	n = snprintf(text, sizeof(text), "%c%" PRIu64 "-%" PRIu64, sign, first, last);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		die("%s", work.disk);
	close(fd);
	if (sign == '-')
		mark("B -%" PRIu64 "-%" PRIu64, first, last);
}

/* Sectors of the data device become bad; lost is what is there, and has not moved before. */
static void bad_data(uint64_t first, uint64_t last)
{
	size_t blocks = work.data_sectors / BLOCK;
	int64_t *slot = zalloc(blocks * sizeof(*slot));

	slots_of(work.name, slot, blocks);
	for (uint64_t s = first; s <= last; s++)
		if (slot[s / BLOCK] < 0)
			mark("L %" PRIu64 " 1", s);
	set_bad('+', first, last);
	free(slot);
}

/* The places on the spare where sectors are, all of one block. */
static void bad_slot(uint64_t first, uint64_t last)
{
	size_t blocks = work.data_sectors / BLOCK;
	int64_t *slot = zalloc(blocks * sizeof(*slot));
	uint64_t at;

	slots_of(work.name, slot, blocks);
	if (slot[first / BLOCK] < 0 || first / BLOCK != last / BLOCK) {
		errno = EINVAL;
		die("slot of %" PRIu64, first);
	}
	at = work.data_sectors + remap_slot_sector(&work.layout, (u32)slot[first / BLOCK]);
	mark("L %" PRIu64 " %" PRIu64, first, last - first + 1);
	set_bad('+', at + first % BLOCK, at + last % BLOCK);
	free(slot);
}

/* The next slots that nothing is in, from one that is in use on. */
static void bad_free(unsigned int n)
{
	size_t blocks = work.data_sectors / BLOCK;
	int64_t *slot = zalloc(blocks * sizeof(*slot)), top = -1;

	slots_of(work.name, slot, blocks);
	for (size_t i = 0; i < blocks; i++)
		top = slot[i] > top ? slot[i] : top;
	while (n--) {
		uint64_t at = work.data_sectors + remap_slot_sector(&work.layout, (u32)++top);

		set_bad('+', at + n % BLOCK, at + n % BLOCK);
	}
	free(slot);
}

/* A sector in both copies of the first table block of a zone. */
static void bad_zone(unsigned int z, bool bad)
{
	if (bad) {
		work.zones |= 1U << z;
		mark("zones %u", work.zones);
	}
	for (unsigned int copy = 0; copy < 2; copy++) {
		uint64_t at = work.data_sectors + remap_table_sector(&work.layout, z, 0, copy) + 3;

		set_bad(bad ? '+' : '-', at, at);
	}
}

/* Several threads write to sectors of their own, in blocks that they share. */
#define SHARE 4U		/* sectors in a row that are one thread's */

struct storm {
	pthread_t thread;
	unsigned int index, threads, ops;
	uint64_t first, count, seed;
};

static void *storm_thread(void *arg)
{
	struct storm *s = arg;
	uint64_t state = s->seed;
	uint8_t *buf = zalloc(SHARE * SECTOR);

	for (unsigned int i = 0; i < s->ops; i++) {
		uint64_t r, at, n;

		state = state * 6364136223846793005 + 1442695040888963407;
		r = state >> 33;
		at = r % (s->count / SHARE / s->threads) * s->threads + s->index;
		n = (r >> 8) % SHARE;
		if (r % 11 < 2)
			do_flush();
		else
			do_write(buf, s->first + at * SHARE + n, 1 + (r >> 16) % (SHARE - n),
				 r % 11 < 4 ? DSYNC : PLAIN);
	}
	free(buf);
	return NULL;
}

/* What there is to be moved meanwhile, to and fro. */
static void storm(unsigned int threads, unsigned int ops, uint64_t first, uint64_t count,
		  unsigned int moves)
{
	struct storm s[8];
	char text[64];

	for (unsigned int i = 0; i < threads; i++) {
		s[i] = (struct storm){ .index = i, .threads = threads, .ops = ops, .first = first,
				       .count = count, .seed = work.version * 16 + i };
		if (pthread_create(&s[i].thread, NULL, storm_thread, &s[i]))
			die("thread");
	}
	for (unsigned int i = 0; i < moves; i++) {
		/* may well fail: not all blocks can go back, not all are where they should be */
		snprintf(text, sizeof(text), "%s %" PRIu64 " %" PRIu64, i % 2 ? "unmap" : "remap",
			 first + i / 2 * 4 * BLOCK % count, (uint64_t)4 * BLOCK);
		(void)!dm_message(work.name, text, NULL, 0);
	}
	for (unsigned int i = 0; i < threads; i++)
		pthread_join(s[i].thread, NULL);
}

static void do_read(uint8_t *buf, uint64_t sector, uint64_t count)
{
	/* an error is for the target to act upon */
	(void)!pread(work.fd, buf, count * SECTOR, (off_t)(sector * SECTOR));
}

static int run_work(int argc, char **argv)
{
	unsigned long long a, b, c, d, e;
	char line[256], path[64];
	uint8_t *buf = zalloc(MAX_WRITE * SECTOR);

	if (argc != 6) {
		fputs("usage: powercut work NAME VERSION DISK DATA_SECTORS SPARE_SECTORS\n",
		      stderr);
		return 2;
	}
	work.name = argv[1];
	work.version = strtoull(argv[2], NULL, 10);
	snprintf(work.disk, sizeof(work.disk), "/sys/kernel/config/nullb/%s/badblocks", argv[3]);
	work.data_sectors = strtoull(argv[4], NULL, 10);
	work.spare_sectors = strtoull(argv[5], NULL, 10);
	work.flushes = work.version;
	if (remap_layout_compute(&work.layout, work.spare_sectors, BLOCK * SECTOR))
		die("layout");
	snprintf(path, sizeof(path), "/dev/mapper/%s", work.name);
	work.fd = open(path, O_RDWR | O_DIRECT);
	work.trace = open("/sys/kernel/tracing/trace_marker", O_WRONLY);
	if (work.fd < 0 || work.trace < 0)
		die("%s or trace_marker", path);

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "#\n")] = 0;
		if (sscanf(line, " write %llu %llu", &a, &b) == 2)
			do_write(buf, a, b, PLAIN);
		else if (sscanf(line, " sync-write %llu %llu", &a, &b) == 2)
			do_write(buf, a, b, DSYNC);
		else if (sscanf(line, " moving-write %llu %llu", &a, &b) == 2)
			do_write(buf, a, b, MOVES);
		else if (sscanf(line, " read %llu %llu", &a, &b) == 2)
			do_read(buf, a, b);
		else if (!strncmp(line, "flush", 5))
			do_flush();
		else if (sscanf(line, " bad-data %llu %llu", &a, &b) == 2)
			bad_data(a, b);
		else if (sscanf(line, " bad-slot %llu %llu", &a, &b) == 2)
			bad_slot(a, b);
		else if (sscanf(line, " bad-free %llu", &a) == 1)
			bad_free((unsigned int)a);
		else if (sscanf(line, " bad-zone %llu", &a) == 1)
			bad_zone((unsigned int)a, true);
		else if (sscanf(line, " good-zone %llu", &a) == 1)
			bad_zone((unsigned int)a, false);
		else if (sscanf(line, " storm %llu %llu %llu %llu %llu", &a, &b, &c, &d, &e) == 5)
			storm((unsigned int)a, (unsigned int)b, c, d, (unsigned int)e);
		else if (!strncmp(line, "message ", 8))
			(void)!dm_message(work.name, line + 8, NULL, 0);
		else if (!strncmp(line, "zones-whole", 11))
			mark("zones %u", work.zones = 0);
		else if (line[strspn(line, " \t")]) {
			errno = EINVAL;
			die("%s", line);
		}
	}
	printf("%" PRIu64 " %u\n", work.version, work.errors);
	return 0;
}

/* ---- cut: what was recorded ---- */

static struct {
	const char *log, *trace, *base, *disk, *known, *save;
	/* device numbers, "major,minor", of what has the log, of data device and spare */
	const char *logged, *data, *spare;
	uint64_t data_sectors, spare_sectors, sectors;
	uint64_t grown_from;		/* sectors of the spare before it grew, if it does */
	uint64_t seed, max, at;
	bool list;
} env = { .disk = "image", .seed = 1 };

enum kind { WRITE, DISCARD, FLUSH };

/* A write, discard or flush, as device and log saw it. */
struct io {
	enum kind kind;
	bool fua;
	uint64_t sector, count;		/* of a flush: what it flushes */
	uint64_t sent, back;		/* events; UINT64_MAX if it never came back */
	int error;
	uint64_t durable;		/* event from which on it is; UINT64_MAX */
	const uint8_t *data;
};

enum event_kind { SENT, BACK, MARK };

struct event {
	enum event_kind kind;
	size_t io;
	const char *mark;
};

static struct io *ios;
static size_t nr_ios;
static struct event *events;
static size_t nr_events;
static uint64_t here;			/* event, from which on the power fails */

#define LOG_FLUSH	(1 << 0)
#define LOG_FUA		(1 << 1)
#define LOG_DISCARD	(1 << 2)
#define LOG_MARK	(1 << 3)
#define LOG_MAGIC	0x6a736677736872ULL

struct log_super {
	uint64_t magic, version, entries;
	uint32_t sector_size;
};

struct log_entry {
	uint64_t sector, sectors, flags, data_len;
};

static struct io *logged;
static size_t nr_logged;

static uint8_t *load_file(const char *path, size_t *size)
{
	size_t room = 1 << 20;
	uint8_t *buf = malloc(room);
	FILE *f = fopen(path, "r");

	if (!f)
		die("%s", path);
	*size = 0;
	for (;;) {
		*size += fread(buf + *size, 1, room - *size, f);
		if (*size < room)
			break;
		room *= 2;
		buf = realloc(buf, room);
		if (!buf)
			die("memory");
	}
	if (ferror(f))
		die("%s", path);
	fclose(f);
	if (*size == room)
		buf = realloc(buf, room + 1);
	buf[*size] = 0;
	return buf;
}

static void bad_record(const char *what, uint64_t n)
{
	errno = EINVAL;
	die("%s %" PRIu64, what, n);
}

static void load_log(void)
{
	struct log_super super;
	size_t size, at = SECTOR;
	uint8_t *log = load_file(env.log, &size);

	memcpy(&super, log, sizeof(super));
	if (size < SECTOR || super.magic != LOG_MAGIC || super.version != 1 ||
	    super.sector_size != SECTOR)
		bad_record("log of", super.sector_size);
	logged = calloc(super.entries + 1, sizeof(*logged));
	for (uint64_t i = 0; i < super.entries; i++) {
		struct io *io = &logged[nr_logged];
		struct log_entry e;

		if (at + SECTOR > size)
			bad_record("entry", i);
		memcpy(&e, log + at, sizeof(e));
		at += SECTOR;
		if (e.flags & LOG_MARK || !e.sectors)
			continue;
		io->kind = e.flags & LOG_DISCARD ? DISCARD : WRITE;
		io->fua = e.flags & LOG_FUA;
		io->sector = e.sector;
		io->count = e.sectors;
		if (io->kind == WRITE) {
			if (at + e.sectors * SECTOR > size || e.sector + e.sectors > env.sectors)
				bad_record("entry", i);
			io->data = log + at;
			at += e.sectors * SECTOR;
		}
		nr_logged++;
	}
}

/* The trace's next write of a place has the data of the log's next one. */
static void match(struct io *io)
{
	for (size_t i = 0; i < nr_logged; i++) {
		struct io *l = &logged[i];

		if (l->sent || l->kind != io->kind || l->fua != io->fua ||
		    l->sector != io->sector || l->count != io->count)
			continue;
		l->sent = 1;
		io->data = l->data;
		return;
	}
	bad_record("not in the log: write of sector", io->sector);
}

static void event_back(const struct io *like, int error)
{
	for (size_t i = 0; i < nr_ios; i++) {
		struct io *io = &ios[i];

		if (io->back != UINT64_MAX || io->kind != like->kind || io->fua != like->fua ||
		    io->sector != like->sector || io->count != like->count)
			continue;
		io->back = nr_events;
		io->error = error;
		events[nr_events].kind = BACK;
		events[nr_events++].io = i;
		return;
	}
	bad_record("came back, was not sent: sector", like->sector);
}

/* One line of the trace, without what comes before the event's name. */
static void parse_event(char *text)
{
	unsigned long long sector, count;
	struct io io = { .kind = WRITE, .back = UINT64_MAX, .durable = UINT64_MAX };
	char dev[16], rwbs[16];
	bool sent;
	char *p;
	int error;

	if (!strncmp(text, "tracing_mark_write: pc ", 23)) {
		if (!strcmp(text + 23, "here"))
			here = nr_events;
		events[nr_events].kind = MARK;
		events[nr_events++].mark = text + 23;
		return;
	}
	sent = !strncmp(text, "block_bio_queue: ", 17);
	if (!sent && strncmp(text, "block_bio_complete: ", 20))
		return;
	p = strchr(text, ' ');
	if (sscanf(p, " %15s %15s %llu + %llu", dev, rwbs, &sector, &count) != 4)
		bad_record("trace, event", nr_events);
	if (strchr(rwbs, 'R'))
		return;
	io.sector = sector;
	io.count = count;
	if (rwbs[0] == 'F' && !count) {
		/* data device and spare have a cache each, whatever they stand on */
		if (strcmp(dev, env.data) && strcmp(dev, env.spare))
			return;
		io.kind = FLUSH;
		io.sector = strcmp(dev, env.data) ? env.data_sectors : 0;
		io.count = strcmp(dev, env.data) ? env.spare_sectors : env.data_sectors;
	} else if (strcmp(dev, env.logged)) {
		return;
	} else if (rwbs[0] == 'D') {
		io.kind = DISCARD;
	} else {
		if (rwbs[0] != 'W')
			bad_record("neither write nor flush: event", nr_events);
		io.fua = strchr(rwbs, 'F');
	}
	if (!sent) {
		p = strchr(p, '[');
		error = p ? atoi(p + 1) : 0;
		event_back(&io, error);
		return;
	}
	if (io.kind != FLUSH)
		match(&io);
	io.sent = nr_events;
	events[nr_events].kind = SENT;
	events[nr_events++].io = nr_ios;
	ios[nr_ios++] = io;
}

static void load_trace(void)
{
	unsigned long long in = 0, written = 1;
	size_t size, lines = 0;
	char *text = (char *)load_file(env.trace, &size), *line, *next, *p;

	for (p = text; (p = strchr(p, '\n')); p++)
		lines++;
	ios = calloc(lines + 1, sizeof(*ios));
	events = calloc(lines + 1, sizeof(*events));
	for (line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		p = strstr(line, "entries-in-buffer/entries-written: ");
		if (p)
			sscanf(p, "%*s %llu/%llu", &in, &written);
		if (*line == '#')
			continue;
		p = strstr(line, ": ");
		if (p)
			parse_event(p + 2);
	}
	if (in != written)
		bad_record("events lost in the trace:", written - in);
}

/* From when on is each write durable? Once it came back, if FUA, or with a flush sent after. */
static void find_durable(void)
{
	for (size_t i = 0; i < nr_ios; i++) {
		struct io *io = &ios[i];

		if (io->kind == FLUSH || io->error || io->back == UINT64_MAX)
			continue;
		if (io->fua)
			io->durable = io->back;
		for (size_t k = i + 1; k < nr_ios && io->durable == UINT64_MAX; k++)
			if (ios[k].kind == FLUSH && ios[k].sent > io->back && !ios[k].error &&
			    io->sector >= ios[k].sector &&
			    io->sector < ios[k].sector + ios[k].count)
				io->durable = ios[k].back;
	}
}

/* ---- what is known of each sector at a point of the trace ---- */

struct known {
	uint64_t durable;		/* the oldest version that it may have */
	uint64_t acknowledged;
	uint64_t submitted;		/* the newest */
	uint64_t bad_since;		/* an error is fine until a newer one is durable */
};

struct flush {
	uint64_t id;
	uint64_t *acknowledged;
};

static struct known *known;
static struct flush flushes[64];
static bool bad[1 << 20];		/* sectors of the disk */
static unsigned int zones;
static bool formatting, formatted, anew;
static uint64_t marks;			/* so far */

static void made_durable(uint64_t sector, uint64_t version)
{
	struct known *k = &known[sector];

	if (version <= k->durable)
		return;
	k->durable = version;
	if (k->bad_since != UINT64_MAX && version > k->bad_since)
		k->bad_since = UINT64_MAX;
}

static void flush_begins(uint64_t id)
{
	struct flush *f = flushes;

	while (f->acknowledged)
		f++;
	f->id = id;
	f->acknowledged = malloc(env.data_sectors * sizeof(*f->acknowledged));
	for (uint64_t s = 0; s < env.data_sectors; s++)
		f->acknowledged[s] = known[s].acknowledged;
}

static void flush_ends(uint64_t id)
{
	struct flush *f = flushes;

	while (!f->acknowledged || f->id != id)
		f++;
	for (uint64_t s = 0; s < env.data_sectors; s++)
		made_durable(s, f->acknowledged[s]);
	free(f->acknowledged);
	f->acknowledged = NULL;
}

static void apply_mark(const char *mark)
{
	unsigned long long a, b, c, d;
	char sign;

	marks++;
	if (sscanf(mark, "W %llu %llu %llu", &a, &b, &c) == 3) {
		for (; b--; a++)
			known[a].submitted = c;
	} else if (sscanf(mark, "A %llu %llu %llu %llu", &a, &b, &c, &d) == 4) {
		for (; b--; a++) {
			known[a].acknowledged = c;
			if (d)
				made_durable(a, c);
		}
	} else if (sscanf(mark, "f %llu", &a) == 1) {
		flush_begins(a);
	} else if (sscanf(mark, "F %llu", &a) == 1) {
		flush_ends(a);
	} else if (sscanf(mark, "L %llu %llu", &a, &b) == 2) {
		for (; b--; a++)
			known[a].bad_since = known[a].submitted;
	} else if (sscanf(mark, "B %c%llu-%llu", &sign, &a, &b) == 3) {
		for (; a <= b; a++)
			bad[a] = sign == '+';
	} else if (sscanf(mark, "zones %llu", &a) == 1) {
		zones = (unsigned int)a;
	} else if (!strcmp(mark, "format begin")) {
		formatting = true;
	} else if (!strcmp(mark, "format end")) {
		formatting = false;
		anew = formatted;
		formatted = true;
	} else if (strcmp(mark, "here")) {
		bad_record(mark, marks);
	}
}

/* ---- states ---- */

enum policy { ALL, NONE, RANDOM, TORN };

static const char * const policy_name[] = { "all there", "only what must be", "some", "all torn" };

struct state {
	uint64_t event;			/* before which the power fails */
	enum policy policy;
	uint64_t seed;
	bool hot;			/* metadata on its way, or just back */
	bool worst;			/* all replicas of something on their way, and torn */
	uint64_t hash;
};

static struct state *states;
static size_t nr_states;
static uint8_t *base, *image, *found;
static uint8_t *untouched;		/* what the data device must still be like, or NULL */
static struct remap_layout layout;

static bool in_zone(const struct io *io)
{
	for (const struct remap_band *b = layout.band; b < layout.band + layout.bands; b++) {
		for (unsigned int z = 0; z < REMAP_ZONES; z++) {
			uint64_t at = env.data_sectors + b->zone_start[z];

			if (io->sector < at + b->zone_sectors && io->sector + io->count > at)
				return true;
		}
	}
	return false;
}

static void lay(const struct io *io, uint64_t i)
{
	uint8_t *to = image + (io->sector + i) * SECTOR;

	if (io->kind == DISCARD)
		memset(to, 0, SECTOR);
	else
		memcpy(to, io->data + i * SECTOR, SECTOR);
}

/*
 * What may become of a write; torn are HEAD and TAIL, the first sector or all others: the header of
 * a table block goes without the entries, or they without it.
 */
enum fate { GONE, WHOLE, PART, HEAD, TAIL };

/* Of a write that need not be there. One that failed has left nothing, or some sectors. */
static enum fate fate_of(const struct io *io, enum policy policy)
{
	switch (policy) {
	case ALL:
		return io->error ? GONE : WHOLE;
	case NONE:
		return GONE;
	case TORN:
		return rnd() & 1 ? HEAD : TAIL;
	default:
		return (enum fate)(rnd() % 3);
	}
}

/*
 * Go through what is on disk in a state, and put it together in image if asked. Return: a number
 * that tells states apart
 */
static uint64_t walk(const struct state *st, bool build)
{
	uint64_t hash = 0xcbf29ce484222325;

	random_state = st->seed;
	if (build)
		memcpy(image, base, env.sectors * SECTOR);
	for (size_t i = 0; i < nr_ios && ios[i].sent < st->event; i++) {
		const struct io *io = &ios[i];
		enum fate fate = io->durable < st->event ? WHOLE : fate_of(io, st->policy);

		if (io->kind == FLUSH || fate == GONE)
			continue;
		hash = (hash ^ i) * 0x100000001b3;
		for (uint64_t s = 0; s < io->count && (build || fate != WHOLE); s++) {
			if ((fate == PART && rnd() & 1) || (fate == HEAD && s) ||
			    (fate == TAIL && !s))
				continue;
			if (fate != WHOLE)
				hash = (hash ^ s) * 0x100000001b3;
			if (build)
				lay(io, s);
		}
	}
	return hash;
}

/* Is anything volatile then? @zones_hit: so many writes to zones are on their way */
static bool volatile_at(uint64_t event, unsigned int *zones_hit)
{
	bool any = false;

	*zones_hit = 0;
	for (size_t i = 0; i < nr_ios && ios[i].sent < event; i++) {
		const struct io *io = &ios[i];

		/* what failed long ago is as it was in earlier states */
		if (io->kind == FLUSH || io->durable < event ||
		    (io->error && io->back + 20 < event))
			continue;
		any = true;
		*zones_hit += !io->error && in_zone(io);
	}
	return any;
}

/* A state, unless there is one like it with no mark, and so no more that is known, between. */
static bool add_state(uint64_t event, enum policy policy, bool hot, uint64_t since)
{
	struct state *st = &states[nr_states];
	size_t i;

	st->event = event;
	st->policy = policy;
	st->hot = hot;
	st->seed = env.seed * 1000003 + event * 31 + policy;
	st->hash = walk(st, false);
	for (i = nr_states; i && states[i - 1].event >= since; i--)
		if (states[i - 1].hash == st->hash)
			return false;
	nr_states++;
	return true;
}

/*
 * The power fails before each event that is not a mark: marks in between only make it harder.
 */
static void find_states(void)
{
	uint64_t since = 0;

	states = calloc(4 * nr_events + 5, sizeof(*states));
	for (uint64_t e = here; e <= nr_events; e++) {
		unsigned int zones_hit;
		bool hot, any;

		if (e < nr_events && events[e].kind == MARK) {
			since = e + 1;
			continue;
		}
		any = volatile_at(e, &zones_hit);
		hot = zones_hit || (e && events[e - 1].kind != MARK &&
				    in_zone(&ios[events[e - 1].io]));
		add_state(e, NONE, hot, since);
		if (!any)
			continue;
		add_state(e, ALL, hot, since);
		add_state(e, RANDOM, hot, since);
		if (hot && add_state(e, TORN, hot, since))
			states[nr_states - 1].worst = zones_hit >= REMAP_ZONES;
	}
}

/*
 * A sample of as many as are allowed, if that is not all: of the worst up to a third; of those
 * with metadata on its way up to two thirds of the rest; or more, where there are too few others.
 */
static void choose_states(void)
{
	uint64_t have[3] = { 0 }, take[3], room = env.max;
	size_t n = 0;

	if (!env.max || env.max >= nr_states)
		return;
	for (size_t i = 0; i < nr_states; i++)
		have[states[i].worst ? 2 : states[i].hot]++;
	take[2] = min(have[2], room / 3);
	room -= take[2];
	take[0] = min(have[0], room - min(have[1], 2 * room / 3));
	take[1] = min(have[1], room - take[0]);
	random_state = env.seed;
	for (size_t i = 0; i < nr_states; i++) {
		unsigned int c = states[i].worst ? 2 : states[i].hot;

		if (rnd() % have[c]-- < take[c]) {
			take[c]--;
			states[n++] = states[i];
		}
	}
	nr_states = n;
}

/* ---- trying a state ---- */

static int disk_fd;
static char disk_path[64], bad_path[64];
static unsigned int violations;
static const struct state *current;

static void violation(const char *format, ...)
{
	va_list args;

	if (++violations > 20)		/* enough to see what it is */
		return;
	printf("# VIOLATION: cut before event %" PRIu64 ", %s, seed %" PRIu64 ": ",
	       current->event, policy_name[current->policy], current->seed);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* The disk's bad sectors: those of the time of the cut, or none at all. */
static void bads(bool on)
{
	int fd = open(bad_path, O_WRONLY);
	char text[64];
	uint64_t last;
	int n;

	if (fd < 0)
		die("%s", bad_path);
	n = snprintf(text, sizeof(text), "-0-%" PRIu64, env.sectors - 1);
	if (write(fd, text, (size_t)n) != n)
		die("%s: %s", bad_path, text);
	for (uint64_t s = 0; on && s < env.sectors; s = last + 1) {
		last = s;
		if (!bad[s])
			continue;
		while (last + 1 < env.sectors && bad[last + 1])
			last++;
		n = snprintf(text, sizeof(text), "+%" PRIu64 "-%" PRIu64, s, last);
		if (write(fd, text, (size_t)n) != n)
			die("%s: %s", bad_path, text);
	}
	close(fd);
}

static void read_disk(void)
{
	for (uint64_t s = 0; s < env.sectors; s += 2048) {
		uint64_t n = env.sectors - s < 2048 ? env.sectors - s : 2048;

		if (pread(disk_fd, found + s * SECTOR, n * SECTOR, (off_t)(s * SECTOR)) !=
		    (ssize_t)(n * SECTOR))
			die("read of %s", disk_path);
	}
}

/* Make the disk what image says; most of it is so already. The state before ends here. */
static void put_image(void)
{
	bads(false);
	read_disk();
	/* starting is no reason to write to the data device */
	if (untouched && memcmp(untouched, found, env.data_sectors * SECTOR))
		violation("the data device has changed");
	for (uint64_t s = 0; s < env.sectors; s += BLOCK) {
		uint64_t n = 0;

		while (s + n < env.sectors && n < CHUNK &&
		       memcmp(image + (s + n) * SECTOR, found + (s + n) * SECTOR, BLOCK * SECTOR))
			n += BLOCK;
		if (!n)
			continue;
		memcpy(found + s * SECTOR, image + s * SECTOR, n * SECTOR);
		if (pwrite(disk_fd, found + s * SECTOR, n * SECTOR, (off_t)(s * SECTOR)) !=
		    (ssize_t)(n * SECTOR))
			die("write to %s", disk_path);
		s += n - BLOCK;
	}
	bads(true);
}

/* Return: 0, a negative error. @fd: the device */
static int start(bool pass, int *fd)
{
	struct dm_task *task = dm_task(DM_DEVICE_CREATE, "cut");
	struct dm_info info;
	char text[256];
	int r = 0;

	snprintf(text, sizeof(text), "%s 0 %s %" PRIu64 " 2 on_read_error %s", disk_path, disk_path,
		 env.data_sectors, pass ? "pass" : "relocate");
	if (!dm_task_add_target(task, 0, env.data_sectors, "remap", text))
		die("device-mapper");
	if (!dm_task_run(task)) {
		r = -dm_task_get_errno(task);
		r = r ? r : -EIO;
	} else if (!dm_task_get_info(task, &info)) {
		die("device-mapper");
	}
	dm_task_destroy(task);
	if (r)
		return r;
	snprintf(text, sizeof(text), "/dev/dm-%u", info.minor);
	*fd = open(text, O_RDWR | O_DIRECT);
	if (*fd < 0)
		die("%s", text);
	return 0;
}

static void stop(int fd)
{
	struct dm_task *task = dm_task(DM_DEVICE_REMOVE, "cut");

	close(fd);
	if (!dm_task_run(task))
		die("remove");
	dm_task_destroy(task);
}

/* Are fewer left than a commit needs? */
static bool few_zones(void)
{
	return __builtin_popcount(zones) > REMAP_ZONES - REMAP_QUORUM;
}

static void check_replicas(void)
{
	char text[512], *line, *save = NULL, state[16];
	unsigned int z, seen = 0, used, left;

	if (dm_message("cut", "verify", text, sizeof(text))) {
		violation("verify fails");
		return;
	}
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%u %15s", &z, state) != 2 || z >= REMAP_ZONES)
			continue;
		seen++;
		/* where too few are left, what the others may hide waits for a commit above it */
		if (strcmp(state, "ok") && !(zones & 1U << z) &&
		    !(few_zones() && !strcmp(state, "stale")))
			violation("replica %u is %s", z, state);
	}
	if (seen != REMAP_ZONES)
		violation("verify knows %u replicas", seen);
	dm_status("cut", state, &used, &left);
	if (strcmp(state, left ? "active" : "exhausted") &&
	    !few_zones())
		violation("state %s", state);
}

#define ERROR UINT64_MAX

/* The version of each sector, or ERROR; 0 is none of ours. */
static void read_target(int fd, uint64_t *version, uint8_t *buf)
{
	uint64_t step, n;

	for (uint64_t s = 0; s < env.data_sectors; s += n) {
		/* as much as is aligned there, less where something cannot be read */
		for (step = 512; s % step; step /= 8)
			;
		for (n = step; n > 1; n /= 8)
			if (pread(fd, buf + s * SECTOR, n * SECTOR, (off_t)(s * SECTOR)) ==
			    (ssize_t)(n * SECTOR))
				break;
		if (n == 1 && pread(fd, buf + s * SECTOR, SECTOR, (off_t)(s * SECTOR)) != SECTOR)
			version[s] = ERROR;
		else
			for (uint64_t i = 0; i < n; i++)
				version[s + i] = version_of(buf + (s + i) * SECTOR, s + i);
	}
}

static void check_versions(const uint64_t *version)
{
	for (uint64_t s = 0; s < env.data_sectors; s++) {
		const struct known *k = &known[s];

		if (version[s] == ERROR) {
			if (k->bad_since == UINT64_MAX)
				violation("sector %" PRIu64 " cannot be read, nothing there is bad",
					  s);
		} else if (version[s] < k->durable || version[s] > k->submitted) {
			violation("sector %" PRIu64 " has version %" PRIu64 ", not %" PRIu64
				  " to %" PRIu64, s, version[s], k->durable, k->submitted);
		}
	}
}

/* A spare of a new life says nothing: all must be as it is on the data device. */
static void check_raw(const uint8_t *got, const uint64_t *version)
{
	for (uint64_t s = 0; s < env.data_sectors; s++)
		if (version[s] == ERROR ? !bad[s] :
					  memcmp(got + s * SECTOR, image + s * SECTOR, SECTOR))
			violation("sector %" PRIu64 " is not as on the data device", s);
}

/* The life after: what is written is there, what is not stays, also after another start. */
static void live_on(int *fd, uint64_t *before, uint64_t *after, uint8_t *buf)
{
	static uint64_t version = 1ULL << 40;
	uint8_t *one = zalloc(BLOCK * SECTOR);
	char text[64];

	free(untouched);
	untouched = NULL;
	(void)!dm_message("cut", "set on_read_error relocate", NULL, 0);
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t n = 1 + rnd() % BLOCK, s = rnd() % (env.data_sectors - n);

		/* some where things have happened */
		for (unsigned int tries = 0; i % 2 && tries < 1000 &&
		     known[s].submitted == FIRST_VERSION; tries++)
			s = rnd() % (env.data_sectors - n);
		version++;
		for (uint64_t k = 0; k < n; k++) {
			stamp(one + k * SECTOR, s + k, version);
			before[s + k] = version;
		}
		if (pwrite(*fd, one, n * SECTOR, (off_t)(s * SECTOR)) != (ssize_t)(n * SECTOR))
			violation("sectors %" PRIu64 " + %" PRIu64 " cannot be written", s, n);
		snprintf(text, sizeof(text), "remap %" PRIu64 " 16",
			 rnd() % (env.data_sectors - 16));
		(void)!dm_message("cut", text, NULL, 0);
	}
	if (fdatasync(*fd))
		violation("cannot be flushed");
	stop(*fd);
	if (start(true, fd))
		return violation("does not start a second time");
	check_replicas();
	read_target(*fd, after, buf);
	for (uint64_t s = 0; s < env.data_sectors; s++)
		if (after[s] != before[s])
			violation("sector %" PRIu64 " was version %" PRIu64 ", is %" PRIu64
				  " after another start", s, before[s], after[s]);
	free(one);
}

static void try_state(const struct state *st, bool live)
{
	static uint64_t *version, *again;
	static uint8_t *buf;
	char state[16];
	unsigned int used, left;
	int fd, r;

	if (!version) {
		version = zalloc(env.data_sectors * sizeof(*version));
		again = zalloc(env.data_sectors * sizeof(*again));
		buf = zalloc(env.data_sectors * SECTOR);
	}
	put_image();
	current = st;
	if (!untouched)
		untouched = zalloc(env.data_sectors * SECTOR);
	memcpy(untouched, image, env.data_sectors * SECTOR);
	r = start(true, &fd);
	if (r) {
		if (formatted && !formatting)
			violation("does not start: %s", strerror(-r));
		return;
	}
	if (!formatted && !formatting)
		violation("starts, and was not formatted");
	check_replicas();
	dm_status("cut", state, &used, &left);
	read_target(fd, version, buf);
	if (anew && used)
		violation("%u slots used after format", used);
	if (anew || (formatting && !used))
		check_raw(buf, version);
	else
		check_versions(version);
	if (live && !few_zones())
		live_on(&fd, version, again, buf);
	stop(fd);
}

/* For another recording, which begins where this state ends. */
static void save_file(const char *suffix, const void *data, size_t size)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s.%s", env.save, suffix);
	f = fopen(path, "w");
	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		die("%s", path);
}

struct saved {
	unsigned int zones;
	bool formatted;
};

static void save(void)
{
	struct saved s = { zones, formatted };

	save_file("image", image, env.sectors * SECTOR);
	save_file("known", known, env.data_sectors * sizeof(*known));
	save_file("bad", bad, sizeof(bad));
	save_file("rest", &s, sizeof(s));
}

static void begin(void)
{
	struct remap_super super = {
		.block_size = BLOCK * SECTOR, .spare_sectors = env.spare_sectors,
		.grown = env.grown_from ? 1 : 0, .grown_from = { env.grown_from }
	};
	char path[256];
	struct saved *s;
	uint8_t *file;
	size_t size;

	env.sectors = env.data_sectors + env.spare_sectors;
	if (env.sectors > sizeof(bad) || remap_layout_of(&layout, &super))
		bad_record("sectors:", env.sectors);
	image = zalloc(env.sectors * SECTOR);
	found = zalloc(env.sectors * SECTOR);
	base = zalloc(env.sectors * SECTOR);
	known = zalloc(env.data_sectors * sizeof(*known));
	if (env.base) {
		static const char * const part[] = { "image", "known", "bad", "rest" };
		void *to[] = { base, known, bad, NULL };
		size_t length[] = { env.sectors * SECTOR, env.data_sectors * sizeof(*known),
				    sizeof(bad), sizeof(*s) };

		for (unsigned int i = 0; i < 4; i++) {
			snprintf(path, sizeof(path), "%s.%s", env.base, part[i]);
			file = load_file(path, &size);
			if (size != length[i])
				bad_record(path, size);
			if (to[i]) {
				memcpy(to[i], file, size);
			} else {
				s = (struct saved *)file;
				zones = s->zones;
				formatted = s->formatted;
			}
			free(file);
		}
		return;
	}
	for (uint64_t i = 0; i < env.data_sectors; i++) {
		stamp(base + i * SECTOR, i, FIRST_VERSION);
		known[i] = (struct known){ FIRST_VERSION, FIRST_VERSION, FIRST_VERSION,
					   UINT64_MAX };
	}
}

/* What a first recording begins with. */
static void fill(void)
{
	memcpy(image, base, env.sectors * SECTOR);
	put_image();
}

static void devices(char *list)
{
	env.logged = strtok(list, " ");
	env.data = strtok(NULL, " ");
	env.spare = strtok(NULL, " ");
	if (!env.spare)
		bad_record("device numbers:", 3);
}

static int run_cut(int argc, char **argv)
{
	static const struct option options[] = {
		{ "log", 1, NULL, 'l' }, { "trace", 1, NULL, 't' }, { "devices", 1, NULL, 'd' },
		{ "disk", 1, NULL, 'i' }, { "data", 1, NULL, 'D' }, { "spare", 1, NULL, 'S' },
		{ "seed", 1, NULL, 's' }, { "max", 1, NULL, 'm' }, { "base", 1, NULL, 'b' },
		{ "save", 1, NULL, 'w' }, { "at", 1, NULL, 'a' }, { "fill", 0, NULL, 'f' },
		{ "list", 0, NULL, 'L' }, { "grown-from", 1, NULL, 'g' }, { NULL, 0, NULL, 0 }
	};
	uint64_t event = 0, tried = 0, lived = 0;
	bool filling = false;
	size_t worst = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'l': env.log = optarg; break;
		case 't': env.trace = optarg; break;
		case 'd': devices(optarg); break;
		case 'i': env.disk = optarg; break;
		case 'D': env.data_sectors = strtoull(optarg, NULL, 10); break;
		case 'S': env.spare_sectors = strtoull(optarg, NULL, 10); break;
		case 's': env.seed = strtoull(optarg, NULL, 10); break;
		case 'm': env.max = strtoull(optarg, NULL, 10); break;
		case 'b': env.base = optarg; break;
		case 'w': env.save = optarg; break;
		case 'a': env.at = strtoull(optarg, NULL, 10); break;
		case 'f': filling = true; break;
		case 'g': env.grown_from = strtoull(optarg, NULL, 10); break;
		case 'L': env.list = true; break;
		default: return 2;
		}
	}
	begin();
	snprintf(disk_path, sizeof(disk_path), "/dev/%s", env.disk);
	snprintf(bad_path, sizeof(bad_path), "/sys/kernel/config/nullb/%s/badblocks", env.disk);
	disk_fd = env.list ? -1 : open(disk_path, O_RDWR | O_DIRECT);
	if (disk_fd < 0 && !env.list)
		die("%s", disk_path);
	if (filling) {
		fill();
		return 0;
	}
	load_log();
	load_trace();
	find_durable();
	find_states();
	for (size_t i = 0; i < nr_states; i++)
		worst += states[i].worst;
	printf("# %zu writes and flushes, %zu states, %zu of them with all replicas torn\n", nr_ios,
	       nr_states, worst);
	choose_states();
	for (size_t i = 0; i < nr_states; i++) {
		const struct state *st = &states[i];

		for (; event < st->event; event++)
			if (events[event].kind == MARK)
				apply_mark(events[event].mark);
		if (env.list) {
			printf("%" PRIu64 " %d %s\n", st->event, st->policy,
			       st->worst ? "worst" : st->hot ? "hot" : "");
			tried++;
			continue;
		}
		if (env.save) {
			walk(st, true);
			if (!st->hot || st->policy != RANDOM || tried++ < env.at)
				continue;
			save();
			put_image();
			return 0;
		}
		walk(st, true);
		try_state(st, rnd() % 8 == 0 && ++lived);
		tried++;
		if (violations >= 20)
			break;
	}
	if (env.save)
		bad_record("no such state:", env.at);
	printf("# %" PRIu64 " power cuts, %" PRIu64 " of them lived on, seed %" PRIu64 "\n", tried,
	       lived, env.seed);
	if (violations)
		printf("# %u violations\n", violations);
	return violations ? 1 : 0;
}

int main(int argc, char **argv)
{
	dm_log_with_errno_init(quiet);
	dm_udev_set_sync_support(0);
	if (argc > 1 && !strcmp(argv[1], "work"))
		return run_work(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "cut"))
		return run_cut(argc - 1, argv + 1);
	fputs("usage: powercut work|cut ...\n", stderr);
	return 2;
}
