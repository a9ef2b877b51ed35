// SPDX-License-Identifier: GPL-2.0-only
/*
 * Block devices: what one is, who uses it, what is on it, how to know it again; see device.h.
 *
 * Facts come from the kernel (ioctls, sysfs, /proc) wherever it has them, because they are then
 * the same in an initramfs without udev; udev is asked for what only it knows.
 */
#include <blkid/blkid.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libudev.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "device.h"
#include "spare.h"
#include "text.h"

#define MAX_DISKS	64	/* disks under one stack of dm and md that are compared */
#define MAX_DEPTH	8

static void cleanup_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static void cleanup_probe(blkid_probe *pr)
{
	blkid_free_probe(*pr);
}

#define _cleanup_closedir_	__attribute__((cleanup(cleanup_closedir)))
#define _cleanup_probe_		__attribute__((cleanup(cleanup_probe)))

/* ---- sysfs ---- */

static void sys_path(dev_t rdev, const char *file, char *path, size_t size)
{
	snprintf(path, size, "/sys/dev/block/%u:%u/%s", major(rdev), minor(rdev), file);
}

static int sys_read(dev_t rdev, const char *file, char *buf, size_t size)
{
	char path[PATH_MAX];

	sys_path(rdev, file, path, sizeof(path));
	return remap_read_file(path, buf, size);
}

static int parse_devno(const char *text, dev_t *rdev)
{
	unsigned int ma, mi;

	if (sscanf(text, "%u:%u", &ma, &mi) != 2)
		return -EINVAL;
	*rdev = makedev(ma, mi);
	return 0;
}

static int sys_devno(const char *dir, const char *name, dev_t *rdev)
{
	char path[PATH_MAX], line[64];

	if (snprintf(path, sizeof(path), "%s/%s/dev", dir, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return remap_read_file(path, line, sizeof(line)) > 0 ? parse_devno(line, rdev) : -ENOENT;
}

static bool is_partition(dev_t rdev)
{
	char path[PATH_MAX];

	sys_path(rdev, "partition", path, sizeof(path));
	return !access(path, F_OK);
}

/* The disk of a partition; any other device is its own. */
static dev_t whole_disk(dev_t rdev)
{
	char path[PATH_MAX];
	dev_t disk;

	if (!is_partition(rdev))
		return rdev;
	sys_path(rdev, "..", path, sizeof(path));
	return sys_devno(path, "", &disk) ? rdev : disk;
}

/* Call @fn for each device in a folder of sysfs that has links or folders with a file dev. */
static bool each_in(dev_t rdev, const char *folder, const char *must_have,
		    bool (*fn)(void *arg, dev_t rdev), void *arg)
{
	char path[PATH_MAX], file[PATH_MAX];
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *d;
	dev_t other;

	sys_path(rdev, folder, path, sizeof(path));
	dir = opendir(path);
	if (!dir)
		return false;
	while ((d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		if (must_have && (snprintf(file, sizeof(file), "%s/%s/%s", path, d->d_name,
					   must_have) >= (int)sizeof(file) || access(file, F_OK)))
			continue;
		if (!sys_devno(path, d->d_name, &other) && fn(arg, other))
			return true;
	}
	return false;
}

void remap_dev_path(dev_t rdev, char *path, size_t size)
{
	char file[PATH_MAX], line[512];
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, size, "%u:%u", major(rdev), minor(rdev));
	sys_path(rdev, "uevent", file, sizeof(file));
	f = fopen(file, "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "DEVNAME=", 8))
			snprintf(path, size, "/dev/%s", line + 8);
	}
}

/* ---- a device ---- */

static int changed(const char *path, struct remap_err *err)
{
	return remap_fail(err, -ESTALE, "%s: has become another device just now (try again)", path);
}

int remap_dev_fd(const struct remap_dev *dev, int flags, struct remap_err *err)
{
	int r, fd = open(dev->path, flags | O_CLOEXEC);
	struct stat sb;

	if (fd < 0)
		return remap_fail_errno(err, -errno, "%s", dev->path);
	if (!fstat(fd, &sb) && S_ISBLK(sb.st_mode) && sb.st_rdev == dev->rdev)
		return fd;
	r = changed(dev->path, err);
	close(fd);
	return r;
}

int remap_dev_open(const char *path, struct remap_dev *dev, struct remap_err *err)
{
	_cleanup_close_ int fd = -1;
	int logical = 0, ro = 0;
	unsigned int physical = 0, zone = 0;
	u64 bytes = 0;
	struct stat sb, opened;

	memset(dev, 0, sizeof(*dev));
	if (strlen(path) >= sizeof(dev->path))
		return remap_fail(err, -ENAMETOOLONG, "%.80s...: name too long", path);
	snprintf(dev->path, sizeof(dev->path), "%s", path);
	if (stat(path, &sb))
		return remap_fail_errno(err, -errno, "%s", path);
	if (!S_ISBLK(sb.st_mode))
		return remap_fail(err, -ENOTBLK, "%s: not a block device%s", path,
				  S_ISREG(sb.st_mode) ? " (losetup makes one of a file)" : "");
	dev->rdev = sb.st_rdev;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &opened))
		return remap_fail_errno(err, -errno, "%s", path);
	if (!S_ISBLK(opened.st_mode) || opened.st_rdev != dev->rdev)
		return changed(path, err);
	if (ioctl(fd, BLKGETSIZE64, &bytes) || ioctl(fd, BLKSSZGET, &logical) ||
	    ioctl(fd, BLKPBSZGET, &physical) || ioctl(fd, BLKROGET, &ro))
		return remap_fail_errno(err, -errno, "%s", path);
	dev->sectors = bytes >> 9;
	dev->logical = (u32)logical;
	dev->physical = physical < (u32)logical ? (u32)logical : physical;
	dev->read_only = ro;
	dev->zoned = !ioctl(fd, BLKGETZONESZ, &zone) && zone;
	return 0;
}

