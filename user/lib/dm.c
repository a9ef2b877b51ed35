// SPDX-License-Identifier: GPL-2.0-only
/*
 * Remap targets by way of device-mapper; see dm.h.
 *
 * Carries words between libdevmapper and the tools. Whether devices may be used for what is asked
 * is for the caller to find out first, device.h helps; the kernel has the last word.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "device.h"
#include "dm.h"
#include "text.h"

#define DEV_MAPPER	"/dev/mapper/"

const char *remap_state_name(enum remap_state state)
{
	static const char *const name[] = REMAP_STATE_NAMES;

	return state < REMAP_STATES ? name[state] : "unknown";
}

const char *remap_replica_state_name(enum remap_replica_state state)
{
	static const char *const name[] = REMAP_REPLICA_STATE_NAMES;

	return state < REMAP_REPLICA_STATES ? name[state] : "unknown";
}

bool remap_dm_name_ok(const char *name)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789#+-.:=@_";
	size_t n = strlen(name);

	return n && n < REMAP_DM_NAME_LEN && strspn(name, good) == n && strcmp(name, ".") &&
	       strcmp(name, "..") && strcmp(name, "control");
}

/* ---- what libdevmapper and the kernel say ---- */

/* The first complaint of the library since log_begin(); later ones only repeat it. */
static char lib_log[256];

static void log_line(int level, const char *file, int line, int dm_errno, const char *fmt, ...)
{
	va_list ap;

	(void)file;
	(void)line;
	(void)dm_errno;
	/* the upper bits say where it should go, which is nowhere */
	if ((level & 7) > 3 || *lib_log)
		return;
	va_start(ap, fmt);
	vsnprintf(lib_log, sizeof(lib_log), fmt, ap);
	va_end(ap);
}

static void log_begin(void)
{
	dm_log_with_errno_init(log_line);
	*lib_log = 0;
}

/* Open the kernel log at its end: what is read from it afterwards came afterwards. */
static int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/*
 * Why the kernel refused a table: the first error that the target itself has logged, or, where it
 * did not get a say, what device-mapper says. Numbers of a device that is gone again help nobody.
 */
