/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Remap targets by way of device-mapper: create, remove, ask, tell. What a table line, a message
 * and a status line look like is in include/remap/abi.h.
 *
 * Uses libdevmapper, whose log goes into our error texts. Not for more than one thread at a time.
 */
#ifndef REMAP_DM_H
#define REMAP_DM_H

#include <sys/types.h>
#include "err.h"
#include "format.h"
#include "remap/abi.h"

#define REMAP_DM_NAME_LEN	128	/* DM_NAME_LEN, with the NUL */
#define REMAP_DM_UUID_LEN	129	/* DM_UUID_LEN */

/* A remap device as it is now. */
struct remap_target {
	char name[REMAP_DM_NAME_LEN];
	char uuid[REMAP_DM_UUID_LEN];		/* of the dm device, REMAP_DM_UUID_PREFIX and all */
	dev_t rdev;
	int open_count;
	bool suspended;
	u64 begin, sectors;			/* of the target, in the device */
	dev_t data, spare;			/* 0 where the table line was not understood */
	u64 data_start, spare_start;		/* sectors of these */
	enum remap_state state;
	u64 word[REMAP_ST_WORDS];		/* by enum remap_status_word, but for the state */
};

/** remap_state_name() - as the status line has it */
const char *remap_state_name(enum remap_state state);

/** remap_replica_state_name() - as verify has it */
const char *remap_replica_state_name(enum remap_replica_state state);

/** remap_dm_name_ok() - may a device be called that? What libdevmapper would not mangle */
bool remap_dm_name_ok(const char *name);

/**
 * remap_dm_ready() - see to it that the kernel knows the target: modprobe, if it does not
 *
 * Return: 0, or -ENOPKG with the remedy.
 */
int remap_dm_ready(struct remap_err *err);

/**
 * remap_dm_exists() - is there a device-mapper device of this name, of whatever kind?
 * Return: 1, 0 or an error
 */
int remap_dm_exists(const char *name, struct remap_err *err);

/**
 * remap_dm_get() - ask for one
 * Return: 0, -ENXIO if there is no such device, -EMEDIUMTYPE if it is no remap, -ENODATA if it is
 * to become one
 */
int remap_dm_get(const char *name, struct remap_target *t, struct remap_err *err);

/**
 * remap_dm_list() - all remap devices, by name. Caller frees @list.
 * @skipped: called with @arg for each device that could not be asked what it is; may be NULL
 *
 * Where the kernel has no device-mapper yet there are none.
 */
int remap_dm_list(struct remap_target **list, size_t *n,
		  void (*skipped)(void *arg, const struct remap_err *why), void *arg,
		  struct remap_err *err);

/**
 * remap_dm_find_spare() - the remap device that uses this spare
 * Return: 1 and @t filled in, 0 if there is none, or an error
 */
int remap_dm_find_spare(dev_t spare, struct remap_target *t, struct remap_err *err);

/**
 * remap_dm_create() - a new device with one remap target
 * @params: the table line from behind "remap" on
 *
 * Waits for udev. Where the kernel refuses, its log has the reason, and @err repeats it.
 */
int remap_dm_create(const char *name, const char *uuid, u64 sectors, const char *params,
		    bool read_only, struct remap_err *err);

/** remap_dm_remove() - waits a moment for programs that only look. -EBUSY while it is in use */
int remap_dm_remove(const struct remap_target *t, struct remap_err *err);

/**
 * remap_dm_message() - send a message to the device's remap target, the first one if it has several
 * @reply: result, to be freed; NULL if there is none or the caller does not want it
 */
int remap_dm_message(const char *name, char **reply, struct remap_err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/**
 * remap_dm_each_remap() - ask for the remapped blocks, in the order of their sectors
 * @from: where to begin: the block that holds this sector
 * @fn: called with the data sectors of each block, its slot and its lost sectors; ends the
 *	listing, and is what is returned, where it is not 0
 */
int remap_dm_each_remap(const char *name, u64 from,
			int (*fn)(void *arg, u64 sector, u64 count, u64 slot, u64 lost), void *arg,
			struct remap_err *err);

/**
 * remap_dm_events() - open for poll(2): readable once a device of device-mapper, of whatever kind,
 * has come, gone or changed, or has told of an event
 * Return: a descriptor, -ENODEV if the kernel has no device-mapper yet, or an error
 */
int remap_dm_events(struct remap_err *err);

/** remap_dm_rearm() - what has been so far makes it readable no more. Return: 0 or -errno */
int remap_dm_rearm(int fd);

/** remap_dm_verify() - ask the target for the state of the replicas */
int remap_dm_verify(const char *name, enum remap_replica_state state[REMAP_ZONES],
		    struct remap_err *err);

#endif