int remap_dev_each(void (*fn)(void *arg, const struct remap_dev *dev), void *arg,
		   struct remap_err *err)
{
	_cleanup_closedir_ DIR *dir = opendir("/sys/class/block");
	const struct dirent *d;

	if (!dir)
		return remap_fail_errno(err, -errno, "/sys/class/block");
	while ((d = readdir(dir))) {
		struct remap_dev dev;
		char path[PATH_MAX], *p;
		uint64_t sectors;

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/class/block/%s/size", d->d_name);
		/* an empty drive would be asked for its medium, and take its time to answer */
		if (remap_read_u64(path, &sectors) || !sectors)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", d->d_name);
		while ((p = strchr(path, '!')))
			*p = '/';	/* how sysfs writes cciss/c0d0 */
		if (!remap_dev_open(path, &dev, NULL))
			fn(arg, &dev);
	}
	return 0;
}

/* ---- who uses it ---- */

/* Undo the octal escapes that /proc/self/mountinfo and /proc/swaps use. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

static bool path_is_device(const char *path, dev_t rdev)
{
	struct stat sb;

	return path[0] == '/' && !stat(path, &sb) && S_ISBLK(sb.st_mode) && sb.st_rdev == rdev;
}

static bool mounted_on(dev_t rdev, char *where, size_t size)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0) {
		char *save = NULL, *word, *devno = NULL, *point = NULL, *source = NULL;
		int behind = -1;	/* words after the separator "-" */
		dev_t found;

		word = strtok_r(line, " \n", &save);
		for (int i = 0; word; i++, word = strtok_r(NULL, " \n", &save)) {
			if (i == 2)
				devno = word;
			else if (i == 4)
				point = word;
			else if (behind < 0 && i > 5 && !strcmp(word, "-"))
				behind = 0;
			else if (behind >= 0 && ++behind == 2)
				source = word;
		}
		if (!devno || !point || parse_devno(devno, &found))
			continue;
		if (source)
			unescape(source);
		/* btrfs and others have a device number of their own, and name one of theirs */
		if (found != rdev && !(major(found) == 0 && source && path_is_device(source, rdev)))
			continue;
		unescape(point);
		remap_text_clean(where, size, point);
		return true;
	}
	return false;
}

static bool is_swap(dev_t rdev)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/swaps", "re");
	_cleanup_free_ char *line = NULL;
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0) {
		line[strcspn(line, " \t\n")] = 0;
		unescape(line);
		if (path_is_device(line, rdev))
			return true;
	}
	return false;
}

static bool first_of(void *arg, dev_t rdev)
{
	*(dev_t *)arg = rdev;
	return true;
}

static void holder_name(dev_t rdev, char *name, size_t size)
{
	char dm[256];

	if (sys_read(rdev, "dm/name", dm, sizeof(dm)) > 0)
		snprintf(name, size, "device-mapper device %s", dm);
	else
		remap_dev_path(rdev, name, size);
}

