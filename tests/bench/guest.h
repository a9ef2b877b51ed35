/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the bench's guest is made of: modules, null_blk disks and device-mapper devices, without
 * udev, libdevmapper or a shell. All of it ends the guest, with a message, where anything fails.
 */
#ifndef REMAP_BENCH_GUEST_H
#define REMAP_BENCH_GUEST_H

#include <stdint.h>

/** say() - a line to the console, sent before it returns: nothing of it is left to disturb */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** die() - say why, and end the guest */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** power_off() - end the guest */
_Noreturn void power_off(void);

/** guest_begin() - mount what is needed, load /modules/NN-*.ko in the order of their names */
void guest_begin(void);

struct disk {
	char name[32];
	char dev[16];		/* "major:minor" */
	uint64_t sectors;
	int fd;			/* O_DIRECT */
};

/** null_blk_create() - a disk that answers at once (queue_mode=2 irqmode=0), with memory or not */
void null_blk_create(struct disk *d, const char *name, uint64_t mib, int memory_backed);
void null_blk_remove(struct disk *d);

struct segment {
	uint64_t start, sectors;
	const char *type;
	char params[80];
};

/** dm_create() - a device-mapper device with this table */
void dm_create(struct disk *d, const char *name, const struct segment *s, unsigned int n);
void dm_remove(struct disk *d);

/** dm_linear() - one over all of @below */
void dm_linear(struct disk *d, const char *name, const struct disk *below);

#endif
