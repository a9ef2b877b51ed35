// SPDX-License-Identifier: GPL-2.0-only
/*
 * torture: random I/O on a remap device, by several threads, while its disks go bad under it, its
 * blocks move to and fro, and it is suspended, replaced and killed. Of each logical sector it is
 * known at any time what a read may return; anything else ends the run.
 *
 * THE ORACLE. Each sector (here: unit) of the first --size MiB has one owner among the threads,
 * the only one to write it. A write gives it the next version, and the unit says so: seed, unit,
 * version and a pattern that follows from them. The versions that a read may return, the legal
 * ones, are kept as a bit mask:
 *
 *   write acknowledged		that version alone
 *   write failed, in flight	that version, too
 *   discarded			zeroes, too
 *   read			what was read, and from then on nothing else
 *
 * Others than the owner cannot know that, but a unit that they read must be no older than the last
 * write that was acknowledged before, and no newer than the last one begun.
 *
 * AN ERROR IS LEGAL for a read of a unit only if something has happened to it: each fault that is
 * put in has a number, and each unit remembers the number that was current when the write that was
 * acknowledged last began. If its place on the data device became bad after that, it may be lost.
 * So it may if a place in some slot became bad which could be its own: same offset in the block,
 * and the block ever had a reason to be in a slot. A bad place that was bad before the write is no
 * excuse: the write was acknowledged, so it went elsewhere.
 * Writes have no excuse at all: whatever is put in leaves slots and a quorum of metadata.
 * In a "window", while the target is dead, everything may fail; after it everything must be back.
 *
 * THE FAULTS are those of a profile. Each thread, and the one that makes the faults, draws from a
 * random stream of its own, by the seed alone: a seed gives the same operations, though not the
 * same interleaving. What was done to the devices is in the log, with the operations done by then.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <liburing.h>
#include <libdevmapper.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SECTOR		512U
#define MAX_IO		(1U << 20)
#define MAX_THREADS	16
#define DEPTH		6		/* operations in flight for each thread */
#define MAX_IOV		4
#define MAX_BLOCK_UNITS	32
#define ZONES		5
#define HISTORY		8192
#define MAX_FAULTS	48		/* ranges bad at a time; null_blk has room for 512 */
#define STUCK		20		/* seconds without progress */
#define DIVERGED	(1ULL << 63)	/* in a mask: this version or any older one */

/* ---- what there is ---- */

struct unit {
	_Atomic uint32_t issued;	/* the latest version that was begun */
	_Atomic uint32_t low;		/* nobody may see an older one */
	_Atomic uint64_t since;		/* fault number when the acknowledged write began */
	_Atomic uint64_t hit;		/* the last fault at its place on the data device */
	_Atomic bool zeroed;		/* zeroes were written at some time */
	uint64_t legal;			/* bit k: version issued - k; the owner's */
	uint64_t zeroes;		/* bit k: that version is zeroes; the owner's */
};

static struct {
	const char *device, *name, *data, *spare, *data_dm, *spare_dm, *profile, *log, *save;
	const char *check;
	uint64_t seed, ops, zone[ZONES + 1];	/* sectors: starts of zones, and their size */
	unsigned int seconds, size, threads;
	bool zero, zeroes;
} env = {
	.device = "/dev/mapper/t", .name = "t", .data = "data", .spare = "spare",
	.data_dm = "under", .spare_dm = "sunder", .profile = "all", .seed = 1, .size = 8,
	.threads = 4, .zero = true,
};

static struct unit *unit;
static uint64_t units;			/* in the region */
static uint64_t fine;			/* of them in each interleaved area: owner_of() */
static uint32_t unit_size = SECTOR;	/* bytes */
static uint32_t block_units = 8;
static atomic_bool *touched;		/* by block: it may be in a slot */
static _Atomic uint64_t slot_hit[MAX_BLOCK_UNITS];	/* by offset in the block */
static _Atomic uint64_t fault_number = 1;
static atomic_uint window;		/* odd: the target is dead, or about to be */
static _Atomic uint64_t ops_done;
static atomic_uint running;		/* threads that are not done */
static int fd, cached_fd;
static FILE *logfile;
static struct timespec began;

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* 0 to n - 1 */
static uint64_t below(uint64_t *state, uint64_t n)
{
	return splitmix(state) % n;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)(t.tv_sec - began.tv_sec) + (double)(t.tv_nsec - began.tv_nsec) / 1e9;
}

static void nap(uint64_t us)
{
	struct timespec t = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	nanosleep(&t, NULL);
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "torture: %s: %s\n", what, strerror(errno));
	_exit(2);
}

/* ---- history and violations ---- */

enum kind { WRITE, READ, READ_ANY, SYNC, DISCARD, ZEROOUT, AHEAD, KINDS };

static const char * const kind_name[KINDS] = {
	"write", "read", "read-any", "sync", "discard", "zeroout", "readahead"
};

struct past {
	double time;
	uint64_t number, first;
	uint32_t count, version;
	enum kind kind;
	bool end;
	int flags, result;
};

struct op {
	enum kind kind;
	uint64_t first, number;
	uint32_t count;
	int flags;
	bool busy;
	uint64_t fault;			/* fault_number when it began */
	unsigned int window;
	uint8_t *buf;
	struct iovec iov[MAX_IOV];
	unsigned int iovs;
	uint32_t *low;			/* of the units, when it began */
	uint64_t *since;
};

struct thread {
	pthread_t id;
	unsigned int index;
	uint64_t random;
	uint64_t number;
	struct io_uring ring;
	struct op op[DEPTH + 1];	/* the last one is for what is done at once */
	unsigned int in_flight;
	uint8_t *scratch;		/* a unit */
	uint8_t *probe;			/* likewise */
	struct past past[HISTORY];
	uint64_t pasts;
};

static struct thread *thread;

static void remember(struct thread *t, const struct op *op, bool end, int result)
{
	t->past[t->pasts++ % HISTORY] = (struct past){
		.time = now(), .number = op->number, .first = op->first, .count = op->count,
		.version = op->count ? atomic_load(&unit[op->first].issued) : 0,
		.kind = op->kind, .end = end, .flags = op->flags, .result = result,
	};
}

static void print_history(uint64_t u)
{
	for (unsigned int i = 0; thread && i < env.threads; i++) {
		struct thread *t = &thread[i];
		uint64_t first = t->pasts > HISTORY ? t->pasts - HISTORY : 0;

		for (uint64_t n = first; n < t->pasts; n++) {
			struct past *p = &t->past[n % HISTORY];

			if (u < p->first || u >= p->first + p->count)
				continue;
			fprintf(stderr, "  %9.4f thread %u op %" PRIu64 " %s %s %" PRIu64 " + %u",
				p->time, i, p->number, p->end ? "end  " : "begin",
				kind_name[p->kind], p->first, p->count);
			if (p->end)
				fprintf(stderr, " = %d", p->result);
			else
				fprintf(stderr, " flags %#x, first has version %u",
					(unsigned int)p->flags, p->version);
			fputc('\n', stderr);
		}
	}
}

