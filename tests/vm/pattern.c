// SPDX-License-Identifier: GPL-2.0-only
/*
 * pattern: writes sectors that say who they are, and reads them back, past every cache.
 *
 *   pattern write DEV SECTOR COUNT SEED [SIZE]   in writes of SIZE sectors (default: one write)
 *   pattern verify DEV SECTOR COUNT SEED         each sector must hold what write put there
 *   pattern lost DEV SECTOR COUNT                each sector must be unreadable
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
#include <unistd.h>
#include <linux/fs.h>

#define SECTOR 512U

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

static bool write_all(int fd, uint8_t *buf, uint64_t sector, uint64_t count, uint64_t seed,
		      uint64_t size)
{
	bool ok = true;

	for (uint64_t i = 0; i < count; i++)
		fill(buf + i * SECTOR, sector + i, seed);
	for (uint64_t i = 0; i < count; i += size) {
		uint64_t n = count - i < size ? count - i : size;
		off_t at = (off_t)((sector + i) * SECTOR);
		ssize_t r = pwrite(fd, buf + i * SECTOR, n * SECTOR, at);

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
	if (!lost && pread(fd, buf, count * SECTOR, (off_t)(sector * SECTOR)) ==
	    (ssize_t)(count * SECTOR)) {
		for (uint64_t i = 0; i < count; i++)
			ok &= check(buf + i * SECTOR, sector + i, seed);
		return ok;
	}
	for (uint64_t i = 0; i < count; i += step) {
		ssize_t r = pread(fd, buf, step * SECTOR, (off_t)((sector + i) * SECTOR));

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

int main(int argc, char **argv)
{
	bool writing = argc >= 6 && !strcmp(argv[1], "write");
	bool lost = argc == 5 && !strcmp(argv[1], "lost");
	uint64_t sector, count, seed, size;
	int fd, step;
	uint8_t *buf;
	bool ok;

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
