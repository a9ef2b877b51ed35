// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bench, from inside: the one process of a guest whose clock counts its instructions.
 *
 * QEMU's -icount shift=0 advances the guest's clock by one nanosecond for each instruction, and
 * the time stamp counter with it (at 1 GHz). RDTSC is read around each I/O, rather than
 * clock_gettime(), which scales it to the frequency that the kernel thinks it has measured, and
 * rounds. That this is an instruction count is tried first, on instructions whose number is known.
 *
 * A remap target with a million remaps is not made by a million relocations: its spare is written
 * here, by the code that the tools and the kernel share (kernel/format.c), as if they had been.
 * The data device is a null_blk without memory, so it can have any size. The spare's has memory,
 * for its metadata; what an I/O costs there is known from a dm-linear over that spare.
 *
 * Results go to the console, a line each, for tools/bench:
 *	bench: DEVICE WHERE read|write BYTES MEDIAN MIN MAX
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>
#include "device.h"
#include "format.h"
#include "guest.h"
#include "telemetry.h"

#define WARM_UP		64
#define MAX_IOS		1000

#define KIB		1024ULL
#define MIB		(1024 * KIB)
#define GIB		(1024 * MIB)
#define BLOCK		4096U
#define LEAF		(256ULL * BLOCK)	/* of the map; see kernel/map.c */
#define ROOT		(512 * LEAF)		/* what one entry of its root stands for */
#define DATA_MIB	(4096 * 1024ULL)
#define LEAVES		(DATA_MIB * MIB / LEAF)
#define HUGE_PAGE	(2 * MIB)

static unsigned int ios = 400;
static uint64_t overhead;	/* of reading the clock */
static aio_context_t aio;
static char *buf;		/* HUGE_PAGE bytes, in one piece of memory */

static uint64_t now(void)
{
	uint64_t t;

	__asm__ volatile("" ::: "memory");
	t = __rdtsc();
	__asm__ volatile("" ::: "memory");
	return t;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The clock must count instructions: a thousand more of them take exactly that much longer. */
static void calibrate(void)
{
	uint64_t least = ~0ULL, more = ~0ULL, t;
	int i;

	for (i = 0; i < 100; i++) {
		t = now();
		t = now() - t;
		if (t < least)
			least = t;
		t = now();
		__asm__ volatile(".rept 1000; nop; .endr");
		t = now() - t;
		if (t < more)
			more = t;
	}
	if (more - least != 1000)
		die("the clock does not count instructions: 1000 of them are %llu",
		    (unsigned long long)(more - least));
	overhead = least;
}

/*
 * Writes go by io_submit() and io_getevents(): Linux 6.1 hands what pwrite() sends to a kernel
 * thread (it is plugged until the caller sleeps), and task switches are not the same each time.
 */
static ssize_t write_at(int fd, unsigned int bytes, uint64_t at)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PWRITE,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = (uintptr_t)buf,
		.aio_nbytes = bytes,
		.aio_offset = (int64_t)at,
	};
	struct iocb *list = &cb;
	struct io_event event;

	if (syscall(SYS_io_submit, aio, 1, &list) != 1 ||
	    syscall(SYS_io_getevents, aio, 1, 1, &event, NULL) != 1)
		return -1;
	return event.res;
}

static void measure(const struct disk *d, const char *where, bool write, unsigned int bytes,
		    uint64_t at)
{
	static uint64_t took[MAX_IOS];
	unsigned int i;

	for (i = 0; i < WARM_UP + ios; i++) {
		uint64_t t = now();
		ssize_t r = write ? write_at(d->fd, bytes, at)
				  : pread(d->fd, buf, bytes, (off_t)at);

		t = now() - t - overhead;
		if (r != (ssize_t)bytes)
			die("%s %s: I/O of %u bytes at %llu: %s", d->name, where, bytes,
			    (unsigned long long)at, r < 0 ? strerror(errno) : "short");
		if (i >= WARM_UP)
			took[i - WARM_UP] = t;
	}
	qsort(took, ios, sizeof(*took), by_value);
	say("bench: %s %s %s %u %llu %llu %llu", d->name, where, write ? "write" : "read", bytes,
	    (unsigned long long)took[ios / 2], (unsigned long long)took[0],
	    (unsigned long long)took[ios - 1]);
}