/* Says what is wrong, and what was done to the unit. The end. */
static _Noreturn void violation(uint64_t u, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static _Noreturn void violation(uint64_t u, const char *format, ...)
{
	static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
	va_list args;

	pthread_mutex_lock(&once);
	fprintf(stderr, "VIOLATION: seed %" PRIu64 ", profile %s, at %.4f s, %" PRIu64
		" operations done", env.seed, env.profile, now(), atomic_load(&ops_done));
	if (u < units)
		fprintf(stderr, ", sector %" PRIu64, u * (unit_size / SECTOR));
	fputs(": ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	if (u < units) {
		struct unit *p = &unit[u];

		fprintf(stderr, "  unit %" PRIu64 ": issued %u, low %u, legal %#" PRIx64
			" zeroes %#" PRIx64 ", written since fault %" PRIu64
			", hit by fault %" PRIu64 ", its slot by %" PRIu64 ", touched %d\n", u,
			p->issued, p->low, p->legal, p->zeroes, p->since, p->hit,
			slot_hit[u % block_units], touched[u / block_units]);
		print_history(u);
	}
	if (logfile)
		fflush(logfile);
	_exit(1);
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	va_list args;

	if (!logfile)
		return;
	fprintf(logfile, "%9.4f op %" PRIu64 ": ", now(), atomic_load(&ops_done));
	va_start(args, format);
	vfprintf(logfile, format, args);
	va_end(args);
	fputc('\n', logfile);
	fflush(logfile);
}

/* ---- what a unit says ---- */

struct stamp {
	uint64_t seed, unit, version, sum;
};

static void fill(uint8_t *buf, uint64_t u, uint32_t version)
{
	uint64_t state = env.seed ^ u << 32 ^ version;
	struct stamp s = { env.seed, u, version, splitmix(&state) };
	uint64_t *word = (uint64_t *)(void *)buf;

	memcpy(buf, &s, sizeof(s));
	for (size_t i = sizeof(s) / 8; i < unit_size / 8; i++)
		word[i] = state = state * 6364136223846793005ULL + 1442695040888963407ULL;
}

enum content { ZEROES, STAMP, OTHER_UNIT, GARBAGE };

static enum content classify(const uint8_t *buf, uint64_t u, uint8_t *scratch, struct stamp *s)
{
	memcpy(s, buf, sizeof(*s));
	if (!s->seed && !s->sum) {
		memset(scratch, 0, unit_size);
		return memcmp(buf, scratch, unit_size) ? GARBAGE : ZEROES;
	}
	fill(scratch, s->unit, (uint32_t)s->version);
	if (memcmp(buf, scratch, unit_size))
		return GARBAGE;
	return s->unit == u ? STAMP : OTHER_UNIT;
}

static uint64_t bit_of(uint32_t age)
{
	return age >= 63 ? DIVERGED : 1ULL << age;
}

static uint64_t shifted(uint64_t mask)
{
	return mask << 1 | (mask & DIVERGED);
}

static unsigned int owner_of(uint64_t u)
{
	if (u < fine)
		return (unsigned int)(u % env.threads);
	if (u < 2 * fine)
		return (unsigned int)(u / 3 % env.threads);
	u = (u - 2 * fine) / ((units - 2 * fine) / env.threads);
	return (unsigned int)(u < env.threads ? u : env.threads - 1);
}

static bool may_fail(uint64_t u, uint64_t since)
{
	return atomic_load(&unit[u].hit) >= since ||
	       (touched[u / block_units] && atomic_load(&slot_hit[u % block_units]) >= since);
}

/* What was read of a unit, by its owner while it writes nothing there. */
static void check_own(uint64_t u, const uint8_t *buf, uint8_t *scratch, bool narrow)
{
	struct unit *p = &unit[u];
	struct stamp s;
	uint64_t ok;
	uint32_t issued = atomic_load(&p->issued);

	switch (classify(buf, u, scratch, &s)) {
	case ZEROES:
		ok = p->legal & p->zeroes;
		if (!ok)
			violation(u, "zeroes, expected version %u", issued - (uint32_t)
				  __builtin_ctzll(p->legal));
		break;
	case STAMP:
		/* that one of the oldest was zeroes does not mean that all were */
		ok = s.version > issued || s.version < atomic_load(&p->low) ? 0 :
		     p->legal & (~p->zeroes | DIVERGED) & bit_of(issued - (uint32_t)s.version);
		if (!ok)
			violation(u, "version %" PRIu64 ", expected %u", s.version,
				  issued - (uint32_t)__builtin_ctzll(p->legal));
		break;
	case OTHER_UNIT:
		violation(u, "content of sector %" PRIu64 " version %" PRIu64,
			  s.unit * (unit_size / SECTOR), s.version);
	case GARBAGE:
	default:
		violation(u, "garbage (begins %016" PRIx64 " %016" PRIx64 " %016" PRIx64 ")",
			  s.seed, s.unit, s.version);
	}
	if (narrow) {
		p->legal = ok;
		if (!(ok & DIVERGED))
			atomic_store(&p->low, issued - (uint32_t)(63 - __builtin_clzll(ok)));
	}
}

/* What was read of a unit by another one. @low: its value when the read began */
static void check_other(uint64_t u, const uint8_t *buf, uint8_t *scratch, uint32_t low)
{
	struct unit *p = &unit[u];
	struct stamp s;

	switch (classify(buf, u, scratch, &s)) {
	case ZEROES:
		if (low && !atomic_load(&p->zeroed))
			violation(u, "zeroes, expected version %u or later", low);
		return;
	case STAMP:
		if (s.version < low || s.version > atomic_load(&p->issued))
			violation(u, "version %" PRIu64 ", expected %u to %u", s.version, low,
				  atomic_load(&p->issued));
		return;
	case OTHER_UNIT:
		violation(u, "content of sector %" PRIu64 " version %" PRIu64,
			  s.unit * (unit_size / SECTOR), s.version);
	case GARBAGE:
	default:
		violation(u, "garbage (begins %016" PRIx64 " %016" PRIx64 " %016" PRIx64 ")",
			  s.seed, s.unit, s.version);
	}
}

/* ---- operations: their end ---- */

static uint8_t *unit_in(const struct op *op, uint32_t i)
{
	size_t at = (size_t)i * unit_size;
	const struct iovec *v = op->iov;

	while (at >= v->iov_len)
		at -= v++->iov_len;
	return (uint8_t *)v->iov_base + at;
}

static bool is_media_error(int error)
{
	return error == EIO || error == ENODATA || error == EREMOTEIO || error == EILSEQ;
}

static bool would_wait(const struct op *op, int result)
{
	return op->flags & RWF_NOWAIT &&
	       (result > 0 || result == -EAGAIN || result == -EOPNOTSUPP);
}

static bool in_window(const struct op *op)
{
	return op->window & 1 || atomic_load(&window) != op->window;
}

/* A read failed, and may have: then those of its sectors that have no excuse can be read alone. */
static void read_alone(struct thread *t, const struct op *op)
{
	for (uint32_t i = 0; i < op->count; i++) {
		uint64_t u = op->first + i, block = u / block_units * block_units;
		bool near = false;
		uint32_t low;
		uint64_t since;
		ssize_t r;

		/* in blocks where nothing has happened there is nothing to be found */
		for (uint64_t k = block; k < block + block_units && k < units; k++)
			near |= may_fail(k, atomic_load(&unit[k].since));
		if (!near)
			continue;
		low = atomic_load(&unit[u].low);
		since = atomic_load(&unit[u].since);
		r = pread(fd, t->probe, unit_size, (off_t)(u * unit_size));
		if (r < 0) {
			if (!is_media_error(errno))
				violation(u, "read alone: %s", strerror(errno));
			if (!may_fail(u, since) && !in_window(op))
				violation(u, "cannot be read, without a reason");
		} else if (owner_of(u) == t->index) {
			check_own(u, t->probe, t->scratch, !in_window(op));
		} else {
			check_other(u, t->probe, t->scratch, low);
		}
	}
}

static void read_ended(struct thread *t, struct op *op, int result)
{
	uint32_t got = result > 0 ? (uint32_t)result / unit_size : 0;

	for (uint32_t i = 0; i < got; i++) {
		uint64_t u = op->first + i;

		if (owner_of(u) == t->index)
			check_own(u, unit_in(op, i), t->scratch, !in_window(op));
		else
			check_other(u, unit_in(op, i), t->scratch, op->low[i]);
	}
	if (got == op->count || in_window(op) || would_wait(op, result))
		return;
	if (result < 0 && !is_media_error(-result))
		violation(op->first, "read of %u units: %s", op->count, strerror(-result));
	for (uint32_t i = 0; i < op->count; i++) {
		if (may_fail(op->first + i, op->since[i])) {
			read_alone(t, op);
			return;
		}
	}
	violation(op->first, "read of %u units failed without a reason: %d", op->count, result);
}

/* Units are written: nothing else is legal any more. */
static void acknowledged(const struct op *op, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct unit *p = &unit[op->first + i];

		p->legal = 1;
		atomic_store(&p->since, op->fault);
		atomic_store(&p->low, atomic_load(&p->issued));
	}
}

