/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Block devices: what one is, who uses it, what is on it, and how to know it again.
 *
 * All of it reads only, but for remap_dev_wipe(). What is on a spare of ours is known in spare.c.
 * A path may come to name another device at any time: what was learned of a device holds for its
 * number, and whoever opens it again by its path compares that.
 */
#ifndef REMAP_DEVICE_H
#define REMAP_DEVICE_H

#include <limits.h>
#include <sys/types.h>
#include "err.h"
#include "format.h"

struct remap_spare;
struct remap_store;

struct remap_dev {
	char path[PATH_MAX];		/* as the caller gave it, or /dev/NAME */
	dev_t rdev;
	u64 sectors;			/* of 512 bytes */
	u32 logical;			/* bytes of a logical sector */
	u32 physical;			/* bytes of a physical sector */
	bool read_only;
	bool zoned;
};

/** remap_dev_open() - learn about the block device at @path; holds nothing open */
int remap_dev_open(const char *path, struct remap_dev *dev, struct remap_err *err);

/** remap_dev_fd() - open it again. Return: the descriptor, or -ESTALE if its path names another */
int remap_dev_fd(const struct remap_dev *dev, int flags, struct remap_err *err);

/** remap_dev_path() - /dev/NAME by the kernel's name for it; "major:minor" if it has none */
void remap_dev_path(dev_t rdev, char *path, size_t size);

/** remap_dev_each() - call @fn for all block devices with a size, partitions included */
int remap_dev_each(void (*fn)(void *arg, const struct remap_dev *dev), void *arg,
		   struct remap_err *err);

/**
 * remap_dev_users() - who uses a device: mounts, swap, device-mapper, md, other programs
 * @what: result, as in "mounted on /srv"
 * @remedy: result, as in "unmount it first"
 *
 * Only the device itself, neither its partitions nor the disk that it is part of. Return: true
 * if anybody does.
 */
bool remap_dev_users(dev_t rdev, char *what, size_t what_size, const char **remedy);

/**
 * remap_dev_claim() - take it for us alone, for reading
 *
 * Also looks at the partitions of a disk and the disk of a partition. Return: a descriptor, opened
 * exclusively, or -EBUSY with who has it in @err.
 */
int remap_dev_claim(const struct remap_dev *dev, struct remap_err *err);

/** remap_dev_free_for_use() - could we? Return: 0, or an error */
int remap_dev_free_for_use(const struct remap_dev *dev, struct remap_err *err);

enum remap_relation {
	REMAP_DISTINCT,
	REMAP_SAME_DISK,	/* share a disk, but no sector */
	REMAP_OVERLAP,		/* share sectors: a disk and a partition of it */
	REMAP_IDENTICAL,
	REMAP_UNKNOWN,		/* sysfs does not show them */
};

/**
 * remap_dev_relation() - do two devices share anything?
 *
 * Looks through partitions and loop devices down to sectors of a disk or bytes of a file, knows
 * the paths to one logical unit by its WWN, and looks through dm and md for shared disks.
 */
enum remap_relation remap_dev_relation(const struct remap_dev *a, const struct remap_dev *b);

/* What libblkid, which does not know spares of ours, takes a device for. */
struct remap_signature {
	char what[256];		/* as in "an ext4 file system, label home" */
	u64 at;			/* byte of its magic number, or REMAP_ANYWHERE */
};

/**
 * remap_dev_foreign() - look for a signature outside of what a spare owns
 * @sp: the spare that the device is; NULL if it is none
 *
 * Return: 1 if there is one, 0 if there is none, or -EIO if there is none in what can be read.
 */
int remap_dev_foreign(struct remap_store *st, const struct remap_spare *sp,
		      struct remap_signature *sig, struct remap_err *err);

/** remap_dev_signature() - what is on the device, our own metadata among it. Return: as above */
int remap_dev_signature(struct remap_store *st, char *what, size_t size, struct remap_err *err);

/** remap_dev_wipe() - make remap_dev_foreign() find nothing any more. @st: open for writing */
int remap_dev_wipe(struct remap_store *st, const struct remap_spare *sp, struct remap_err *err);

/**
 * remap_dev_disk() - the disk that I/O to a device counts for, and where on it the device begins
 * @start: result, in sectors
 * @requests: result: does the disk have requests? If not (dm, md), bios is all that is to be seen
 *
 * Looks through partitions alone. Return: 0 or -ENODEV.
 */
int remap_dev_disk(dev_t rdev, dev_t *disk, u64 *start, bool *requests);

/* Who a device is; empty strings where nothing is known. Disks' names for partitions, too. */
struct remap_identity {
	char wwn[REMAP_ID_LEN];
	char serial[REMAP_ID_LEN];
	char partuuid[REMAP_ID_LEN];
	char fsuuid[REMAP_ID_LEN];
};

void remap_dev_identity(const struct remap_dev *dev, struct remap_identity *id);

void remap_identity_from_super(struct remap_identity *id, const struct remap_super *s);
void remap_identity_to_super(struct remap_super *s, const struct remap_identity *id);

/** remap_identity_strong() - is there more than the UUID of a file system? */
bool remap_identity_strong(const struct remap_identity *id);
bool remap_identity_empty(const struct remap_identity *id);

#define REMAP_IDENTITY_STR	(4 * (REMAP_ID_LEN + 20))	/* all of it, and what it is */

/** remap_identity_str() - for messages, as in "WWN naa.5000..., serial S3Z..." */
void remap_identity_str(const struct remap_identity *id, char *text, size_t size);

bool remap_identity_equal(const struct remap_identity *a, const struct remap_identity *b);

/** remap_identity_shares() - is anything that both sides know the same? */
bool remap_identity_shares(const struct remap_identity *a, const struct remap_identity *b);

enum remap_match {
	REMAP_MATCH_NONE,	/* nothing to compare */
	REMAP_MATCH_YES,
	REMAP_MATCH_FS_DIFFERS,	/* nothing stronger known, and another file system is on it */
	REMAP_MATCH_NO,		/* WWN, serial or partition UUID differ */
};

/**
 * remap_identity_match() - is the device with @found the one that was @recorded?
 * @which: result, what made the difference, for messages
 *
 * What either side does not know is passed over. The file system's UUID is asked only where
 * nothing stronger can be compared: mkfs may change it on the same disk.
 */
enum remap_match remap_identity_match(const struct remap_identity *recorded,
				      const struct remap_identity *found, const char **which);

/**
 * remap_dev_find() - the one device of the machine that fits what the superblock recorded
 * @s: data_sectors and the identities; @spare is never the answer
 *
 * Return: 0; -ENODEV if none fits, -ENOTUNIQ if several do, -ENODATA if nothing was recorded.
 */
int remap_dev_find(const struct remap_super *s, dev_t spare, struct remap_dev *dev,
		   struct remap_err *err);

#endif
