// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest of the bench: modules by finit_module(), disks by configfs, tables by the ioctls of
 * <linux/dm-ioctl.h>. See guest.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>
#include "guest.h"

#define NULLB	"/sys/kernel/config/nullb"

static int dm_control = -1;

static void vsay(const char *fmt, va_list ap)
{
	char line[512];
	int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);

	if (n < 0)
		return;
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)n + 1) < 0)
		return;
	tcdrain(STDOUT_FILENO);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}

void power_off(void)
{
	sync();
	reboot(RB_AUTOBOOT);	/* QEMU runs with -no-reboot */
	for (;;)
		pause();
}

void die(const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say("bench: failed: %s", text);
	power_off();
}

static void mount_fs(const char *type, const char *where)
{
	mkdir(where, 0755);
	/* the kernel may have mounted devtmpfs already */
	if (mount(type, where, type, 0, NULL) && errno != EBUSY)
		die("cannot mount %s: %s", type, strerror(errno));
}

static int is_module(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return dot && !strcmp(dot, ".ko");
}

static void load_modules(void)
{
	struct dirent **list;
	int i, n = scandir("/modules", &list, is_module, alphasort);

	if (n < 0)
		die("no /modules");
	for (i = 0; i < n; i++) {
		char path[300];
		/* null_blk makes no disk of its own accord then */
		const char *args = strstr(list[i]->d_name, "null_blk") ? "nr_devices=0" : "";
		int fd;

		snprintf(path, sizeof(path), "/modules/%s", list[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, args, 0))
			die("cannot load %s: %s", list[i]->d_name, strerror(errno));
		close(fd);
		free(list[i]);
	}
	free(list);
}

void guest_begin(void)
{
	mount_fs("devtmpfs", "/dev");
	mount_fs("sysfs", "/sys");
	load_modules();
	mount_fs("configfs", "/sys/kernel/config");
	dm_control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (dm_control < 0)
		die("no /dev/mapper/control: %s", strerror(errno));
}

static void put_attr(const char *value, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void put_attr(const char *value, const char *fmt, ...)
{
	char path[128];
	va_list ap;
	int fd;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		die("cannot write %s to %s: %s", value, path, strerror(errno));
	close(fd);
}

static void open_disk(struct disk *d, const char *node)
{
	char path[48];
	struct stat st;

	snprintf(path, sizeof(path), "/dev/%s", node);
	/* reads would cost more or less by what the clock says, for the node's time of access */
	d->fd = open(path, O_RDWR | O_DIRECT | O_NOATIME | O_CLOEXEC);
	if (d->fd < 0 || fstat(d->fd, &st))
		die("cannot open %s: %s", path, strerror(errno));
	snprintf(d->dev, sizeof(d->dev), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
}

void null_blk_create(struct disk *d, const char *name, uint64_t mib, int memory_backed)
{
	char text[32], node[32], path[96];
	ssize_t n;
	int fd;

	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(path, sizeof(path), NULLB "/%s", d->name);
	if (mkdir(path, 0755))
		die("cannot make %s: %s", path, strerror(errno));
	snprintf(text, sizeof(text), "%llu", (unsigned long long)mib);
	put_attr(text, "%s/size", path);
	put_attr("2", "%s/queue_mode", path);
	put_attr("0", "%s/irqmode", path);
	put_attr(memory_backed ? "1" : "0", "%s/memory_backed", path);
	put_attr("1", "%s/power", path);
	d->sectors = mib * 2048;

	/* up to 6.2 the kernel names the node by number */
	snprintf(node, sizeof(node), "%s", d->name);
	snprintf(path, sizeof(path), "/sys/block/%s", node);
	if (access(path, F_OK)) {
		snprintf(path, sizeof(path), NULLB "/%s/index", d->name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		if (n <= 0)
			die("null_blk %s has no number", d->name);
		close(fd);
		text[n] = '\0';
		snprintf(node, sizeof(node), "nullb%d", atoi(text));
	}
	put_attr("none", "/sys/block/%s/queue/scheduler", node);
	put_attr("0", "/sys/block/%s/queue/wbt_lat_usec", node);
	open_disk(d, node);
}

void null_blk_remove(struct disk *d)
{
	char path[96];

	close(d->fd);
	put_attr("0", NULLB "/%s/power", d->name);
	snprintf(path, sizeof(path), NULLB "/%s", d->name);
	if (rmdir(path))
		die("cannot remove %s: %s", path, strerror(errno));
}

/* One ioctl about the device @name; @size bytes, header and all. */
static void dm_ioctl(unsigned long request, struct dm_ioctl *io, size_t size, const char *name,
		     const char *what)
{
	io->version[0] = DM_VERSION_MAJOR;
	io->data_size = (uint32_t)size;
	io->data_start = sizeof(*io);
	memcpy(io->name, name, strlen(name) + 1);
	if (ioctl(dm_control, request, io))
		die("cannot %s device %s: %s", what, name, strerror(errno));
}

static void dm_load(const char *name, const struct segment *s, unsigned int n)
{
	size_t each = (sizeof(struct dm_target_spec) + sizeof(s->params) + 7) & ~7UL;
	size_t size = sizeof(struct dm_ioctl) + n * each;
	struct dm_ioctl *io = calloc(1, size);
	unsigned int i;

	if (!io)
		die("out of memory");
	for (i = 0; i < n; i++) {
		struct dm_target_spec *spec = (void *)((char *)(io + 1) + i * each);

		spec->sector_start = s[i].start;
		spec->length = s[i].sectors;
		spec->next = (uint32_t)each;
		snprintf(spec->target_type, sizeof(spec->target_type), "%s", s[i].type);
		memcpy(spec + 1, s[i].params, sizeof(s[i].params));
	}
	io->target_count = n;
	dm_ioctl(DM_TABLE_LOAD, io, size, name, "load the table of");
	free(io);
}

void dm_create(struct disk *d, const char *name, const struct segment *s, unsigned int n)
{
	struct dm_ioctl io = { .flags = 0 };
	char node[16];

	snprintf(d->name, sizeof(d->name), "%s", name);
	dm_ioctl(DM_DEV_CREATE, &io, sizeof(io), name, "create");
	snprintf(node, sizeof(node), "dm-%u", minor((dev_t)io.dev));
	dm_load(name, s, n);
	io = (struct dm_ioctl) { .flags = 0 };
	dm_ioctl(DM_DEV_SUSPEND, &io, sizeof(io), name, "resume");
	d->sectors = s[n - 1].start + s[n - 1].sectors;
	open_disk(d, node);
}

void dm_remove(struct disk *d)
{
	struct dm_ioctl io = { .flags = 0 };

	close(d->fd);
	dm_ioctl(DM_DEV_REMOVE, &io, sizeof(io), d->name, "remove");
}

void dm_linear(struct disk *d, const char *name, const struct disk *below)
{
	struct segment s = { .sectors = below->sectors, .type = "linear" };

	snprintf(s.params, sizeof(s.params), "%s 0", below->dev);
	dm_create(d, name, &s, 1);
}