static void kmsg_reason(int fd, char *reason, size_t size)
{
	static const char table[] = "device-mapper: table: ", ours[] = "device-mapper: remap: ";
	const int err = 3;		/* KERN_ERR */
	char record[2048];
	ssize_t n;

	*reason = 0;
	if (fd < 0)
		return;
	for (;;) {
		bool own;
		char *text;

		n = read(fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;	/* overtaken by newer messages */
		if (n <= 0)
			return;
		record[n] = 0;
		record[strcspn(record, "\n")] = 0;
		text = strchr(record, ';');
		if (!text++ || (atoi(record) & 7) > err)
			continue;
		own = !strncmp(text, ours, strlen(ours));
		if (!own && strncmp(text, table, strlen(table)))
			continue;
		text += own ? strlen(ours) : strlen(table);
		text += strspn(text, "0123456789:");
		text += *text == ' ';
		if (!own && !strncmp(text, "remap: ", strlen("remap: ")))
			text += strlen("remap: ");
		remap_text_clean(reason, size, text);
		if (own)
			return;
	}
}

static void cleanup_task(struct dm_task **task)
{
	if (*task)
		dm_task_destroy(*task);
}

#define _cleanup_task_	__attribute__((cleanup(cleanup_task)))

static bool dm_answered;

/* libdevmapper would complain of the device node instead. */
static int permitted(const char *name, struct remap_err *err)
{
	return geteuid() ? remap_fail(err, -EPERM, "%s: not permitted (run as root)", name) : 0;
}

/*
 * Does the kernel have device-mapper? libdevmapper would not only fail otherwise, but remember that
 * for as long as the process lives. In doubt (no /proc) it may find out. Once it has talked to it,
 * it keeps it in the kernel.
 */
static bool dm_present(void)
{
	_cleanup_fclose_ FILE *f = NULL;
	char line[128];

	if (dm_answered)
		return true;
	f = fopen("/proc/misc", "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *name = strrchr(line, ' ');

		if (name && !strcmp(name, " device-mapper\n"))
			return true;
	}
	return !f;
}

static struct dm_task *task_new(int type, const char *name, struct remap_err *err)
{
	struct dm_task *task;

	log_begin();
	if (permitted(name ? name : "device-mapper", err))
		return NULL;
	/*
	 * Names as the kernel has them: a single one that the library would rather escape makes it
	 * refuse to list any device. Those that we give are good, see remap_dm_name_ok().
	 */
	dm_set_name_mangling_mode(DM_STRING_MANGLING_NONE);
	task = dm_task_create(type);
	if (!task) {
		remap_fail(err, -EIO, "%s: %s (run modprobe dm-mod)", name ? name : "device-mapper",
			   *lib_log ? lib_log : "device-mapper cannot be used");
		return NULL;
	}
	if (name && !dm_task_set_name(task, name)) {
		remap_fail(err, -EIO, "%s: %s (dmsetup rename gives it another name)", name,
			   *lib_log ? lib_log : "name not understood");
		dm_task_destroy(task);
		return NULL;
	}
	return task;
}

static int no_such_device(const char *name, struct remap_err *err)
{
	return remap_fail(err, -ENXIO, "%s: no such device (remapctl status lists them)", name);
}

/* @reason: what the kernel log says, or "". Return: -errno, with a text of what is known */
static int task_failed(struct dm_task *task, const char *name, const char *doing,
		       const char *reason, struct remap_err *err)
{
	int r = dm_task_get_errno(task) ? -dm_task_get_errno(task) : -EIO;

	if (*reason)
		return remap_fail(err, r, "%s: cannot %s: %s", name, doing, reason);
	if (r == -ENXIO)
		return no_such_device(name, err);
	if (r == -EIO && *lib_log)
		return remap_fail(err, r, "%s: cannot %s: %.200s", name, doing, lib_log);
	return remap_fail_errno(err, r, "%s: cannot %s", name, doing);
}

/* What asks the kernel something: it does not log why not. */
static int task_ask(struct dm_task *task, const char *name, const char *doing,
		    struct remap_err *err)
{
	if (!dm_task_run(task))
		return task_failed(task, name, doing, "", err);
	dm_answered = true;
	return 0;
}

/* What has the kernel do something. */
static int task_run(struct dm_task *task, const char *name, const char *doing,
		    struct remap_err *err)
{
	int kmsg = kmsg_open(), r = 0;
	char reason[300];

	if (!dm_task_run(task)) {
		kmsg_reason(kmsg, reason, sizeof(reason));
		r = task_failed(task, name, doing, reason, err);
	}
	if (kmsg >= 0)
		close(kmsg);
	return r;
}

/* ---- the module ---- */

static bool target_known(void)
{
	struct remap_err err;
	_cleanup_task_ struct dm_task *task = NULL;
	struct dm_versions *v, *last = NULL;

	if (!dm_present())
		return false;
	task = task_new(DM_DEVICE_LIST_VERSIONS, NULL, &err);
	if (!task || !dm_task_run(task))
		return false;
	for (v = dm_task_get_versions(task); v && v != last;
	     v = (struct dm_versions *)((char *)v + v->next)) {
		if (!strcmp(v->name, REMAP_TARGET_NAME))
			return true;
		last = v;	/* the last one's next is 0 */
	}
	return false;
}

static void modprobe(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		if (null >= 0) {
			dup2(null, 0);
			dup2(null, 1);
			dup2(null, 2);
		}
		execlp("modprobe", "modprobe", "-q", "dm-remap", (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

int remap_dm_ready(struct remap_err *err)
{
	if (permitted("device-mapper", err))
		return -EPERM;
	if (target_known())
		return 0;
	modprobe();
	if (target_known())
		return 0;
	return remap_fail(err, -ENOPKG, "kernel module dm-remap is not loaded "
			  "(run modprobe dm-remap; it may need to be installed first)");
}

/* ---- what there is ---- */

static const char *word_end(const char *s)
{
	return s + strcspn(s, " ");
}

/* The table line behind "remap": data dev, offset, spare dev, offset, options. */
static void parse_table(struct remap_target *t, const char *params)
{
	unsigned int ma[2], mi[2];
	u64 start[2];

	if (sscanf(params, "%u:%u %" SCNu64 " %u:%u %" SCNu64, &ma[0], &mi[0], &start[0], &ma[1],
		   &mi[1], &start[1]) == 6) {
		t->data = makedev(ma[0], mi[0]);
		t->data_start = start[0];
		t->spare = makedev(ma[1], mi[1]);
		t->spare_start = start[1];
	}
}

static bool parse_status(struct remap_target *t, const char *params)
{
	static const char *const name[] = REMAP_STATE_NAMES;
	const char *p = params + strspn(params, " ");
	size_t len = (size_t)(word_end(p) - p);
	int i;

	for (i = 0; i < REMAP_STATES; i++)
		if (strlen(name[i]) == len && !strncmp(p, name[i], len))
			break;
	if (i == REMAP_STATES)
		return false;
	t->state = (enum remap_state)i;
	p += len;
	for (i = REMAP_ST_STATE + 1; i < REMAP_ST_WORDS; i++) {
		char *end;

		p += strspn(p, " ");
		errno = 0;
		t->word[i] = strtoull(p, &end, 10);
		if (end == p || errno)
			return false;
		p = end;
	}
	return true;	/* words behind these are of a newer kernel module */
}

static int ask(int type, const char *name, const char *doing, struct dm_info *info,
	       struct dm_task **task, struct remap_err *err)
{
	int r = permitted(name, err);

	if (r)
		return r;
	if (!dm_present())
		return no_such_device(name, err);
	*task = task_new(type, name, err);
	if (!*task)
		return -EIO;
	/* a question must not wait for I/O in flight */
	dm_task_no_flush(*task);
	r = task_ask(*task, name, doing, err);
	if (!r && (!dm_task_get_info(*task, info) || !info->exists))
		r = no_such_device(name, err);
	return r;
}

/* The remap target of a device's answer; a device may have other targets around it. Of several the
 * first one counts. */
static const char *remap_params(struct dm_task *task, u64 *begin, u64 *sectors)
{
	uint64_t start, length;
	char *type, *params;
	void *next = NULL;

	do {
		next = dm_get_next_target(task, next, &start, &length, &type, &params);
		if (type && params && !strcmp(type, REMAP_TARGET_NAME)) {
			*begin = start;
			*sectors = length;
			return params;
		}
	} while (next);
	return NULL;
}

int remap_dm_exists(const char *name, struct remap_err *err)
{
	_cleanup_task_ struct dm_task *task = NULL;
	struct dm_info info;
	int r = ask(DM_DEVICE_INFO, name, "get its information", &info, &task, err);

	return !r ? 1 : r == -ENXIO ? 0 : r;
}

static int get(const char *name, struct remap_target *t, struct remap_err *err)
{
	_cleanup_task_ struct dm_task *table = NULL, *status = NULL;
	const char *params, *uuid;
	struct dm_info info;
	int r;

	memset(t, 0, sizeof(*t));
	snprintf(t->name, sizeof(t->name), "%s", name);
	r = ask(DM_DEVICE_TABLE, name, "read its table", &info, &table, err);
	if (r)
		return r;
	uuid = dm_task_get_uuid(table);
	snprintf(t->uuid, sizeof(t->uuid), "%s", uuid ? uuid : "");
	params = remap_params(table, &t->begin, &t->sectors);
	if (!params && !info.live_table &&
	    !strncmp(t->uuid, REMAP_DM_UUID_PREFIX, strlen(REMAP_DM_UUID_PREFIX)))
		return remap_fail(err, -ENODATA, "%s: has no table: it is being started, or is "
				  "left over from a start that was interrupted (dmsetup remove %s "
				  "takes it away)", name, name);
	if (!params)
		return remap_fail(err, -EMEDIUMTYPE, "%s: not a remap device (remapctl status "
				  "lists them)", name);
	parse_table(t, params);

	r = ask(DM_DEVICE_STATUS, name, "read its status", &info, &status, err);
	if (r)
		return r;
	t->rdev = makedev(info.major, info.minor);
	t->open_count = info.open_count;
	t->suspended = info.suspended;
	params = remap_params(status, &t->begin, &t->sectors);
	if (!params || !parse_status(t, params))
		return remap_fail(err, -EPROTO, "%s: status line not understood: %.200s (the "
				  "kernel module is older than "
				  "remapctl)", name, params ? params : "none");
	return 0;
}

int remap_dm_get(const char *name, struct remap_target *t, struct remap_err *err)
{
	if (!remap_dm_name_ok(name))
		return remap_fail(err, -EINVAL, "%.130s: not a device name (letters, digits and "
				  "#+-.:=@_, at most %d)", name, REMAP_DM_NAME_LEN - 1);
	return get(name, t, err);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct remap_target *)a)->name,
		      ((const struct remap_target *)b)->name);
}

int remap_dm_list(struct remap_target **list, size_t *n,
		  void (*skipped)(void *arg, const struct remap_err *why), void *arg,
		  struct remap_err *err)
{
	_cleanup_task_ struct dm_task *task = NULL;
	const struct dm_names *names;
	size_t room = 0;
	int r = permitted("device-mapper", err);

	*list = NULL;
	*n = 0;
	if (r || !dm_present())
		return r;
	task = task_new(DM_DEVICE_LIST, NULL, err);
	if (!task)
		return -EIO;
	r = task_ask(task, "device-mapper", "list devices", err);
	if (r)
		return r;
	names = dm_task_get_names(task);
	if (!names || !names->dev)
		return 0;
	for (;; names = (const struct dm_names *)((const char *)names + names->next)) {
		struct remap_err why;

		if (*n == room) {
			struct remap_target *more;

			room = room ? 2 * room : 16;
			more = realloc(*list, room * sizeof(*more));
			if (!more) {
				r = remap_fail_errno(err, -ENOMEM, "list of devices");
				break;
			}
			*list = more;
		}
		r = get(names->name, &(*list)[*n], &why);
		if (!r)
			(*n)++;
		else if (r != -ENXIO && r != -EMEDIUMTYPE && skipped)
			skipped(arg, &why);	/* neither gone meanwhile nor of another kind */
		r = 0;
		if (!names->next)
			break;
	}
	if (r) {
		free(*list);
		*list = NULL;
		*n = 0;
	} else if (*n) {
		qsort(*list, *n, sizeof(**list), by_name);
	}
	return r;
}

int remap_dm_find_spare(dev_t spare, struct remap_target *t, struct remap_err *err)
{
	_cleanup_free_ struct remap_target *list = NULL;
	size_t n;
	int r = remap_dm_list(&list, &n, NULL, NULL, err);

	for (size_t i = 0; !r && i < n; i++) {
		if (list[i].spare == spare) {
			*t = list[i];
			return 1;
		}
	}
	return r;
}

/* ---- events ---- */

int remap_dm_rearm(int fd)
{
	struct dm_ioctl arg = {
		.version = { 4, 37, 0 },	/* which brought it, with Linux 4.14 */
		.data_size = sizeof(arg),
	};

	return ioctl(fd, DM_DEV_ARM_POLL, &arg) ? -errno : 0;
}

int remap_dm_events(struct remap_err *err)
{
	int fd, r;

	/* to open it would load the module */
	if (!dm_present())
		return remap_fail(err, -ENODEV, "the kernel has no device-mapper");
	fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	r = fd < 0 ? -errno : remap_dm_rearm(fd);
	if (!r)
		return fd;
	if (fd >= 0)
		close(fd);
	return remap_fail_errno(err, r, "/dev/mapper/control");
}

/* ---- create, remove ---- */

/*
 * Until udev has done with an event. It gives up after three minutes (event_timeout in
 * udev.conf(5)), and then nobody ends the cookie; dm_udev_wait() alone would wait for ever. The
 * cookie must be waited for in any case: that also frees its semaphore.
 */
#define UDEV_SECONDS	190

static void wait_for_udev(uint32_t cookie)
{
	if (!cookie || !dm_udev_get_sync_support()) {
		/* nobody to wait for, which the other one would never call ready */
		dm_udev_wait(cookie);
		return;
	}
	for (unsigned int i = 0; i < UDEV_SECONDS * 100; i++) {
		int ready = 0;

		if (!dm_udev_wait_immediate(cookie, &ready) || ready)
			return;
		usleep(10000);
	}
	dm_udev_complete(cookie);
	dm_udev_wait(cookie);
}

int remap_dm_create(const char *name, const char *uuid, u64 sectors, const char *params,
		    bool read_only, struct remap_err *err)
{
	_cleanup_task_ struct dm_task *task = task_new(DM_DEVICE_CREATE, name, err);
	uint32_t cookie = 0;
	int r;

	if (!task)
		return -EIO;
	if (!dm_task_set_uuid(task, uuid) || (read_only && !dm_task_set_ro(task)) ||
	    !dm_task_add_target(task, 0, sectors, REMAP_TARGET_NAME, params) ||
	    !dm_task_set_add_node(task, DM_ADD_NODE_ON_CREATE) ||
	    !dm_task_set_cookie(task, &cookie, 0))
		return remap_fail(err, -EIO, "%s: %s", name, *lib_log ? lib_log : "cannot be "
				  "started");
	r = task_run(task, name, "start it", err);
	wait_for_udev(cookie);
	return r;
}

/* A process that has the device open, for the message; a search like fuser's. */
static bool opened_by(dev_t rdev, char *who, size_t size)
{
	DIR *proc = opendir("/proc");
	const struct dirent *p, *f;
	bool found = false;

	while (proc && !found && (p = readdir(proc))) {
		char path[512], comm[64] = "?";
		DIR *fds;

		if (p->d_name[0] < '0' || p->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fd", p->d_name);
		fds = opendir(path);
		while (fds && !found && (f = readdir(fds))) {
			struct stat sb;

			found = !fstatat(dirfd(fds), f->d_name, &sb, 0) && S_ISBLK(sb.st_mode) &&
				sb.st_rdev == rdev;
		}
		if (fds)
			closedir(fds);
		if (!found)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", p->d_name);
		remap_read_file(path, comm, sizeof(comm));
		snprintf(who, size, "opened by process %s (%s)", p->d_name, comm);
	}
	if (proc)
		closedir(proc);
	return found;
}

int remap_dm_remove(const struct remap_target *t, struct remap_err *err)
{
	_cleanup_task_ struct dm_task *task = NULL;
	char what[PATH_MAX];
	const char *remedy;
	uint32_t cookie = 0;
	int r;

	if (remap_dev_users(t->rdev, what, sizeof(what), &remedy))
		return remap_fail(err, -EBUSY, "%s: %s (%s)", t->name, what, remedy);
	task = task_new(DM_DEVICE_REMOVE, t->name, err);
	if (!task)
		return -EIO;
	/* udev opens devices to look at them; that is over soon */
	if (!dm_task_retry_remove(task) || !dm_task_set_cookie(task, &cookie, 0))
		return remap_fail(err, -EIO, "%s: %s", t->name, *lib_log ? lib_log : "cannot be "
				  "stopped");
	r = task_run(task, t->name, "stop it", err);
	wait_for_udev(cookie);
	if (r == -EBUSY && opened_by(t->rdev, what, sizeof(what)))
		return remap_fail(err, r, "%s: %s (close it first)", t->name, what);
	if (r == -EBUSY)
		return remap_fail(err, r, "%s: in use (close what has it open first)", t->name);
	return r;
}

/* ---- messages ---- */

/* A message goes to the target that holds a sector of the device: where does the remap begin? */
static u64 begin_of(const char *name)
{
	_cleanup_task_ struct dm_task *task = NULL;
	u64 begin = 0, sectors;
	struct remap_err err;
	struct dm_info info;

	/* where this fails, the message does, and its error is the one to be told */
	if (!ask(DM_DEVICE_TABLE, name, "read its table", &info, &task, &err))
		remap_params(task, &begin, &sectors);
	return begin;
}

static int vmessage(const char *name, u64 begin, char **reply, struct remap_err *err,
		    const char *fmt, va_list ap) __attribute__((format(printf, 5, 0)));
static int vmessage(const char *name, u64 begin, char **reply, struct remap_err *err,
		    const char *fmt, va_list ap)
{
	_cleanup_task_ struct dm_task *task = task_new(DM_DEVICE_TARGET_MSG, name, err);
	_cleanup_free_ char *text = NULL;
	char doing[128];
	const char *got;
	int r;

	if (reply)
		*reply = NULL;
	if (!task)
		return -EIO;
	r = vasprintf(&text, fmt, ap);
	if (r < 0) {
		text = NULL;
		return remap_fail_errno(err, -ENOMEM, "%s", name);
	}
	if (!dm_task_set_sector(task, begin) || !dm_task_set_message(task, text))
		return remap_fail(err, -EIO, "%s: %s", name, *lib_log ? lib_log : "no message "
				  "possible");
	snprintf(doing, sizeof(doing), "%.100s", text);
	r = task_run(task, name, doing, err);
	if (r || !reply)
		return r;
	got = dm_task_get_message_response(task);
	if (got) {
		*reply = strdup(got);
		if (!*reply)
			return remap_fail_errno(err, -ENOMEM, "%s", name);
	}
	return 0;
}

int remap_dm_message(const char *name, char **reply, struct remap_err *err, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vmessage(name, begin_of(name), reply, err, fmt, ap);
	va_end(ap);
	return r;
}

static int message_at(const char *name, u64 begin, char **reply, struct remap_err *err,
		      const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static int message_at(const char *name, u64 begin, char **reply, struct remap_err *err,
		      const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vmessage(name, begin, reply, err, fmt, ap);
	va_end(ap);
	return r;
}

static int not_understood(const char *name, const char *line, struct remap_err *err)
{
	return remap_fail(err, -EPROTO, "%s: answer of the kernel module not understood: %.100s "
			  "(it is of another version than remapctl)", name, line ? line : "none");
}

int remap_dm_each_remap(const char *name, u64 from,
			int (*fn)(void *arg, u64 sector, u64 count, u64 slot, u64 lost), void *arg,
			struct remap_err *err)
{
	const u64 begin = begin_of(name);

	for (;;) {
		_cleanup_free_ char *reply = NULL;
		char *line, *save = NULL;
		u64 next = 0;
		bool more = false, end = false;
		int r = message_at(name, begin, &reply, err, "list %" PRIu64, from);

		if (r)
			return r;
		if (!reply)
			return not_understood(name, NULL, err);
		for (line = strtok_r(reply, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save)) {
			u64 sector, count, slot, lost;

			if (!strcmp(line, "end")) {
				end = true;
			} else if (sscanf(line, "next %" SCNu64, &next) == 1) {
				more = true;
			} else if (sscanf(line, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNx64,
					  &sector, &count, &slot, &lost) == 4) {
				r = fn(arg, sector, count, slot, lost);
				if (r)
					return r;
			} else {
				return not_understood(name, line, err);
			}
		}
		if (end)
			return 0;
		/* an answer that does not get on would keep us here for good */
		if (!more || next <= from)
			return not_understood(name, more ? "next" : "no end", err);
		from = next;
	}
}

int remap_dm_verify(const char *name, enum remap_replica_state state[REMAP_ZONES],
		    struct remap_err *err)
{
	static const char *const names[] = REMAP_REPLICA_STATE_NAMES;
	_cleanup_free_ char *reply = NULL;
	unsigned int seen = 0;
	char *line, *save = NULL;
	int r = remap_dm_message(name, &reply, err, "verify");

	if (r)
		return r;
	for (line = reply ? strtok_r(reply, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		unsigned int index, i;
		char word[16];

		if (sscanf(line, "%u %15s", &index, word) != 2 || index >= REMAP_ZONES)
			return not_understood(name, line, err);
		for (i = 0; i < REMAP_REPLICA_STATES && strcmp(word, names[i]); i++)
			;
		if (i == REMAP_REPLICA_STATES)
			return not_understood(name, line, err);
		state[index] = (enum remap_replica_state)i;
		seen |= 1U << index;
	}
	if (seen != (1U << REMAP_ZONES) - 1)
		return not_understood(name, "not all replicas", err);
	return 0;
}