bool remap_dev_users(dev_t rdev, char *what, size_t size, const char **remedy)
{
	char name[PATH_MAX];
	dev_t holder;

	if (mounted_on(rdev, name, sizeof(name))) {
		snprintf(what, size, "mounted on %s", name);
		*remedy = "unmount it first";
	} else if (is_swap(rdev)) {
		snprintf(what, size, "used as swap");
		*remedy = "swapoff it first";
	} else if (each_in(rdev, "holders", NULL, first_of, &holder)) {
		holder_name(holder, name, sizeof(name));
		snprintf(what, size, "in use by %s", name);
		*remedy = "stop or remove that first";
	} else {
		return false;
	}
	return true;
}

struct asking {
	const struct remap_dev *dev;
	const char *how;		/* it is related to the device that was asked for */
	struct remap_err *err;
};

static bool used_part(void *arg, dev_t rdev)
{
	const struct asking *a = arg;
	char what[PATH_MAX], path[PATH_MAX];
	const char *remedy;

	if (!remap_dev_users(rdev, what, sizeof(what), &remedy))
		return false;
	remap_dev_path(rdev, path, sizeof(path));
	remap_fail(a->err, -EBUSY, "%s: %s %s is %s (%s)", a->dev->path, a->how, path, what,
		   remedy);
	return true;
}

int remap_dev_claim(const struct remap_dev *dev, struct remap_err *err)
{
	struct asking a = { .dev = dev, .how = "its partition", .err = err };
	dev_t disk = whole_disk(dev->rdev);
	char what[PATH_MAX];
	const char *remedy;
	int fd;

	if (remap_dev_users(dev->rdev, what, sizeof(what), &remedy))
		return remap_fail(err, -EBUSY, "%s: %s (%s)", dev->path, what, remedy);
	if (disk == dev->rdev && each_in(disk, "", "partition", used_part, &a))
		return -EBUSY;
	a.how = "its disk";
	if (disk != dev->rdev && used_part(&a, disk))
		return -EBUSY;
	fd = remap_dev_fd(dev, O_RDONLY | O_EXCL, err);
	if (fd == -EBUSY)
		return remap_fail(err, -EBUSY, "%s: in use by another program or the kernel "
				  "(stop that first)", dev->path);
	return fd;
}

int remap_dev_free_for_use(const struct remap_dev *dev, struct remap_err *err)
{
	_cleanup_close_ int fd = remap_dev_claim(dev, err);

	return fd < 0 ? fd : 0;
}

/* ---- relations ---- */

/* A run of bytes, as far down as that is plain: of a file, or of a disk, which may be dm or md. */
struct place {
	dev_t dev;		/* the disk, or where the file is */
	u64 ino;		/* of the file; 0 for a disk */
	u64 start, bytes;
};

static int read_sectors(dev_t rdev, const char *file, u64 *bytes)
{
	char path[PATH_MAX];
	uint64_t sectors;
	int r;

	sys_path(rdev, file, path, sizeof(path));
	r = remap_read_u64(path, &sectors);
	*bytes = r ? 0 : sectors << 9;
	return r;
}

static int below_partition(struct place *p)
{
	dev_t disk = whole_disk(p->dev);
	u64 start;

	if (disk == p->dev || read_sectors(p->dev, "start", &start))
		return -ENOENT;
	p->start += start;
	p->dev = disk;
	return 0;
}

int remap_dev_disk(dev_t rdev, dev_t *disk, u64 *start, bool *requests)
{
	struct place p = { .dev = rdev };
	char path[PATH_MAX];

	if (is_partition(rdev) && below_partition(&p))
		return -ENODEV;
	sys_path(p.dev, "queue", path, sizeof(path));
	if (access(path, F_OK))
		return -ENODEV;
	*disk = p.dev;
	*start = p.start >> 9;
	sys_path(p.dev, "mq", path, sizeof(path));
	*requests = !access(path, F_OK);
	return 0;
}

/* By the file itself: its name may have changed, and be another one in another mount namespace. */
static int below_loop(struct place *p)
{
	struct loop_info64 info;
	struct remap_dev dev = { .rdev = p->dev };
	_cleanup_close_ int fd = -1;

	remap_dev_path(p->dev, dev.path, sizeof(dev.path));
	fd = remap_dev_fd(&dev, O_RDONLY | O_NONBLOCK, NULL);
	if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &info))
		return -ENOENT;
	p->start += info.lo_offset;
	if (!info.lo_rdevice) {		/* no device itself, but a file on one */
		p->dev = (dev_t)info.lo_device;
		p->ino = info.lo_inode;
	} else {
		p->dev = (dev_t)info.lo_rdevice;
	}
	return 0;
}