static void write_ended(struct op *op, int result)
{
	uint32_t done = op->kind == ZEROOUT ? (result ? 0 : op->count) :
			result > 0 ? (uint32_t)result / unit_size : 0;

	acknowledged(op, done);
	if (done == op->count || in_window(op) || would_wait(op, result))
		return;
	violation(op->first, "%s of %u units failed: %s", kind_name[op->kind], op->count,
		  result < 0 ? strerror(-result) : "short");
}

static void ended(struct thread *t, struct op *op, int result)
{
	remember(t, op, true, result);
	switch (op->kind) {
	case READ:
	case READ_ANY:
		read_ended(t, op, result);
		break;
	case WRITE:
	case ZEROOUT:
		write_ended(op, result);
		break;
	case SYNC:
		if (result && !in_window(op))
			violation(units, "fdatasync: %s", strerror(-result));
		break;
	default:
		break;			/* whatever a discard may have done is legal already */
	}
	op->busy = false;
	atomic_fetch_add(&ops_done, 1);
}

/* ---- operations: their beginning ---- */

static bool is_write(enum kind kind)
{
	return kind == WRITE || kind == DISCARD || kind == ZEROOUT;
}

static void reap(struct thread *t)
{
	struct io_uring_cqe *cqe;
	struct op *op;
	int r;

	io_uring_submit(&t->ring);
	do {
		r = io_uring_wait_cqe(&t->ring, &cqe);
	} while (r == -EINTR);
	if (r) {
		errno = -r;
		die("io_uring_wait_cqe");
	}
	op = io_uring_cqe_get_data(cqe);
	r = cqe->res;
	io_uring_cqe_seen(&t->ring, cqe);
	t->in_flight--;
	ended(t, op, r);
}

/* The owner keeps what it writes apart from all else that it does. */
static bool conflicts(const struct thread *t, const struct op *op)
{
	for (unsigned int i = 0; i < DEPTH; i++) {
		const struct op *o = &t->op[i];

		if (o->busy && (is_write(o->kind) || is_write(op->kind)) &&
		    o->first < op->first + op->count && op->first < o->first + o->count)
			return true;
	}
	return false;
}

/* A slot of the ring, or the one for what is done at once. */
static struct op *free_op(struct thread *t, bool async)
{
	if (!async)
		return &t->op[DEPTH];
	while (t->in_flight == DEPTH)
		reap(t);
	for (unsigned int i = 0;; i++)
		if (!t->op[i].busy)
			return &t->op[i];
}

/* Cut the buffer in a few pieces, at any unit, with a gap between them. */
static void cut(struct thread *t, struct op *op)
{
	uint8_t *at = op->buf + below(&t->random, 8) * SECTOR;
	uint32_t left = op->count;

	op->iovs = 0;
	while (left) {
		uint32_t n = left;

		if (op->iovs < MAX_IOV - 1 && left > 1 && !below(&t->random, 3))
			n = 1 + (uint32_t)below(&t->random, left);
		op->iov[op->iovs++] = (struct iovec){ at, (size_t)n * unit_size };
		at += (size_t)n * unit_size + SECTOR;
		left -= n;
	}
}

static void new_versions(struct op *op)
{
	for (uint32_t i = 0; i < op->count; i++) {
		struct unit *p = &unit[op->first + i];

		/* legal so far, and this one; bit 0 is its own */
		p->legal = shifted(p->legal) | 1;
		p->zeroes = shifted(p->zeroes) | (op->kind != WRITE);
		if (op->kind != WRITE) {
			atomic_store(&p->zeroed, true);
			/* a discard may leave what was there; others cannot tell by the number */
		}
		atomic_store(&p->issued, atomic_load(&p->issued) + 1);
		if (op->kind == WRITE)
			fill(unit_in(op, i), op->first + i, atomic_load(&p->issued));
	}
}

static int do_now(struct op *op)
{
	uint64_t range[2] = { op->first * unit_size, (uint64_t)op->count * unit_size };
	off_t at = (off_t)range[0];
	ssize_t r = 0;

	switch (op->kind) {
	case WRITE:
		r = pwritev2(fd, op->iov, (int)op->iovs, at, op->flags);
		break;
	case READ:
	case READ_ANY:
		r = preadv2(fd, op->iov, (int)op->iovs, at, op->flags);
		break;
	case SYNC:
		r = fdatasync(fd);
		break;
	case DISCARD:
		r = ioctl(fd, BLKDISCARD, range);
		break;
	case ZEROOUT:
		r = ioctl(fd, BLKZEROOUT, range);
		break;
	default:
		/* what is read ahead is not looked at, and not kept */
		posix_fadvise(cached_fd, at, (off_t)range[1], POSIX_FADV_WILLNEED);
		posix_fadvise(cached_fd, at, (off_t)range[1], POSIX_FADV_DONTNEED);
		break;
	}
	return r < 0 ? -errno : (int)r;
}