/* All sizes; larger ones begin where the I/O still contains @at. */
static void measure_all(const struct disk *d, const char *where, uint64_t at)
{
	static const unsigned int sizes[] = { BLOCK, 64 * KIB, MIB };
	unsigned int i;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		measure(d, where, false, sizes[i], at / sizes[i] * sizes[i]);
		measure(d, where, true, sizes[i], at / sizes[i] * sizes[i]);
	}
}

static void bench_linear(const struct disk *data)
{
	struct disk d;

	dm_linear(&d, "linear", data);
	measure_all(&d, "-", DATA_MIB * MIB / 2);
	dm_remove(&d);
}

/* A table of @n segments, none of which continues the one before it. */
static void bench_segments(const struct disk *data, unsigned int n)
{
	struct segment *s = calloc(n, sizeof(*s));
	unsigned int i;
	char name[32];
	struct disk d;

	if (!s)
		die("out of memory");
	for (i = 0; i < n; i++) {
		s[i].start = i * (16 * MIB >> 9);
		s[i].sectors = 16 * MIB >> 9;
		s[i].type = "linear";
		snprintf(s[i].params, sizeof(s[i].params), "%s %llu", data->dev,
			 (n - 1 - i) * (16 * MIB >> 9));
	}
	snprintf(name, sizeof(name), "linear-%u", n);
	dm_create(&d, name, s, n);
	measure_all(&d, "-", n / 2 * 16 * MIB);
	dm_remove(&d);
	free(s);
}

/* ---- remap ---- */

/* Scattered: each in a leaf of its own, none next to another. The last one has a known place. */
#define LAST_BIT	200U

static u64 leaf_of(unsigned int i, unsigned int n)
{
	return i * (LEAVES / n);
}

static u64 block_of(unsigned int i, unsigned int n)
{
	unsigned int bit = i == n - 1 ? LAST_BIT : i * 2654435761U >> 24;

	return leaf_of(i, n) * (LEAF / BLOCK) + bit;
}

static void put_block(const struct disk *d, const void *block, u64 sector)
{
	if (pwrite(d->fd, block, REMAP_MD_BLOCK, (off_t)(sector << 9)) != REMAP_MD_BLOCK)
		die("cannot write to the spare: %s", strerror(errno));
}

/*
 * A spare as it would be after @n relocations, in the order of their blocks. Return: the byte on
 * the spare at which the last one's slot begins
 */
static u64 write_spare(const struct disk *spare, unsigned int n)
{
	struct remap_super s = {
		.generation = 1,
		.uuid = "dm-remap's bench",
		.block_size = BLOCK,
		.sector_size = 512,
		.data_sectors = DATA_MIB * 2048,
		.spare_sectors = spare->sectors,
		.created = 1,
	};
	u32 index, i, slot = 0;
	struct remap_layout l;
	unsigned int z;

	s.tables_used = n ? (n - 1) / REMAP_ENTRIES + 1 : 1;
	if (remap_layout_of(&l, &s) || l.tables < s.tables_used)
		die("the spare is too small for %u slots", n);
	for (index = 0; index < s.tables_used; index++) {
		remap_table_init(buf, index);
		for (i = 0; i < REMAP_ENTRIES && slot < n; i++, slot++) {
			struct remap_entry e = {
				.block = block_of(slot, n),
				.seq = slot + 1,
				.state = REMAP_SLOT_MAPPED,
			};

			remap_entry_set(buf, i, &e);
		}
		remap_table_seal(buf, s.uuid, 1);
		for (z = 0; z < REMAP_ZONES; z++)
			put_block(spare, buf, remap_table_sector(&l, z, index, 1));
	}
	remap_super_encode(buf, &s, &l);
	for (z = 0; z < REMAP_ZONES; z++)
		put_block(spare, buf, remap_super_sector(&l, z, 1));
	return n ? remap_slot_sector(&l, n - 1) << 9 : 0;
}