static int locate(dev_t rdev, struct place *p)
{
	char path[PATH_MAX];
	int r = 0;

	*p = (struct place){ .dev = rdev };
	sys_path(rdev, "dev", path, sizeof(path));
	if (access(path, F_OK) || read_sectors(rdev, "size", &p->bytes))
		return -ENOENT;
	for (int depth = 0; !r && !p->ino && depth < MAX_DEPTH; depth++) {
		sys_path(p->dev, "loop", path, sizeof(path));
		if (is_partition(p->dev))
			r = below_partition(p);
		else if (!access(path, F_OK))
			r = below_loop(p);
		else
			break;
	}
	return r;
}

/* Host, channel and target of a SCSI disk, and its LUN. */
static bool scsi_address(dev_t disk, char *target, size_t size, char *lun, size_t lun_size)
{
	char path[PATH_MAX], link[PATH_MAX];
	const char *colon, *name;
	ssize_t n;

	sys_path(disk, "device", path, sizeof(path));
	n = readlink(path, link, sizeof(link) - 1);
	if (n <= 0)
		return false;
	link[n] = 0;
	name = strrchr(link, '/') ? strrchr(link, '/') + 1 : link;
	colon = strrchr(name, ':');
	if (!colon)
		return false;
	snprintf(target, size, "%.*s", (int)(colon - name), name);
	snprintf(lun, lun_size, "%s", colon + 1);
	return true;
}

struct disk {
	dev_t dev;
	struct remap_identity id;
};

static void identity_of_disk(dev_t disk, struct remap_identity *id);

static void know_disk(struct disk *d, dev_t dev)
{
	d->dev = dev;
	identity_of_disk(dev, &d->id);
}

/*
 * One disk, or two paths to one logical unit? Bridges with several drives are known to give all of
 * them one name: units that a single target numbers differently are not the same, nor are those
 * whose serial numbers differ.
 */
static bool same_disk(const struct disk *a, const struct disk *b)
{
	char target[2][64], lun[2][64];

	if (a->dev == b->dev)
		return true;
	if (!*a->id.wwn || strcmp(a->id.wwn, b->id.wwn) ||
	    (*a->id.serial && *b->id.serial && strcmp(a->id.serial, b->id.serial)))
		return false;
	return !(scsi_address(a->dev, target[0], sizeof(target[0]), lun[0], sizeof(lun[0])) &&
		 scsi_address(b->dev, target[1], sizeof(target[1]), lun[1], sizeof(lun[1])) &&
		 !strcmp(target[0], target[1]) && strcmp(lun[0], lun[1]));
}

/* Do two places lie in one file, or on one disk? */
static bool same_ground(const struct place *a, const struct place *b)
{
	struct disk x, y;

	if (a->ino || b->ino)
		return a->ino == b->ino && a->dev == b->dev;
	know_disk(&x, a->dev);
	know_disk(&y, b->dev);
	return same_disk(&x, &y);
}

struct disks {
	struct disk disk[MAX_DISKS];
	unsigned int n;
	int depth;
};

static bool collect_disks(void *arg, dev_t rdev)
{
	struct disks *d = arg;
	struct place p;
	dev_t below;

	if (locate(rdev, &p))
		p = (struct place){ .dev = rdev };
	d->depth++;
	if (d->depth <= MAX_DEPTH && p.ino && major(p.dev))
		collect_disks(d, p.dev);
	else if (d->depth <= MAX_DEPTH && each_in(p.dev, "slaves", NULL, first_of, &below))
		each_in(p.dev, "slaves", NULL, collect_disks, d);
	else if (d->n < MAX_DISKS)
		know_disk(&d->disk[d->n++], p.dev);
	d->depth--;
	return false;
}

enum remap_relation remap_dev_relation(const struct remap_dev *a, const struct remap_dev *b)
{
	struct disks x, y;
	struct place p, q;

	if (a->rdev == b->rdev)
		return REMAP_IDENTICAL;
	if (locate(a->rdev, &p) || locate(b->rdev, &q))
		return REMAP_UNKNOWN;
	if (same_ground(&p, &q)) {
		if (p.start == q.start && p.bytes == q.bytes)
			return REMAP_IDENTICAL;
		return p.start < q.start + q.bytes && q.start < p.start + p.bytes ?
		       REMAP_OVERLAP : REMAP_SAME_DISK;
	}
	x.n = y.n = 0;
	x.depth = y.depth = 0;
	collect_disks(&x, a->rdev);
	collect_disks(&y, b->rdev);
	for (unsigned int i = 0; i < x.n; i++)
		for (unsigned int j = 0; j < y.n; j++)
			if (same_disk(&x.disk[i], &y.disk[j]))
				return REMAP_SAME_DISK;
	return REMAP_DISTINCT;
}