static void do_later(struct thread *t, struct op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&t->ring);
	uint64_t at = op->first * unit_size;

	if (op->kind == WRITE)
		io_uring_prep_writev2(sqe, fd, op->iov, op->iovs, at, op->flags);
	else if (op->kind == SYNC)
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	else
		io_uring_prep_readv2(sqe, fd, op->iov, op->iovs, at, op->flags);
	io_uring_sqe_set_data(sqe, op);
	/*
	 * Else io_uring tries everything without waiting first. If then a part of what was split
	 * would have to wait (for a tag of null_blk, say) while others are on their way, 6.12's
	 * io_uring may lose the request.
	 */
	if (!(op->flags & RWF_NOWAIT))
		io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
	t->in_flight++;
}

static void begin(struct thread *t, struct op *op, bool async)
{
	while (conflicts(t, op))
		reap(t);
	op->busy = true;
	op->window = atomic_load(&window);
	op->fault = atomic_load(&fault_number);
	if (is_write(op->kind))
		new_versions(op);
	for (uint32_t i = 0; op->kind <= READ_ANY && i < op->count; i++) {
		op->low[i] = atomic_load(&unit[op->first + i].low);
		op->since[i] = atomic_load(&unit[op->first + i].since);
	}
	remember(t, op, false, 0);
	if (async)
		do_later(t, op);
	else
		ended(t, op, do_now(op));
}

/* ---- operations: which ---- */

/* Small ones as often as large ones: 1 to @max */
static uint32_t length(uint64_t *random, uint64_t max)
{
	uint32_t top = MAX_IO / unit_size, n;

	n = 1 + (uint32_t)below(random, 1ULL << below(random, 12)) % top;
	return n < max ? n : (uint32_t)max;
}

/* Most of what happens, happens in few places. */
static uint64_t place(uint64_t *random, uint64_t n)
{
	return below(random, below(random, 4) && n > 256 ? 256 : n);
}

/* A run of units that the thread owns. */
static void own_run(struct thread *t, struct op *op)
{
	uint64_t each = (units - 2 * fine) / env.threads, what = below(&t->random, 20), at;

	if (what < 7) {
		op->first = place(&t->random, fine / env.threads) * env.threads + t->index;
		op->count = 1;
	} else if (what < 12) {
		at = place(&t->random, fine / 3 / env.threads) * env.threads + t->index;
		op->first = fine + at * 3 + below(&t->random, 3);
		op->count = 1 + (uint32_t)below(&t->random, 3 - op->first % 3);
	} else {
		at = place(&t->random, each);
		op->first = 2 * fine + t->index * each + at;
		op->count = length(&t->random, each - at);
	}
}

static void any_run(struct thread *t, struct op *op)
{
	uint64_t what = below(&t->random, 3);

	op->first = what < 2 ? what * fine + place(&t->random, fine) :
		    2 * fine + below(&t->random, units - 2 * fine);
	op->count = length(&t->random, units - op->first);
}

static void one(struct thread *t)
{
	uint64_t what = below(&t->random, 100), how = below(&t->random, 100);
	bool async = below(&t->random, 3);
	enum kind kind = what < 42 ? WRITE : what < 70 ? READ : what < 90 ? READ_ANY :
			 what < 93 ? SYNC : what < 95 ? DISCARD : what < 98 ? ZEROOUT : AHEAD;
	struct op *op;

	if (env.zeroes && kind == WRITE && how >= 50)
		kind = ZEROOUT;
	if (!env.zero && (kind == DISCARD || kind == ZEROOUT))
		kind = READ;
	if (kind == DISCARD || kind == ZEROOUT || kind == AHEAD)
		async = false;
	op = free_op(t, async);
	op->kind = kind;
	op->number = t->number++;
	op->flags = 0;
	op->first = op->count = 0;
	if (kind == READ_ANY || kind == AHEAD)
		any_run(t, op);
	else if (kind != SYNC)
		own_run(t, op);
	cut(t, op);
	if (kind == WRITE && how < 15)
		op->flags |= RWF_DSYNC;
	if (kind <= READ_ANY && how >= 90)
		op->flags |= RWF_NOWAIT;
	begin(t, op, async);
	/* a few at a time */
	if (t->in_flight && !below(&t->random, 3))
		io_uring_submit(&t->ring);
}

