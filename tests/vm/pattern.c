// SPDX-License-Identifier: GPL-2.0-only
/*
 * pattern: writes sectors that say who they are, and reads them back, past every cache.
 *
 *   pattern write DEV SECTOR COUNT SEED [SIZE]   in writes of SIZE sectors (default: one write)
 *   pattern verify DEV SECTOR COUNT SEED         each sector must hold what write put there
 *   pattern lost DEV SECTOR COUNT                each sector must be unreadable
 *
 * Before all of that: --nowait, --hipri, --dsync ask for these kinds of I/O; see preadv2(2).
 *
 * Sectors are of 512 bytes; where the device's logical sectors are larger, SECTOR and COUNT must
 * fit them. Each sector of 512 bytes is filled with its number and the seed, so that a sector
 * of another place or of an older write is told by what it says. Every sector that is not as it
 * should be gives a line; exit 1 then, and 2 for wrong usage or an error of another kind.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/fs.h>

#define SECTOR 512U

static int flags;	/* RWF_* */

struct stamp {
	uint64_t sector;
	uint64_t seed;
};

static void fill(uint8_t *buf, uint64_t sector, uint64_t seed)
{
	struct stamp s = { sector, seed };

	for (size_t i = 0; i < SECTOR; i += sizeof(s))
		memcpy(buf + i, &s, sizeof(s));
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "pattern: %s: %s\n", what, strerror(errno));
	exit(2);
}

static ssize_t do_read(int fd, void *buf, size_t size, uint64_t sector)
{
	struct iovec iov = { buf, size };

	return preadv2(fd, &iov, 1, (off_t)(sector * SECTOR), flags);
}

static ssize_t do_write(int fd, void *buf, size_t size, uint64_t sector)
{
	struct iovec iov = { buf, size };

	return pwritev2(fd, &iov, 1, (off_t)(sector * SECTOR), flags);
}

static bool write_all(int fd, uint8_t *buf, uint64_t sector, uint64_t count, uint64_t seed,
		      uint64_t size)
{
	bool ok = true;

	for (uint64_t i = 0; i < count; i++)
		fill(buf + i * SECTOR, sector + i, seed);
	for (uint64_t i = 0; i < count; i += size) {
		uint64_t n = count - i < size ? count - i : size;
		ssize_t r = do_write(fd, buf + i * SECTOR, n * SECTOR, sector + i);

		if (r == (ssize_t)(n * SECTOR))
			continue;
		printf("write of %" PRIu64 " + %" PRIu64 ": %s\n", sector + i, n,
		       r < 0 ? strerror(errno) : "short");
		ok = false;
	}
	return ok;
}

static bool check(const uint8_t *got, uint64_t sector, uint64_t seed)
{
	uint8_t want[SECTOR];
	struct stamp s;

	fill(want, sector, seed);
	if (!memcmp(got, want, SECTOR))
		return true;
	memcpy(&s, got, sizeof(s));
	printf("sector %" PRIu64 ": begins as sector %" PRIu64 " of seed %" PRIu64
	       ", wanted seed %" PRIu64 "\n", sector, s.sector, s.seed, seed);
	return false;
}

static bool read_all(int fd, uint8_t *buf, uint64_t sector, uint64_t count, uint64_t seed,
		     unsigned int step, bool lost)
{
	bool ok = true;

	/* at one stroke, if nobody objects */
	if (!lost && do_read(fd, buf, count * SECTOR, sector) == (ssize_t)(count * SECTOR)) {
		for (uint64_t i = 0; i < count; i++)
			ok &= check(buf + i * SECTOR, sector + i, seed);
		return ok;
	}
	for (uint64_t i = 0; i < count; i += step) {
		ssize_t r = do_read(fd, buf, step * SECTOR, sector + i);

		if (r < 0 && errno != EIO && errno != ENODATA)
			die("read");
		if (r < 0) {
			if (!lost)
				printf("sector %" PRIu64 ": unreadable\n", sector + i);
			ok &= lost;
			continue;
		}
		if (lost) {
			printf("sector %" PRIu64 ": readable, should be lost\n", sector + i);
			ok = false;
			continue;
		}
		for (uint64_t k = 0; k < step; k++)
			ok &= check(buf + k * SECTOR, sector + i + k, seed);
	}
	return ok;
}

static int flag_of(const char *arg)
{
	if (!strcmp(arg, "--nowait"))
		return RWF_NOWAIT;
	if (!strcmp(arg, "--hipri"))
		return RWF_HIPRI;
	if (!strcmp(arg, "--dsync"))
		return RWF_DSYNC;
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t sector, count, seed, size;
	bool writing, lost, ok;
	int fd, step;
	uint8_t *buf;

	while (argc > 1 && flag_of(argv[1])) {
		flags |= flag_of(argv[1]);
		argc--;
		argv++;
	}
	writing = argc >= 6 && !strcmp(argv[1], "write");
	lost = argc == 5 && !strcmp(argv[1], "lost");

	if (!writing && !lost && !(argc == 6 && !strcmp(argv[1], "verify"))) {
		fputs("usage: pattern write|verify|lost DEV SECTOR COUNT [SEED [SIZE]]\n", stderr);
		return 2;
	}
	sector = strtoull(argv[3], NULL, 10);
	count = strtoull(argv[4], NULL, 10);
	seed = lost ? 0 : strtoull(argv[5], NULL, 10);
	size = argc > 6 ? strtoull(argv[6], NULL, 10) : count;
	fd = open(argv[2], (writing ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (fd < 0)
		die(argv[2]);
	if (ioctl(fd, BLKSSZGET, &step))
		die("BLKSSZGET");
	if (!count || !size || posix_memalign((void **)&buf, 4096, count * SECTOR))
		die("memory");
	if (writing)
		ok = write_all(fd, buf, sector, count, seed, size);
	else
		ok = read_all(fd, buf, sector, count, seed, (unsigned int)step / SECTOR, lost);
	free(buf);
	close(fd);
	return ok ? 0 : 1;
}