/* ---- signatures ---- */

static const char *probed(blkid_probe pr, const char *name)
{
	const char *value = NULL;

	return blkid_probe_lookup_value(pr, name, &value, NULL) ? NULL : value;
}

static blkid_probe new_probe(int fd)
{
	blkid_probe pr = blkid_new_probe();

	if (pr && blkid_probe_set_device(pr, fd, 0, 0)) {
		blkid_free_probe(pr);
		pr = NULL;
	}
	if (pr) {
		blkid_probe_enable_superblocks(pr, 1);
		blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
						  BLKID_SUBLKS_UUID | BLKID_SUBLKS_LABEL |
						  BLKID_SUBLKS_MAGIC);
		blkid_probe_enable_partitions(pr, 1);
		blkid_probe_set_partitions_flags(pr, BLKID_PARTS_MAGIC);
	}
	return pr;
}

static void describe_probe(blkid_probe pr, char *what, size_t size)
{
	const char *type = probed(pr, "TYPE"), *usage = probed(pr, "USAGE");
	const char *label = probed(pr, "LABEL"), *table = probed(pr, "PTTYPE");
	char clean[128];

	if (type) {
		remap_text_clean(clean, sizeof(clean), label ? label : "");
		snprintf(what, size, "%s %s %s%s%s%s", strchr("aeiou", *type) ? "an" : "a", type,
			 usage && !strcmp(usage, "filesystem") ? "file system" :
			 usage && !strcmp(usage, "raid") ? "RAID or volume group member" :
			 usage && !strcmp(usage, "crypto") ? "encryption header" : "signature",
			 *clean ? ", label " : "", clean, table ? ", partition table" : "");
	} else {
		snprintf(what, size, "a partition table (%s)", table ? table : "unknown");
	}
}

static u64 magic_at(blkid_probe pr)
{
	const char *at = probed(pr, probed(pr, "TYPE") ? "SBMAGIC_OFFSET" : "PTMAGIC_OFFSET");
	uint64_t byte;

	return at && remap_parse_u64(at, &byte) ? byte : REMAP_ANYWHERE;
}

/*
 * The next signature that is no business of the spare. Return: 0 found, 1 none, as libblkid has
 * it. *unreadable is set where some of them could not be looked for.
 */
static int next_foreign(blkid_probe pr, struct remap_store *st, const struct remap_spare *sp,
			u64 *at, bool *unreadable)
{
	for (;;) {
		int r = blkid_do_probe(pr);

		*unreadable |= r < 0;
		if (r > 0)
			return r;
		if (r < 0)
			continue;	/* with the next kind of signature */
		*at = magic_at(pr);
		if (!sp || *at == REMAP_ANYWHERE || !remap_spare_owns(st, sp, *at))
			return 0;
	}
}

static int cannot_read(const struct remap_store *st, struct remap_err *err)
{
	return remap_fail(err, -EIO, "%s: cannot be read to look for signatures (see the kernel "
			  "log)", st->name);
}

static int foreign_buffered(struct remap_store *st, const struct remap_spare *sp,
			    struct remap_signature *sig, struct remap_err *err)
{
	_cleanup_probe_ blkid_probe pr = new_probe(st->fd);
	bool unreadable = false;

	if (!pr)
		return remap_fail(err, -EIO, "%s: cannot be probed for signatures", st->name);
	/* the first that is found will do; several are no less a reason to stop */
	if (!next_foreign(pr, st, sp, &sig->at, &unreadable)) {
		describe_probe(pr, sig->what, sizeof(sig->what));
		return 1;
	}
	return unreadable ? cannot_read(st, err) : 0;
}

static int wipe_buffered(struct remap_store *st, const struct remap_spare *sp,
			 struct remap_signature *sig, struct remap_err *err)
{
	_cleanup_probe_ blkid_probe pr = new_probe(st->fd), again = NULL;
	bool unreadable = false;