static void *work(void *arg)
{
	struct thread *t = arg;
	uint64_t n = env.ops / env.threads;

	for (uint64_t i = 0; env.seconds ? now() < env.seconds : i < n; i++) {
		one(t);
		if (t->in_flight == DEPTH)
			io_uring_submit(&t->ring);
	}
	io_uring_submit(&t->ring);
	while (t->in_flight)
		reap(t);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void *buffer(size_t size)
{
	void *p;

	if (posix_memalign(&p, 4096, size))
		die("memory");
	memset(p, 0, size);
	return p;
}

static void thread_init(struct thread *t, unsigned int index)
{
	int r;

	t->index = index;
	t->random = env.seed * 1000 + index + 1;
	t->scratch = buffer(unit_size);
	t->probe = buffer(unit_size);
	for (unsigned int i = 0; i <= DEPTH; i++) {
		t->op[i].buf = buffer(MAX_IO + (8 + MAX_IOV) * SECTOR);
		t->op[i].low = buffer(MAX_IO / unit_size * sizeof(uint32_t));
		t->op[i].since = buffer(MAX_IO / unit_size * sizeof(uint64_t));
	}
	r = io_uring_queue_init(2 * DEPTH, &t->ring, 0);
	if (r) {
		errno = -r;
		die("io_uring_queue_init");
	}
}

/* ---- device-mapper ---- */

struct segment {
	uint64_t start, length;
	const char *type;
	char params[256];
};

static void quiet(int level, const char *file, int line, int error, const char *format, ...)
{
	(void)level, (void)file, (void)line, (void)error, (void)format;
}

static bool dm_simple(int type, const char *name, bool noflush)
{
	struct dm_task *task = dm_task_create(type);
	uint32_t cookie = 0;
	bool ok = task && dm_task_set_name(task, name) && (!noflush || dm_task_no_flush(task));

	/* udev has better things to do than look at the disks again each time */
	if (ok && type == DM_DEVICE_RESUME)
		ok = dm_task_set_cookie(task, &cookie, DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
					DM_UDEV_DISABLE_DISK_RULES_FLAG |
					DM_UDEV_DISABLE_OTHER_RULES_FLAG);
	ok = ok && dm_task_run(task);

	if (task)
		dm_task_destroy(task);
	return ok;
}

static bool dm_load(const char *name, const struct segment *s, unsigned int n)
{
	struct dm_task *task = dm_task_create(DM_DEVICE_RELOAD);
	bool ok = task && dm_task_set_name(task, name);

	for (unsigned int i = 0; ok && i < n; i++)
		ok = dm_task_add_target(task, s[i].start, s[i].length, s[i].type, s[i].params);
	ok = ok && dm_task_run(task);
	if (task)
		dm_task_destroy(task);
	return ok;
}

static bool dm_swap(const char *name, const struct segment *s, unsigned int n)
{
	return dm_load(name, s, n) && dm_simple(DM_DEVICE_RESUME, name, false);
}

static bool dm_message(const char *name, const char *message)
{
	struct dm_task *task = dm_task_create(DM_DEVICE_TARGET_MSG);
	bool ok = task && dm_task_set_name(task, name) && dm_task_set_sector(task, 0) &&
		  dm_task_set_message(task, message) && dm_task_run(task);

	if (task)
		dm_task_destroy(task);
	return ok;
}

/* Table (DM_DEVICE_TABLE) or status of a device with one target. */
static bool dm_ask(int type, const char *name, char *params, size_t size, uint64_t *length_out)
{
	struct dm_task *task = dm_task_create(type);
	uint64_t start;
	char *target = NULL, *text = NULL;
	bool ok = task && dm_task_set_name(task, name) && dm_task_run(task);

	if (ok) {
		dm_get_next_target(task, NULL, &start, length_out, &target, &text);
		ok = text;
		if (ok)
			snprintf(params, size, "%s", text);
	}
	if (task)
		dm_task_destroy(task);
	return ok;
}

static uint64_t data_sectors, spare_sectors;

/* The data device, or the spare, in one of its moods, wholly or (flakey) but for its end. */
static bool set_mood(bool spare, const char *type, unsigned int ms)
{
	const char *disk = spare ? env.spare : env.data;
	uint64_t sectors = spare ? spare_sectors : data_sectors;
	uint64_t tail = !spare && strcmp(env.profile, "lifecycle") ? 8 : 0;
	struct segment s[2] = {
		{ 0, sectors - tail, type, "" },
		/* does nothing, but flakey does not know NOWAIT: the device shall not either */
		{ sectors - tail, tail, "flakey", "" },
	};

	if (!strcmp(type, "linear"))
		snprintf(s[0].params, sizeof(s[0].params), "/dev/%s 0", disk);
	else if (!strcmp(type, "flakey"))
		snprintf(s[0].params, sizeof(s[0].params), "/dev/%s 0 0 3600 1 error_writes", disk);
	else if (!strcmp(type, "delay"))	/* writes alone: reads overtake them */
		snprintf(s[0].params, sizeof(s[0].params), "/dev/%s 0 0 /dev/%s 0 %u", disk, disk,
			 ms);
	snprintf(s[1].params, sizeof(s[1].params), "/dev/%s %" PRIu64 " 3600 0", disk,
		 sectors - tail);
	return dm_swap(spare ? env.spare_dm : env.data_dm, s, tail ? 2 : 1);
}

static bool has_moods(void)
{
	return !strcmp(env.profile, "all") || !strcmp(env.profile, "transient") ||
	       !strcmp(env.profile, "lifecycle");
}

/* Is it over data_dm and spare_dm? Without moods it is the caller who has made them. */
static bool over_dm(void)
{
	return has_moods() || env.zeroes;
}

static bool load_target(bool verify)
{
	struct segment s = { 0, data_sectors, "remap", "" };
	const char *folder = over_dm() ? "mapper/" : "";

	snprintf(s.params, sizeof(s.params), "/dev/%s%s 0 /dev/%s%s 0 %d burst 0%s", folder,
		 over_dm() ? env.data_dm : env.data, folder, over_dm() ? env.spare_dm : env.spare,
		 verify ? 2 : 4, verify ? "" : " verify 0");
	return dm_swap(env.name, &s, 1);
}

struct status {
	char state[16];
	unsigned int block_size, total, used, bad, replicas;
};

static void get_status(struct status *s)
{
	char text[512];
	uint64_t n;
	unsigned long long lost;

	if (!dm_ask(DM_DEVICE_STATUS, env.name, text, sizeof(text), &n) ||
	    sscanf(text, "%15s %u %u %u %u %llu %u", s->state, &s->block_size, &s->total, &s->used,
		   &s->bad, &lost, &s->replicas) != 7)
		violation(units, "no status");
}

/* ---- faults ---- */

struct range {
	uint64_t first, last;		/* sectors */
};

struct faults {
	const char *disk;
	struct range range[MAX_FAULTS];
	unsigned int n;
};

static struct faults data_faults, spare_faults;
static uint64_t fault_random;
static bool spare_room;

static uint64_t draw(uint64_t n)
{
	return below(&fault_random, n);
}

static void set_bad(const char *disk, char sign, const struct range *r)
{
	char path[256], text[64];
	int f, n;

	snprintf(path, sizeof(path), "/sys/kernel/config/nullb/%s/badblocks", disk);
	n = snprintf(text, sizeof(text), "%c%" PRIu64 "-%" PRIu64, sign, r->first, r->last);
	note("%s %s", disk, text);
	f = open(path, O_WRONLY);
	if (f < 0 || write(f, text, (size_t)n) != n)
		die(path);
	close(f);
}

static bool is_free(const struct faults *f, const struct range *r)
{
	for (unsigned int i = 0; i < f->n; i++)
		if (r->first <= f->range[i].last + 1 && f->range[i].first <= r->last + 1)
			return false;
	return true;
}

static void heal(struct faults *f, unsigned int i)
{
	set_bad(f->disk, '-', &f->range[i]);
	f->range[i] = f->range[--f->n];
}

static void heal_one(struct faults *f)
{
	uint64_t r = draw(MAX_FAULTS);

	if (f->n)
		heal(f, (unsigned int)(r % f->n));
}

static void hurt(struct faults *f, const struct range *r)
{
	if (!is_free(f, r))
		return;
	if (f->n == MAX_FAULTS)
		heal(f, 0);
	set_bad(f->disk, '+', r);
	f->range[f->n++] = *r;
	/* what begins from now on has met it */
	atomic_fetch_add(&fault_number, 1);
}

static uint64_t some_unit(void)
{
	uint64_t each = (units - 2 * fine) / env.threads, what = draw(20), r;

	r = place(&fault_random, what < 6 ? fine : what < 12 ? fine : each);
	return what < 6 ? r : what < 12 ? fine + r : 2 * fine + draw(env.threads) * each + r;
}

static void hurt_data(void)
{
	uint32_t per = unit_size / SECTOR;
	uint64_t u = some_unit(), n = 1 + draw(1ULL << draw(5)), number;
	struct range r;

	if (u + n > units)
		n = units - u;
	r = (struct range){ u * per, (u + n) * per - 1 };
	if (!is_free(&data_faults, &r))
		return;
	number = atomic_fetch_add(&fault_number, 1) + 1;
	for (uint64_t i = u; i < u + n; i++) {
		atomic_store(&unit[i].hit, number);
		atomic_store(&touched[i / block_units], true);
	}
	hurt(&data_faults, &r);
}

/* Sector of the spare of a unit of a slot, as format.h has it. */
static uint64_t slot_sector(uint64_t slot)
{
	uint32_t block = block_units * (unit_size / SECTOR);

	for (unsigned int z = 0; z < ZONES - 1; z++) {
		uint64_t from = env.zone[z] + env.zone[ZONES];
		uint64_t n = (env.zone[z + 1] - from) / block;

		if (slot < n)
			return from + slot * block;
		slot -= n;
	}
	return 0;
}

/* Slots are taken from the front: one of those that are in use, or soon will be. */
static void hurt_slot(void)
{
	uint32_t per = unit_size / SECTOR;
	uint64_t r1 = draw(UINT32_MAX), within = draw(block_units), number;
	struct status s;
	struct range r;
	uint64_t base;

	get_status(&s);
	spare_room = s.total > s.used + s.bad + units / block_units + 256;
	if (!spare_room)
		return;
	base = slot_sector(r1 % (s.used + s.bad + 32));
	if (!base)
		return;
	r = (struct range){ base + within * per, base + (within + 1) * per - 1 };
	if (!is_free(&spare_faults, &r))
		return;
	number = atomic_fetch_add(&fault_number, 1) + 1;
	atomic_store(&slot_hit[within], number);
	hurt(&spare_faults, &r);
}

/* Two of the zones, by the seed, may be hit; three are always whole. */
static void hurt_zone(void)
{
	unsigned int z = (unsigned int)(env.seed + draw(2) * 2) % ZONES;
	uint64_t at = env.zone[z] + 8 * draw(8);
	struct range r = { at, at + 7 };

	hurt(&spare_faults, &r);
}

static void blip(struct faults *f, void (*make)(void))
{
	unsigned int before = f->n;

	make();
	nap(draw(3000));
	if (f->n > before)
		heal(f, f->n - 1);
}

static void touch(uint64_t first, uint64_t count)
{
	for (uint64_t i = first; i < first + count && i < units; i++)
		atomic_store(&touched[i / block_units], true);
}

static void move(bool unmap)
{
	uint64_t u = some_unit(), n = length(&fault_random, units - u);
	uint32_t per = unit_size / SECTOR;
	char text[64];
	bool ok;

	if (!unmap)
		touch(u, n);
	snprintf(text, sizeof(text), "%s %" PRIu64 " %" PRIu64, unmap ? "unmap" : "remap", u * per,
		 n * per);
	ok = dm_message(env.name, text);
	note("message %s: %s", text, ok ? "ok" : strerror(errno));
}

static void message(const char *text)
{
	bool ok = dm_message(env.name, text);

	note("message %s: %s", text, ok ? "ok" : strerror(errno));
}

static void suspend(void)
{
	bool noflush = draw(2);

	note("suspend%s", noflush ? ", noflush" : "");
	if (!dm_simple(DM_DEVICE_SUSPEND, env.name, noflush))
		violation(units, "cannot suspend");
	nap(draw(10000));
	if (!dm_simple(DM_DEVICE_RESUME, env.name, false))
		violation(units, "cannot resume");
	note("resumed");
}

static void reload(void)
{
	bool verify = draw(3);

	note("reload, verify %d", verify);
	if (!load_target(verify))
		violation(units, "cannot replace the table");
	note("reloaded");
}

/*
 * The spare dies, in the middle of whatever was being done there, and the disk perhaps, too. Then
 * the target goes; the disks come back, and a new one finds what the old one left.
 */
static void kill_target(void)
{
	struct segment error = { 0, data_sectors, "error", "" };
	bool both = draw(2);

	note("kill%s", both ? ", data device too" : "");
	atomic_fetch_add(&window, 1);
	if (!set_mood(true, "error", 0) || (both && !set_mood(false, "error", 0)))
		die("cannot replace the table of a disk");
	nap(draw(20000));
	if (!dm_swap(env.name, &error, 1))
		violation(units, "cannot take the target away");
	if (!set_mood(true, "linear", 0) || (both && !set_mood(false, "linear", 0)))
		die("cannot replace the table of a disk");
	if (!load_target(true))
		violation(units, "the target does not start again");
	atomic_fetch_add(&window, 1);
	note("started again");
}

static void flakey(void)
{
	touch(0, units);
	note("data device: refuses writes");
	if (!set_mood(false, "flakey", 0))
		die("cannot replace the table of the data device");
	nap(draw(20000));
	if (!set_mood(false, "linear", 0))
		die("cannot replace the table of the data device");
	note("data device: well again");
}

/* Writes are slow, and blocks move while writes to them are on their way. */
static void delay(void)
{
	char text[64];
	uint32_t per = unit_size / SECTOR;

	touch(0, 2 * fine);
	snprintf(text, sizeof(text), "unmap 0 %" PRIu64, 2 * fine * per);
	message(text);
	note("data device: delay");
	if (!set_mood(false, "delay", 10 + (unsigned int)draw(40)))
		die("cannot replace the table of the data device");
	nap(2000 + draw(20000));
	snprintf(text, sizeof(text), "remap 0 %" PRIu64, 2 * fine * per);
	message(text);
	if (!set_mood(false, "linear", 0))
		die("cannot replace the table of the data device");
	note("data device: well again");
}

static void is_active(void)
{
	struct status s;

	get_status(&s);
	note("%s, %u slots used, %u bad, %u replicas", s.state, s.used, s.bad, s.replicas);
	if (strcmp(s.state, "active"))
		violation(units, "state is %s", s.state);
}

enum fault {
	F_HURT_DATA, F_HEAL_DATA, F_BLIP_DATA, F_HURT_SLOT, F_HEAL_SPARE, F_BLIP_SLOT, F_ZONE,
	F_REMAP, F_UNMAP, F_VERIFY, F_REPAIR, F_SUSPEND, F_RELOAD, F_KILL, F_FLAKEY, F_DELAY,
	F_STATE, FAULTS
};

static const struct profile {
	const char *name;
	unsigned char weight[FAULTS];
} profiles[] = {
	{ "data-faults", {
		[F_HURT_DATA] = 30, [F_HEAL_DATA] = 15, [F_BLIP_DATA] = 10, [F_REMAP] = 8,
		[F_UNMAP] = 16, [F_VERIFY] = 1, [F_STATE] = 2 } },
	{ "spare-faults", {
		[F_HURT_DATA] = 16, [F_HEAL_DATA] = 8, [F_HURT_SLOT] = 20, [F_HEAL_SPARE] = 10,
		[F_BLIP_SLOT] = 6, [F_ZONE] = 4, [F_REMAP] = 10, [F_UNMAP] = 8, [F_REPAIR] = 2,
		[F_STATE] = 2 } },
	{ "transient", {
		[F_FLAKEY] = 12, [F_DELAY] = 12, [F_REMAP] = 2, [F_UNMAP] = 28, [F_STATE] = 2 } },
	{ "lifecycle", {
		[F_HURT_DATA] = 20, [F_HEAL_DATA] = 10, [F_REMAP] = 10, [F_UNMAP] = 14,
		[F_SUSPEND] = 6, [F_RELOAD] = 5, [F_KILL] = 6, [F_STATE] = 2 } },
	{ "all", {
		[F_HURT_DATA] = 30, [F_HEAL_DATA] = 18, [F_BLIP_DATA] = 8, [F_HURT_SLOT] = 8,
		[F_HEAL_SPARE] = 6, [F_BLIP_SLOT] = 3, [F_ZONE] = 2, [F_REMAP] = 12,
		[F_UNMAP] = 24, [F_VERIFY] = 1, [F_REPAIR] = 1, [F_SUSPEND] = 3, [F_RELOAD] = 3,
		[F_KILL] = 3, [F_FLAKEY] = 3, [F_DELAY] = 2, [F_STATE] = 2 } },
};

static const struct profile *profile;

static void fault(enum fault f)
{
	switch (f) {
	case F_HURT_DATA:	hurt_data(); break;
	case F_HEAL_DATA:	heal_one(&data_faults); break;
	case F_BLIP_DATA:	blip(&data_faults, hurt_data); break;
	case F_HURT_SLOT:	hurt_slot(); break;
	case F_HEAL_SPARE:	heal_one(&spare_faults); break;
	case F_BLIP_SLOT:	blip(&spare_faults, hurt_slot); break;
	case F_ZONE:		hurt_zone(); break;
	case F_REMAP:		move(false); break;
	case F_UNMAP:		move(true); break;
	case F_VERIFY:		message("verify"); break;
	case F_REPAIR:		message("repair"); break;
	case F_SUSPEND:		suspend(); break;
	case F_RELOAD:		reload(); break;
	case F_KILL:		kill_target(); break;
	case F_FLAKEY:		flakey(); break;
	case F_DELAY:		delay(); break;
	default:		is_active(); break;
	}
}

static enum fault pick(void)
{
	unsigned int i, sum = 0;
	uint64_t r;

	for (i = 0; i < FAULTS; i++)
		sum += profile->weight[i];
	r = draw(sum);
	for (i = 0; r >= profile->weight[i]; i++)
		r -= profile->weight[i];
	return i;
}

/* By the number of operations, not by the clock: a slow machine sees the same. */
static void *make_faults(void *arg)
{
	uint64_t next = 0;

	(void)arg;
	for (;;) {
		while (running && atomic_load(&ops_done) < next)
			nap(200);
		if (!running)
			break;
		next += 2 + draw(24);
		fault(pick());
	}
	while (data_faults.n)
		heal(&data_faults, 0);
	while (spare_faults.n)
		heal(&spare_faults, 0);
	is_active();
	note("end");
	return NULL;
}

/* ---- begin and end ---- */

static uint64_t size_of(const char *disk)
{
	char path[128];
	uint64_t bytes;
	int f;

	snprintf(path, sizeof(path), "/dev/%s", disk);
	f = open(path, O_RDONLY);
	if (f < 0 || ioctl(f, BLKGETSIZE64, &bytes))
		die(path);
	close(f);
	return bytes / SECTOR;
}

static void open_device(void)
{
	int step;

	fd = open(env.device, O_RDWR | O_DIRECT);
	cached_fd = open(env.device, O_RDONLY);
	if (fd < 0 || cached_fd < 0 || ioctl(fd, BLKSSZGET, &step))
		die(env.device);
	posix_fadvise(cached_fd, 0, 0, POSIX_FADV_RANDOM);
	unit_size = (uint32_t)step;
}

static void prepare(void)
{
	struct status s;

	units = (uint64_t)env.size << 20;
	units /= unit_size;
	fine = units / 32 / 3 / env.threads * 3 * env.threads;
	get_status(&s);
	block_units = s.block_size / unit_size;
	unit = calloc(units, sizeof(*unit));
	touched = calloc(units / block_units + 1, sizeof(*touched));
	if (!unit || !touched || !block_units || block_units > MAX_BLOCK_UNITS)
		die("memory");
	for (uint64_t u = 0; u < units; u++)
		unit[u].legal = unit[u].zeroes = 1;	/* version 0 is zeroes */
}

/* Read every unit, alone only where it must be; from then on it is known what is there. */
static void check_all(void)
{
	uint32_t n = MAX_IO / unit_size / 4;
	uint8_t *buf = buffer((size_t)n * unit_size), *scratch = buffer(unit_size);
	uint64_t lost = 0;

	for (uint64_t u = 0; u < units; u += n) {
		bool whole = pread(fd, buf, (size_t)n * unit_size, (off_t)(u * unit_size)) ==
			     (ssize_t)n * unit_size;

		for (uint64_t k = u; k < u + n; k++) {
			uint8_t *at = buf + (k - u) * unit_size;

			if (whole || pread(fd, at, unit_size, (off_t)(k * unit_size)) ==
			    (ssize_t)unit_size) {
				check_own(k, at, scratch, true);
				atomic_store(&unit[k].since, UINT64_MAX);
			} else if (may_fail(k, atomic_load(&unit[k].since))) {
				lost++;
			} else {
				violation(k, "lost, without a reason: %s", strerror(errno));
			}
		}
	}
	printf("%" PRIu64 " sectors hold what they should, %" PRIu64 " are lost\n", units - lost,
	       lost);
	free(buf);
	free(scratch);
}

/* All that check_all() needs to know; the same program reads it again. */
static void state_io(const char *path, bool save)
{
	FILE *f = fopen(path, save ? "w" : "r");
	uint64_t head[] = { env.seed, units, unit_size, block_units };
	size_t blocks, ok = 0;

	if (!f)
		die(path);
	if (save)
		ok = fwrite(head, sizeof(head), 1, f);
	else
		ok = fread(head, sizeof(head), 1, f);
	env.seed = head[0];
	units = head[1];
	if (!save && (head[2] != unit_size || head[3] > MAX_BLOCK_UNITS || !head[3]))
		ok = 0;
	block_units = (uint32_t)head[3];
	blocks = ok ? units / block_units + 1 : 0;
	if (!save) {
		unit = calloc(units, sizeof(*unit));
		touched = calloc(blocks, sizeof(*touched));
	}
	if (!ok || !unit || !touched)
		die(path);
	if (save)
		ok = fwrite(unit, sizeof(*unit), units, f) == units &&
		     fwrite(touched, sizeof(*touched), blocks, f) == blocks &&
		     fwrite(slot_hit, sizeof(slot_hit), 1, f) == 1;
	else
		ok = fread(unit, sizeof(*unit), units, f) == units &&
		     fread(touched, sizeof(*touched), blocks, f) == blocks &&
		     fread(slot_hit, sizeof(slot_hit), 1, f) == 1;
	if (!ok || fclose(f))
		die(path);
}

/* What everybody waits for. */
static void print_waiting(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *d;
	char line[256], path[300];

	for (unsigned int i = 0; i < env.threads; i++) {
		for (unsigned int k = 0; k <= DEPTH; k++) {
			const struct op *op = &thread[i].op[k];

			if (op->busy)
				fprintf(stderr, "  thread %u op %" PRIu64 "%s: %s %" PRIu64
					" + %u, flags %#x\n", i, op->number,
					k < DEPTH ? ", async" : "", kind_name[op->kind], op->first,
					op->count, (unsigned int)op->flags);
		}
	}
	/* io_uring's own threads too */
	while (tasks && (d = readdir(tasks))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/stack", d->d_name);
		f = fopen(path, "r");
		fprintf(stderr, "  task %s:\n", d->d_name);
		while (f && fgets(line, sizeof(line), f))
			fprintf(stderr, "    %s", line);
		if (f)
			fclose(f);
	}
	if (tasks)
		closedir(tasks);
}

/* The threads are at work: see to it that they get on. */
static void watch(void)
{
	uint64_t seen = 0;
	double at = now();

	while (running) {
		nap(50000);
		if (atomic_load(&ops_done) != seen) {
			seen = atomic_load(&ops_done);
			at = now();
		} else if (now() - at > STUCK) {
			print_waiting();
			violation(units, "no operation has ended for %d s", STUCK);
		}
	}
}

static void run(void)
{
	pthread_t faults;

	for (unsigned int i = 0; i < env.threads; i++)
		thread_init(&thread[i], i);
	data_faults.disk = env.data;
	spare_faults.disk = env.spare;
	data_sectors = size_of(env.data);
	spare_sectors = size_of(env.spare);
	fault_random = env.seed * 1000;
	if (has_moods() && !set_mood(false, "linear", 0))
		die("cannot set up the data device");
	if (!load_target(true))
		die("cannot set up the target");
	atomic_store(&running, env.threads);
	for (unsigned int i = 0; i < env.threads; i++)
		if (pthread_create(&thread[i].id, NULL, work, &thread[i]))
			die("thread");
	if (pthread_create(&faults, NULL, make_faults, NULL))
		die("thread");
	watch();
	for (unsigned int i = 0; i < env.threads; i++)
		pthread_join(thread[i].id, NULL);
	pthread_join(faults, NULL);
	printf("seed %" PRIu64 ", profile %s: %" PRIu64 " operations in %.1f s\n", env.seed,
	       env.profile, atomic_load(&ops_done), now());
	check_all();
	if (env.save)
		state_io(env.save, true);
}

static _Noreturn void usage(void)
{
	fputs("usage: torture [--seed N] [--ops N | --seconds S] [--profile P] [--threads N]\n"
	      "               [--size MIB] [--no-zero | --zeroes] --zones START,...,LENGTH\n"
	      "               [--device PATH] [--name DM_NAME] [--data NULL_BLK]\n"
	      "               [--spare NULL_BLK] [--data-dm NAME] [--spare-dm NAME]\n"
	      "               [--log FILE] [--save FILE]\n"
	      "       torture --check FILE [--device PATH]\n"
	      "profiles: data-faults spare-faults transient lifecycle all\n", stderr);
	exit(2);
}

static bool parse_zones(const char *text)
{
	char *end;

	for (unsigned int i = 0; i <= ZONES; i++) {
		env.zone[i] = strtoull(text, &end, 10);
		if (end == text || (*end != ',' && *end))
			return false;
		text = *end ? end + 1 : end;
	}
	return !*text;
}

static void parse(int argc, char **argv)
{
	enum { SEED, OPS, SECS, PROFILE, THREADS, SIZE, NO_ZERO, MANY, ZONE_LIST, DEVICE, NAME,
	       DATA, SPARE, DATA_DM, SPARE_DM, LOG, SAVE, CHECK };
	static const struct option options[] = {
		{ "seed", 1, NULL, SEED }, { "ops", 1, NULL, OPS }, { "seconds", 1, NULL, SECS },
		{ "profile", 1, NULL, PROFILE }, { "threads", 1, NULL, THREADS },
		{ "size", 1, NULL, SIZE }, { "no-zero", 0, NULL, NO_ZERO },
		{ "zeroes", 0, NULL, MANY },
		{ "zones", 1, NULL, ZONE_LIST }, { "device", 1, NULL, DEVICE },
		{ "name", 1, NULL, NAME }, { "data", 1, NULL, DATA }, { "spare", 1, NULL, SPARE },
		{ "data-dm", 1, NULL, DATA_DM }, { "spare-dm", 1, NULL, SPARE_DM },
		{ "log", 1, NULL, LOG }, { "save", 1, NULL, SAVE }, { "check", 1, NULL, CHECK },
		{ NULL, 0, NULL, 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case SEED:	env.seed = strtoull(optarg, NULL, 10); break;
		case OPS:	env.ops = strtoull(optarg, NULL, 10); break;
		case SECS:	env.seconds = (unsigned int)strtoul(optarg, NULL, 10); break;
		case PROFILE:	env.profile = optarg; break;
		case THREADS:	env.threads = (unsigned int)strtoul(optarg, NULL, 10); break;
		case SIZE:	env.size = (unsigned int)strtoul(optarg, NULL, 10); break;
		case NO_ZERO:	env.zero = false; break;
		case MANY:	env.zeroes = true; break;
		case ZONE_LIST:
			if (!parse_zones(optarg))
				usage();
			break;
		case DEVICE:	env.device = optarg; break;
		case NAME:	env.name = optarg; break;
		case DATA:	env.data = optarg; break;
		case SPARE:	env.spare = optarg; break;
		case DATA_DM:	env.data_dm = optarg; break;
		case SPARE_DM:	env.spare_dm = optarg; break;
		case LOG:	env.log = optarg; break;
		case SAVE:	env.save = optarg; break;
		case CHECK:	env.check = optarg; break;
		default:	usage();
		}
	}
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
		if (!strcmp(profiles[i].name, env.profile))
			profile = &profiles[i];
	if (optind < argc || !profile || !env.threads || env.threads > MAX_THREADS || !env.seed ||
	    env.size < 2 * env.threads || (!env.check && !env.zone[ZONES]))
		usage();
	if (!env.ops)
		env.ops = 10000;
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	clock_gettime(CLOCK_MONOTONIC, &began);
	dm_log_with_errno_init(quiet);
	dm_udev_set_sync_support(0);
	open_device();
	if (env.check) {
		state_io(env.check, false);
		check_all();
		return 0;
	}
	logfile = env.log ? fopen(env.log, "w") : NULL;
	if (env.log && !logfile)
		die(env.log);
	thread = calloc(env.threads, sizeof(*thread));
	if (!thread)
		die("memory");
	prepare();
	run();
	return 0;
}
