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
#include <linux/fs.h>
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

int remap_dev_open(const char *path, struct remap_dev *dev, struct remap_err *err)
{
	_cleanup_close_ int fd = -1;
	int logical = 0, ro = 0;
	unsigned int physical = 0;
	u64 bytes = 0;
	struct stat sb;

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
	if (fd < 0)
		return remap_fail_errno(err, -errno, "%s", path);
	if (ioctl(fd, BLKGETSIZE64, &bytes) || ioctl(fd, BLKSSZGET, &logical) ||
	    ioctl(fd, BLKPBSZGET, &physical) || ioctl(fd, BLKROGET, &ro))
		return remap_fail_errno(err, -errno, "%s", path);
	dev->sectors = bytes >> 9;
	dev->logical = (u32)logical;
	dev->physical = physical < (u32)logical ? (u32)logical : physical;
	dev->read_only = ro;
	return 0;
}

int remap_dev_list(struct remap_dev **list, size_t *n, struct remap_err *err)
{
	_cleanup_closedir_ DIR *dir = opendir("/sys/class/block");
	const struct dirent *d;
	size_t room = 0;

	*list = NULL;
	*n = 0;
	if (!dir)
		return remap_fail_errno(err, -errno, "/sys/class/block");
	while ((d = readdir(dir))) {
		char path[PATH_MAX], *p;
		uint64_t sectors;

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/class/block/%s/size", d->d_name);
		/* an empty drive would be asked for its medium, and take its time to answer */
		if (remap_read_u64(path, &sectors) || !sectors)
			continue;
		if (*n == room) {
			struct remap_dev *more;

			room = room ? 2 * room : 16;
			more = realloc(*list, room * sizeof(*more));
			if (!more) {
				free(*list);
				*list = NULL;
				return remap_fail_errno(err, -ENOMEM, "list of devices");
			}
			*list = more;
		}
		snprintf(path, sizeof(path), "/dev/%s", d->d_name);
		while ((p = strchr(path, '!')))
			*p = '/';	/* how sysfs writes cciss/c0d0 */
		if (!remap_dev_open(path, &(*list)[*n], NULL))
			(*n)++;
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

int remap_dev_free_for_use(const struct remap_dev *dev, struct remap_err *err)
{
	struct asking a = { .dev = dev, .how = "its partition", .err = err };
	dev_t disk = whole_disk(dev->rdev);
	_cleanup_close_ int fd = -1;
	char what[PATH_MAX];
	const char *remedy;

	if (remap_dev_users(dev->rdev, what, sizeof(what), &remedy))
		return remap_fail(err, -EBUSY, "%s: %s (%s)", dev->path, what, remedy);
	if (disk == dev->rdev && each_in(disk, "", "partition", used_part, &a))
		return -EBUSY;
	a.how = "its disk";
	if (disk != dev->rdev && used_part(&a, disk))
		return -EBUSY;
	fd = open(dev->path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0 && errno == EBUSY)
		return remap_fail(err, -EBUSY, "%s: in use by another program or the kernel "
				  "(stop that first)", dev->path);
	if (fd < 0)
		return remap_fail_errno(err, -errno, "%s", dev->path);
	return 0;
}

/* ---- relations ---- */

struct disks {
	dev_t disk[MAX_DISKS];
	unsigned int n;
	int depth;
};

static bool collect_disks(void *arg, dev_t rdev)
{
	struct disks *d = arg;
	dev_t below;

	rdev = whole_disk(rdev);
	if (d->depth < MAX_DEPTH && each_in(rdev, "slaves", NULL, first_of, &below)) {
		d->depth++;
		each_in(rdev, "slaves", NULL, collect_disks, d);
		d->depth--;
	} else if (d->n < MAX_DISKS) {
		d->disk[d->n++] = rdev;
	}
	return false;
}

static bool overlap(dev_t a, dev_t b)
{
	uint64_t start_a, size_a, start_b, size_b;
	char path[PATH_MAX];

	if (whole_disk(a) != whole_disk(b))
		return false;
	if (!is_partition(a) || !is_partition(b))
		return true;	/* one of them is the disk itself */
	sys_path(a, "start", path, sizeof(path));
	if (remap_read_u64(path, &start_a))
		return true;
	sys_path(a, "size", path, sizeof(path));
	if (remap_read_u64(path, &size_a))
		return true;
	sys_path(b, "start", path, sizeof(path));
	if (remap_read_u64(path, &start_b))
		return true;
	sys_path(b, "size", path, sizeof(path));
	if (remap_read_u64(path, &size_b))
		return true;
	return start_a < start_b + size_b && start_b < start_a + size_a;
}

enum remap_relation remap_dev_relation(const struct remap_dev *a, const struct remap_dev *b)
{
	struct disks x = { .n = 0 }, y = { .n = 0 };

	if (a->rdev == b->rdev)
		return REMAP_IDENTICAL;
	if (overlap(a->rdev, b->rdev))
		return REMAP_OVERLAP;
	collect_disks(&x, a->rdev);
	collect_disks(&y, b->rdev);
	for (unsigned int i = 0; i < x.n; i++)
		for (unsigned int j = 0; j < y.n; j++)
			if (x.disk[i] == y.disk[j])
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

/* Our own superblock: libblkid does not know it. */
static bool describe_spare(const struct remap_dev *dev, char *what, size_t size)
{
	struct remap_store st;
	struct remap_spare sp;
	bool present;

	if (remap_store_open(&st, dev->path, false, NULL))
		return false;
	present = remap_spare_present(&st);
	if (present && !remap_spare_find(&st, false, &sp, NULL)) {
		char uuid[REMAP_UUID_STR], label[REMAP_LABEL_LEN];

		remap_uuid_str(sp.super.uuid, uuid);
		remap_text_clean(label, sizeof(label), sp.super.label);
		snprintf(what, size, "the metadata of a dm-remap spare, uuid %s%s%s", uuid,
			 *label ? ", label " : "", label);
	} else if (present) {
		snprintf(what, size, "the metadata of a dm-remap spare, damaged or of another "
			 "version");
	}
	remap_store_close(&st);
	return present;
}

int remap_dev_foreign(const struct remap_dev *dev, char *what, size_t size, struct remap_err *err)
{
	_cleanup_close_ int fd = open(dev->path, O_RDONLY | O_CLOEXEC);
	_cleanup_probe_ blkid_probe pr = NULL;
	int r;

	if (fd < 0)
		return remap_fail_errno(err, -errno, "%s", dev->path);
	pr = new_probe(fd);
	if (!pr)
		return remap_fail(err, -EIO, "%s: cannot be probed for signatures", dev->path);
	/* the first that is found will do; several are no less a reason to stop */
	r = blkid_do_probe(pr);
	if (r < 0)
		return remap_fail(err, -EIO, "%s: cannot be read to look for signatures (see the "
				  "kernel log)", dev->path);
	if (r)
		return 0;
	describe_probe(pr, what, size);
	return 1;
}

int remap_dev_signature(const struct remap_dev *dev, char *what, size_t size,
			struct remap_err *err)
{
	int found = remap_dev_foreign(dev, what, size, err);
	size_t at = found > 0 ? strlen(what) : 0;
	char ours[200];

	if (found < 0 || !describe_spare(dev, ours, sizeof(ours)))
		return found;
	snprintf(what + at, size - at, "%s%s", at ? " and " : "", ours);
	return 1;
}

static int wipe_buffered(int fd, const char *path, struct remap_err *err)
{
	_cleanup_probe_ blkid_probe pr = new_probe(fd), again = NULL;
	int r;

	if (!pr)
		return remap_fail(err, -EIO, "%s: cannot be probed for signatures", path);
	while (!(r = blkid_do_probe(pr)))
		if (blkid_do_wipe(pr, 0))
			return remap_fail(err, -EIO, "%s: cannot wipe old signatures (see the "
					  "kernel log)", path);
	if (r < 0)
		return remap_fail(err, -EIO, "%s: cannot be read to look for signatures (see the "
				  "kernel log)", path);
	if (fsync(fd))
		return remap_fail_errno(err, -errno, "%s: cannot flush", path);
	again = new_probe(fd);
	if (!again || blkid_do_probe(again) != 1)
		return remap_fail(err, -EIO, "%s: old signatures are still there after wiping "
				  "(wipefs -a removes them)", path);
	return 0;
}

int remap_dev_wipe(int fd, const char *path, struct remap_err *err)
{
	int r, flags = fcntl(fd, F_GETFL);

	/* libblkid reads and writes pieces that are no whole sectors, which O_DIRECT refuses */
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_DIRECT))
		return remap_fail_errno(err, -errno, "%s", path);
	r = wipe_buffered(fd, path, err);
	if (fcntl(fd, F_SETFL, flags) && !r)
		r = remap_fail_errno(err, -errno, "%s", path);
	return r;
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
	_cleanup_close_ int fd = open(dev->path, O_RDONLY | O_CLOEXEC);
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

void remap_dev_identity(const struct remap_dev *dev, struct remap_identity *id)
{
	dev_t disk = whole_disk(dev->rdev);

	memset(id, 0, sizeof(*id));
	identity_from_sysfs(disk, id);
	identity_from_udev(disk, id);
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

int remap_dev_find(const struct remap_super *s, dev_t spare, struct remap_dev *dev,
		   struct remap_err *err)
{
	_cleanup_free_ struct remap_dev *list = NULL;
	struct remap_identity want, id;
	size_t n, found = 0, free_ones = 0;
	struct remap_dev other = { .sectors = 0 };
	char text[2 * REMAP_ID_LEN];
	const char *which;
	int r;

	remap_identity_from_super(&want, s);
	remap_identity_str(&want, text, sizeof(text));
	if (remap_identity_empty(&want))
		return remap_fail(err, -ENODATA, "data device: nothing was recorded to find it by "
				  "(name it with --data)");
	r = remap_dev_list(&list, &n, err);
	if (r)
		return r;
	for (size_t i = 0; i < n; i++) {
		dev_t holder;
		bool held;

		if (list[i].sectors != s->data_sectors || list[i].rdev == spare)
			continue;
		remap_dev_identity(&list[i], &id);
		if (remap_identity_match(&want, &id, &which) != REMAP_MATCH_YES)
			continue;
		/*
		 * A stack of devices may show one identity several times: the paths of a multipath
		 * device, what lies on top of a disk. Those that are held are not the one to take,
		 * if there is one that is not.
		 */
		held = each_in(list[i].rdev, "holders", NULL, first_of, &holder);
		if (held && free_ones)
			continue;
		if (!held && !free_ones++)
			found = 0;
		if (found++)
			other = *dev;
		*dev = list[i];
	}
	if (!found)
		return remap_fail(err, -ENODEV, "data device: none with %llu sectors and %s "
				  "(connect it, or name it with "
				  "--data)", (unsigned long long)s->data_sectors, text);
	if (found > 1)
		return remap_fail(err, -ENOTUNIQ, "data device: %.100s and %.100s both have %s "
				  "(name one with --data)", other.path, dev->path, text);
	return 0;
}
