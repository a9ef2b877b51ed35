/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Block devices: what one is, who uses it, what is on it, and how to know it again.
 *
 * All of it reads only, but for remap_dev_wipe(). What is on a spare of ours is known in spare.c.
 */
#ifndef REMAP_DEVICE_H
#define REMAP_DEVICE_H

#include <limits.h>
#include <sys/types.h>
#include "err.h"
#include "format.h"

struct remap_dev {
	char path[PATH_MAX];		/* as the caller gave it, or /dev/NAME */
	dev_t rdev;
	u64 sectors;			/* of 512 bytes */
	u32 logical;			/* bytes of a logical sector */
	u32 physical;			/* bytes of a physical sector */
	bool read_only;
};

/** remap_dev_open() - learn about the block device at @path; holds nothing open */
int remap_dev_open(const char *path, struct remap_dev *dev, struct remap_err *err);

/** remap_dev_path() - /dev/NAME by the kernel's name for it; "major:minor" if it has none */
void remap_dev_path(dev_t rdev, char *path, size_t size);

/** remap_dev_list() - all block devices with a size, partitions included. Caller frees @list. */
int remap_dev_list(struct remap_dev **list, size_t *n, struct remap_err *err);

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
 * remap_dev_free_for_use() - may we take it?
 *
 * Also looks at the partitions of a disk, the disk of a partition, and whether it can be opened
 * exclusively. Return: 0, or -EBUSY with who it is in @err.
 */
int remap_dev_free_for_use(const struct remap_dev *dev, struct remap_err *err);

enum remap_relation {
	REMAP_DISTINCT,
	REMAP_SAME_DISK,	/* share a disk, but no sector */
	REMAP_OVERLAP,		/* share sectors: a disk and a partition of it */
	REMAP_IDENTICAL,
};

/** remap_dev_relation() - looks through dm, md and partitions down to the disks */
enum remap_relation remap_dev_relation(const struct remap_dev *a, const struct remap_dev *b);

/**
 * remap_dev_foreign() - what is on the device, by libblkid, which does not know spares of ours?
 * @what: result, as in "an ext4 file system, label home"
 *
 * Return: 1 if there is something, 0 if nothing is known to be there, or an error.
 */
int remap_dev_foreign(const struct remap_dev *dev, char *what, size_t size,
		      struct remap_err *err);

/** remap_dev_signature() - the same, and our own metadata */
int remap_dev_signature(const struct remap_dev *dev, char *what, size_t size,
			struct remap_err *err);

/** remap_dev_wipe() - make libblkid see nothing any more. @fd: open for writing */
int remap_dev_wipe(int fd, const char *path, struct remap_err *err);

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

/** remap_identity_str() - for messages, as in "WWN naa.5000..., serial S3Z..." */
void remap_identity_str(const struct remap_identity *id, char *text, size_t size);

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