static void get_block(const struct disk *d, u64 at)
{
	memset(buf, 0x55, BLOCK);
	if (pread(d->fd, buf, BLOCK, (off_t)at) != BLOCK)
		die("%s: cannot read at %llu: %s", d->name, (unsigned long long)at,
		    strerror(errno));
}

/*
 * Does what is measured do what its name says? What a null_blk without memory reads leaves the
 * buffer alone, or clears it.
 */
static void check_places(const struct disk *d, u64 hit, u64 near)
{
	static const char mark[16] = "in the last slot";

	get_block(d, hit);
	if (memcmp(buf, mark, sizeof(mark)))
		die("%s: what should be redirected is not", d->name);
	get_block(d, near);
	if (!memcmp(buf, mark, sizeof(mark)))
		die("%s: what should not be redirected is", d->name);
}

static void bench_remap(const struct disk *data, unsigned int n)
{
	u64 mib = (remap_layout_min_sectors(BLOCK, n + 2000) + 2047) / 2048;
	struct segment s = { .sectors = data->sectors, .type = "remap" };
	u64 slot, leaf = DATA_MIB * MIB / 2, hit;
	struct disk spare, base, d;
	char name[32];

	null_blk_create(&spare, "spare", mib, 1);
	slot = write_spare(&spare, n);
	snprintf(s.params, sizeof(s.params), "%s 0 %s 0", data->dev, spare.dev);
	if (n) {
		leaf = leaf_of(n - 1, n) * LEAF;
		if (leaf / ROOT != (leaf + 2 * LEAF) / ROOT || leaf + 2 * ROOT > DATA_MIB * MIB)
			die("%u remaps leave no room", n);
		snprintf(name, sizeof(name), "spare-%u", n);
		dm_linear(&base, name, &spare);
		memcpy(buf, "in the last slot", 16);
		put_block(&base, buf, slot >> 9);
		measure(&base, "-", false, BLOCK, slot);
		measure(&base, "-", true, BLOCK, slot);
		memcpy(buf, "in the last slot", 16);
		put_block(&base, buf, slot >> 9);
		dm_remove(&base);
	}

	snprintf(name, sizeof(name), "remap-%u", n);
	dm_create(&d, name, &s, 1);
	hit = leaf + LAST_BIT * BLOCK;
	if (!n) {
		measure_all(&d, "none", leaf);
		measure(&d, "none-across", false, MIB, leaf + LEAF / 2);
		measure(&d, "none-across", true, MIB, leaf + LEAF / 2);
	} else {
		check_places(&d, hit, hit - BLOCK);
		measure_all(&d, "far", leaf + ROOT);
		measure_all(&d, "elsewhere", leaf + LEAF);
		measure(&d, "elsewhere-across", false, MIB, leaf + LEAF + LEAF / 2);
		measure(&d, "elsewhere-across", true, MIB, leaf + LEAF + LEAF / 2);
		measure(&d, "near", false, BLOCK, leaf + 100 * BLOCK);
		measure(&d, "near", true, BLOCK, leaf + 100 * BLOCK);
		measure(&d, "near", false, 64 * KIB, leaf + 96 * BLOCK);
		measure(&d, "near", true, 64 * KIB, leaf + 96 * BLOCK);
		measure_all(&d, "redirected", hit);
	}
	dm_remove(&d);
	null_blk_remove(&spare);
}

/* ---- telemetry ---- */

/* For telemetry.c; there are no partitions here, and no udev. */
int remap_dev_disk(dev_t rdev, dev_t *disk, u64 *start, bool *requests)
{
	*disk = rdev;
	*start = 0;
	*requests = true;
	return 0;
}

/*
 * What all of telemetry costs an I/O to a disk that it watches, and one to a disk that it does
 * not. All that it does was done, if the areas have counted what was measured.
 */