	if (!pr)
		return remap_fail(err, -EIO, "%s: cannot be probed for signatures", st->name);
	while (!next_foreign(pr, st, sp, &sig->at, &unreadable))
		if (blkid_do_wipe(pr, 0))
			return remap_fail(err, -EIO, "%s: cannot wipe old signatures (see the "
					  "kernel log)", st->name);
	if (fsync(st->fd))
		return remap_fail_errno(err, -errno, "%s: cannot flush", st->name);
	if (unreadable)
		return cannot_read(st, err);
	again = new_probe(st->fd);
	if (!again || !next_foreign(again, st, sp, &sig->at, &unreadable))
		return remap_fail(err, -EIO, "%s: old signatures are still there after wiping "
				  "(wipefs -a removes them)", st->name);
	return 0;
}

/* libblkid reads and writes pieces that are no whole sectors, which O_DIRECT refuses. */
static int without_direct(struct remap_store *st, const struct remap_spare *sp,
			  struct remap_signature *sig, struct remap_err *err,
			  int (*fn)(struct remap_store *st, const struct remap_spare *sp,
				    struct remap_signature *sig, struct remap_err *err))
{
	int r, flags = fcntl(st->fd, F_GETFL);

	if (flags < 0 || fcntl(st->fd, F_SETFL, flags & ~O_DIRECT))
		return remap_fail_errno(err, -errno, "%s", st->name);
	r = fn(st, sp, sig, err);
	if (fcntl(st->fd, F_SETFL, flags) && r >= 0)
		r = remap_fail_errno(err, -errno, "%s", st->name);
	return r;
}

int remap_dev_foreign(struct remap_store *st, const struct remap_spare *sp,
		      struct remap_signature *sig, struct remap_err *err)
{
	return without_direct(st, sp, sig, err, foreign_buffered);
}

int remap_dev_wipe(struct remap_store *st, const struct remap_spare *sp, struct remap_err *err)
{
	struct remap_signature sig;

	return without_direct(st, sp, &sig, err, wipe_buffered);
}

/* Our own superblock: libblkid does not know it. */
static bool describe_spare(struct remap_store *st, char *what, size_t size)
{
	char uuid[REMAP_UUID_STR], label[REMAP_LABEL_LEN];
	struct remap_spare sp;

	if (!remap_spare_present(st))
		return false;
	if (!remap_spare_find(st, false, &sp, NULL)) {
		remap_uuid_str(sp.super.uuid, uuid);
		remap_text_clean(label, sizeof(label), sp.super.label);
		snprintf(what, size, "the metadata of a dm-remap spare, uuid %s%s%s", uuid,
			 *label ? ", label " : "", label);
	} else {
		snprintf(what, size, "the metadata of a dm-remap spare, damaged or of another "
			 "version");
	}
	return true;
}

int remap_dev_signature(struct remap_store *st, char *what, size_t size, struct remap_err *err)
{
	struct remap_signature sig;
	int found = remap_dev_foreign(st, NULL, &sig, err);
	char ours[200];
	bool spare;

	if (found < 0)
		return found;
	spare = describe_spare(st, ours, sizeof(ours));
	snprintf(what, size, "%s%s%s", found ? sig.what : "", found && spare ? " and " : "",
		 spare ? ours : "");
	return found || spare;
}

/* ---- identity ---- */