static void bench_telemetry(const struct disk *data, const struct disk *other)
{
	static struct remap_sample s;
	struct remap_telemetry *t;
	struct disk d = *data;
	struct remap_err err;
	struct stat st;
	uint32_t area;

	if (remap_telemetry_open(&t, &err))
		die("%s", err.text);
	if (fstat(data->fd, &st) ||
	    remap_telemetry_watch(t, st.st_rdev, 0, data->sectors, 3600000000000ULL, &area, &err))
		die("telemetry: %s", err.text);
	snprintf(d.name, sizeof(d.name), "telemetry");
	measure(&d, "watched", false, BLOCK, DATA_MIB * MIB / 2);
	measure(&d, "watched", true, BLOCK, DATA_MIB * MIB / 2);
	remap_telemetry_read(t, area, &s);
	if (s.ios[TELEMETRY_READ] != WARM_UP + ios || s.ios[TELEMETRY_WRITE] != WARM_UP + ios ||
	    s.unstamped[TELEMETRY_READ] || s.slow || s.errors)
		die("telemetry counts %llu reads and %llu writes, not %u",
		    (unsigned long long)s.ios[TELEMETRY_READ],
		    (unsigned long long)s.ios[TELEMETRY_WRITE], WARM_UP + ios);
	d = *other;
	snprintf(d.name, sizeof(d.name), "telemetry");
	measure(&d, "unwatched", false, BLOCK, DATA_MIB * MIB / 2);
	measure(&d, "unwatched", true, BLOCK, DATA_MIB * MIB / 2);
	remap_telemetry_close(t);
}

/* Does a process sleep for a time of its own choice? */
static bool sleeps(pid_t pid)
{
	char path[32], where[64] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/wchan", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, where, sizeof(where) - 1);
	close(fd);
	return n > 0 && strstr(where, "nanosleep");
}

/*
 * What others' measuring costs: biolatency of libbpf-tools, if tools/bench has packed it. It sleeps
 * once it has attached its programs.
 */
static void bench_biolatency(const struct disk *data)
{
	struct disk d = *data;
	pid_t pid;

	if (access("/biolatency", X_OK))
		return;
	mkdir("/proc", 0755);
	if (mount("proc", "/proc", "proc", 0, NULL) && errno != EBUSY)
		die("no /proc: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		if (null >= 0 && dup2(null, 1) == 1)
			execl("/biolatency", "biolatency", "3600", NULL);
		_exit(127);
	}
	while (pid > 0 && !sleeps(pid)) {
		if (waitpid(pid, NULL, WNOHANG)) {
			say("biolatency does not run here");
			return;
		}
		usleep(10000);
	}
	snprintf(d.name, sizeof(d.name), "biolatency");
	measure(&d, "-", false, BLOCK, DATA_MIB * MIB / 2);
	measure(&d, "-", true, BLOCK, DATA_MIB * MIB / 2);
	if (pid < 0 || kill(pid, SIGKILL) || waitpid(pid, NULL, 0) != pid)
		die("biolatency: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	/* the last word; the kernel hands on others that it does not know */
	bool full = !strcmp(argv[argc - 1], "full");
	struct disk data, other;

	guest_begin();
	calibrate();
	if (syscall(SYS_io_setup, 1, &aio))
		die("no asynchronous I/O: %s", strerror(errno));
	buf = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	if (buf == MAP_FAILED)
		die("out of memory");
	buf = (char *)(((uintptr_t)buf + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
	madvise(buf, HUGE_PAGE, MADV_HUGEPAGE);
	memset(buf, 0, HUGE_PAGE);

	null_blk_create(&data, "data", DATA_MIB, 0);
	snprintf(data.name, sizeof(data.name), "null_blk");
	measure_all(&data, "-", DATA_MIB * MIB / 2);
	null_blk_create(&other, "other", DATA_MIB, 0);
	measure(&other, "-", false, BLOCK, DATA_MIB * MIB / 2);
	measure(&other, "-", true, BLOCK, DATA_MIB * MIB / 2);
	bench_telemetry(&data, &other);
	bench_biolatency(&data);
	null_blk_remove(&other);
	bench_linear(&data);
	if (full) {
		bench_segments(&data, 2000);
		bench_segments(&data, 20000);
	}
	bench_remap(&data, 0);
	bench_remap(&data, 1000);
	if (full)
		bench_remap(&data, 1000000);
	say("bench: done");
	power_off();
}