static void lower_hex(char *s)
{
	for (; *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

/* The WWN in one notation: SCSI and udev write 0x5000..., sysfs naa.5000... */
static void set_wwn(char *to, const char *from)
{
	char clean[REMAP_ID_LEN];

	remap_text_clean(clean, sizeof(clean), from);
	if (!strncasecmp(clean, "0x", 2))
		snprintf(to, REMAP_ID_LEN, "naa.%.120s", clean + 2);
	else
		snprintf(to, REMAP_ID_LEN, "%s", clean);
	if (!strncasecmp(to, "naa.", 4) || !strncasecmp(to, "eui.", 4))
		lower_hex(to);
}

/* Unit serial number from the vital product data: 4 bytes of header, then the number. */
static void read_vpd_serial(dev_t rdev, char *to)
{
	char path[PATH_MAX], text[REMAP_ID_LEN] = "";
	unsigned char page[260];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	sys_path(rdev, "device/vpd_pg80", path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, page, sizeof(page));
	if (n <= 4)
		return;
	n -= 4;
	if (n > page[3])
		n = page[3];
	if (n >= (ssize_t)sizeof(text))
		n = sizeof(text) - 1;
	memcpy(text, page + 4, (size_t)n);
	remap_text_clean(to, REMAP_ID_LEN, text);
}

static void identity_from_sysfs(dev_t disk, struct remap_identity *id)
{
	static const char *const wwn[] = { "wwid", "device/wwid" };
	static const char *const serial[] = { "serial", "device/serial" };
	char line[512];

	for (size_t i = 0; i < 2 && !*id->wwn; i++)
		if (sys_read(disk, wwn[i], line, sizeof(line)) > 0)
			set_wwn(id->wwn, line);
	/* volumes have no maker who gave them a name, but one that their manager did */
	if (!*id->wwn && sys_read(disk, "dm/uuid", line, sizeof(line)) > 0)
		snprintf(id->wwn, sizeof(id->wwn), "dm.%.120s", line);
	read_vpd_serial(disk, id->serial);
	for (size_t i = 0; i < 2 && !*id->serial; i++)
		if (sys_read(disk, serial[i], line, sizeof(line)) > 0)
			remap_text_clean(id->serial, sizeof(id->serial), line);
}

static void identity_from_udev(dev_t disk, struct remap_identity *id)
{
	static const char *const wwn[] = { "ID_WWN_WITH_EXTENSION", "ID_WWN" };
	static const char *const serial[] = { "ID_SCSI_SERIAL", "ID_SERIAL_SHORT" };
	struct udev *udev = udev_new();
	struct udev_device *d = udev ? udev_device_new_from_devnum(udev, 'b', disk) : NULL;
	const char *value;

	for (size_t i = 0; d && i < 2 && !*id->wwn; i++) {
		value = udev_device_get_property_value(d, wwn[i]);
		if (value)
			set_wwn(id->wwn, value);
	}
	value = d && !*id->wwn ? udev_device_get_property_value(d, "MD_UUID") : NULL;
	if (value)
		snprintf(id->wwn, sizeof(id->wwn), "md.%.120s", value);
	for (size_t i = 0; d && i < 2 && !*id->serial; i++) {
		value = udev_device_get_property_value(d, serial[i]);
		if (value)
			remap_text_clean(id->serial, sizeof(id->serial), value);
	}
	udev_device_unref(d);
	udev_unref(udev);
}

static void identity_from_content(const struct remap_dev *dev, struct remap_identity *id)
{
	_cleanup_close_ int fd = remap_dev_fd(dev, O_RDONLY, NULL);
	_cleanup_probe_ blkid_probe pr = fd < 0 ? NULL : new_probe(fd);
	const char *value;

	if (!pr)
		return;
	blkid_probe_set_partitions_flags(pr, BLKID_PARTS_ENTRY_DETAILS);
	/* "safe": an ambiguous result gives no name at all, rather than one by chance */
	if (blkid_do_safeprobe(pr))
		return;
	value = probed(pr, "UUID");
	if (value)
		remap_text_clean(id->fsuuid, sizeof(id->fsuuid), value);
	value = probed(pr, "PART_ENTRY_UUID");
	if (value)
		remap_text_clean(id->partuuid, sizeof(id->partuuid), value);
}

static void identity_of_disk(dev_t disk, struct remap_identity *id)
{
	memset(id, 0, sizeof(*id));
	identity_from_sysfs(disk, id);
	identity_from_udev(disk, id);
}

void remap_dev_identity(const struct remap_dev *dev, struct remap_identity *id)
{
	identity_of_disk(whole_disk(dev->rdev), id);
	identity_from_content(dev, id);
}

void remap_identity_from_super(struct remap_identity *id, const struct remap_super *s)
{
	remap_text_clean(id->wwn, sizeof(id->wwn), s->data_wwn);
	remap_text_clean(id->serial, sizeof(id->serial), s->data_serial);
	remap_text_clean(id->partuuid, sizeof(id->partuuid), s->data_partuuid);
	remap_text_clean(id->fsuuid, sizeof(id->fsuuid), s->data_fsuuid);
}

void remap_identity_to_super(struct remap_super *s, const struct remap_identity *id)
{
	memcpy(s->data_wwn, id->wwn, sizeof(s->data_wwn));
	memcpy(s->data_serial, id->serial, sizeof(s->data_serial));
	memcpy(s->data_partuuid, id->partuuid, sizeof(s->data_partuuid));
	memcpy(s->data_fsuuid, id->fsuuid, sizeof(s->data_fsuuid));
}

bool remap_identity_strong(const struct remap_identity *id)
{
	return *id->wwn || *id->serial || *id->partuuid;
}

bool remap_identity_empty(const struct remap_identity *id)
{
	return !remap_identity_strong(id) && !*id->fsuuid;
}

void remap_identity_str(const struct remap_identity *id, char *text, size_t size)
{
	const struct {
		const char *name, *value;
	} part[] = {
		{ "WWN", id->wwn },
		{ "serial", id->serial },
		{ "partition UUID", id->partuuid },
		{ "file system UUID", id->fsuuid },
	};
	size_t at = 0;

	snprintf(text, size, "nothing recorded");
	for (size_t i = 0; i < 4 && at < size; i++)
		if (*part[i].value)
			at += (size_t)snprintf(text + at, size - at, "%s%s %s", at ? ", " : "",
					       part[i].name, part[i].value);
}

/* 1 the same, -1 different, 0 not to be told */
static int compare(const char *recorded, const char *found)
{
	return !*recorded || !*found ? 0 : strcmp(recorded, found) ? -1 : 1;
}

bool remap_identity_equal(const struct remap_identity *a, const struct remap_identity *b)
{
	return !strcmp(a->wwn, b->wwn) && !strcmp(a->serial, b->serial) &&
	       !strcmp(a->partuuid, b->partuuid) && !strcmp(a->fsuuid, b->fsuuid);
}

bool remap_identity_shares(const struct remap_identity *a, const struct remap_identity *b)
{
	return compare(a->wwn, b->wwn) > 0 || compare(a->serial, b->serial) > 0 ||
	       compare(a->partuuid, b->partuuid) > 0 || compare(a->fsuuid, b->fsuuid) > 0;
}

enum remap_match remap_identity_match(const struct remap_identity *recorded,
				      const struct remap_identity *found, const char **which)
{
	int wwn = compare(recorded->wwn, found->wwn);
	int serial = compare(recorded->serial, found->serial);
	int part = compare(recorded->partuuid, found->partuuid);
	int fs = compare(recorded->fsuuid, found->fsuuid);

	*which = wwn < 0 ? "WWN" : serial < 0 ? "serial number" : part < 0 ? "partition UUID" :
		 "file system UUID";
	if (wwn < 0 || serial < 0 || part < 0)
		return REMAP_MATCH_NO;
	if (wwn > 0 || serial > 0 || part > 0)
		return REMAP_MATCH_YES;
	if (!fs)
		return REMAP_MATCH_NONE;
	return fs > 0 ? REMAP_MATCH_YES : REMAP_MATCH_FS_DIFFERS;
}

struct finding {
	const struct remap_super *super;
	struct remap_identity want;
	dev_t spare;
	struct remap_dev *dev;
	char other[64];			/* path of one more that fits */
	unsigned int found, unheld;
};

static void look_for(void *arg, const struct remap_dev *dev)
{
	struct finding *f = arg;
	struct remap_identity id;
	const char *which;
	dev_t holder;
	bool held;

	if (dev->sectors != f->super->data_sectors || dev->rdev == f->spare)
		return;
	remap_dev_identity(dev, &id);
	if (remap_identity_match(&f->want, &id, &which) != REMAP_MATCH_YES)
		return;
	/*
	 * A stack of devices may show one identity several times: the paths of a multipath device,
	 * what lies on top of a disk. Those that are held are not the one to take, if there is one
	 * that is not.
	 */
	held = each_in(dev->rdev, "holders", NULL, first_of, &holder);
	if (held && f->unheld)
		return;
	if (!held && !f->unheld++)
		f->found = 0;
	if (f->found++)
		snprintf(f->other, sizeof(f->other), "%.63s", f->dev->path);
	*f->dev = *dev;
}

int remap_dev_find(const struct remap_super *s, dev_t spare, struct remap_dev *dev,
		   struct remap_err *err)
{
	struct finding f = { .super = s, .spare = spare, .dev = dev };
	char text[REMAP_IDENTITY_STR];
	int r;

	remap_identity_from_super(&f.want, s);
	remap_identity_str(&f.want, text, sizeof(text));
	if (remap_identity_empty(&f.want))
		return remap_fail(err, -ENODATA, "data device: nothing was recorded to find it by "
				  "(name it with --data)");
	r = remap_dev_each(look_for, &f, err);
	if (r)
		return r;
	if (!f.found)
		return remap_fail(err, -ENODEV, "data device: none with %llu sectors and %s "
				  "(connect it, or name it with "
				  "--data)", (unsigned long long)s->data_sectors, text);
	if (f.found > 1)
		return remap_fail(err, -ENOTUNIQ, "data device: %.100s and %.100s both have %s "
				  "(name one with --data)", f.other, dev->path, text);
	return 0;
}
