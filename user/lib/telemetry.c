// SPDX-License-Identifier: GPL-2.0-only
/*
 * Telemetry, from user space: see telemetry.h here and in include/remap/.
 *
 * The table of areas lies in memory that the programs read at any time. It is changed in an order
 * that leaves no moment in which they could meet half an entry, and an entry that was unlinked is
 * used again only after quiesce().
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "device.h"
#include "telemetry.h"
#include "telemetry.skel.h"
#include "text.h"

#define MOST_EVENTS	((int)(TELEMETRY_RING_BYTES / sizeof(struct telemetry_event)))
#define SLOW_DISK	1000000000ULL	/* ns */
#define SLOW_OTHERS	200000000ULL
#define BPFFS_MAGIC	0xcafe4a11	/* linux/magic.h: BPF_FS_MAGIC */

struct remap_telemetry {
	struct telemetry_bpf *skel;	/* NULL: others have loaded it */
	struct ring_buffer *ring;
	struct telemetry_watch *watch;
	struct telemetry_row *rows;
	struct telemetry_surface *surfaces;
	unsigned int cpus;
	u32 last_id;
	remap_event_fn *fn;		/* while events are taken */
	void *arg;
	int taken;
	char libbpf[256];		/* what it complained of last */
};

/* Maps that readers need, by the names under which they are pinned. */
static const char * const pinned[] = { "watch", "rows", "surfaces" };

static size_t map_bytes(unsigned int map, unsigned int cpus)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t n = map == 0 ? sizeof(struct telemetry_watch) :
		   map == 1 ? sizeof(struct telemetry_row) * TELEMETRY_AREAS * cpus :
		   sizeof(struct telemetry_surface) * TELEMETRY_AREAS;

	return (n + page - 1) / page * page;
}

static int set_cpus(struct remap_telemetry *t, struct remap_err *err)
{
	int n = libbpf_num_possible_cpus();

	if (n < 0)
		return remap_fail_errno(err, n, "cannot tell how many CPUs there may be");
	t->cpus = (unsigned int)n;
	return 0;
}

/* ---- loading ---- */

/* libbpf has one log for all. */
static struct remap_telemetry *loading;

static int keep_log(enum libbpf_print_level level, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
static int keep_log(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && loading) {
		vsnprintf(loading->libbpf, sizeof(loading->libbpf), format, args);
		loading->libbpf[strcspn(loading->libbpf, "\n")] = 0;
	}
	return 0;
}

static int fail_load(struct remap_telemetry *t, int code, struct remap_err *err)
{
	const char *said = t->libbpf;

	if (!strncmp(said, "libbpf: ", 8))
		said += 8;
	if (code == -EPERM)	/* -EACCES is the verifier's */
		return remap_fail(err, code, "cannot load the BPF programs: %s (run as root, or "
				  "with CAP_BPF and CAP_PERFMON)", strerror(-code));
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		return remap_fail(err, -EOPNOTSUPP, "cannot load the BPF programs: the kernel has "
				  "no BTF (CONFIG_DEBUG_INFO_BTF)");
	return remap_fail(err, code, "cannot load the BPF programs: %s%s%s%s", strerror(-code),
			  *said ? " (" : "", said, *said ? ")" : "");
}

static int map_all(struct remap_telemetry *t, const int fd[3], int prot, struct remap_err *err)
{
	void *p[3];

	for (unsigned int i = 0; i < 3; i++) {
		p[i] = mmap(NULL, map_bytes(i, t->cpus), prot, MAP_SHARED, fd[i], 0);
		if (p[i] == MAP_FAILED) {
			int code = -errno;

			while (i--)
				munmap(p[i], map_bytes(i, t->cpus));
			return remap_fail_errno(err, code, "cannot map the BPF programs' memory");
		}
	}
	t->watch = p[0];
	t->rows = p[1];
	t->surfaces = p[2];
	return 0;
}

static int on_event(void *ctx, void *data, size_t size)
{
	struct remap_telemetry *t = ctx;

	(void)size;
	t->fn(t->arg, data);
	/* where they come faster than they are taken there would be no end */
	return ++t->taken < MOST_EVENTS ? 0 : -ECANCELED;
}

/* Programs that run now have ended. */
static void quiesce(void)
{
	/* as good as synchronize_rcu(), and refused only where CPUs run without a tick */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		usleep(20000);
}

/* May programs remember where the areas of a disk begin? See KNOWN in remap/telemetry.h. */
static void learn(struct remap_telemetry *t, bool on)
{
	struct telemetry_watch *w = t->watch;

	if (t->skel->links.disk_added)
		__atomic_store_n(&w->learn, on, __ATOMIC_RELEASE);
}

static void stop_learning(struct remap_telemetry *t)
{
	learn(t, false);
	quiesce();
}

static void forget(struct remap_telemetry *t)
{
	for (size_t i = 0; i < sizeof(t->watch->known) / sizeof(*t->watch->known); i++)
		__atomic_store_n(&t->watch->known[i], 0, __ATOMIC_RELAXED);
}

/* @forgets: with the program without which nothing is remembered. */
static int load_programs(struct remap_telemetry *t, bool forgets)
{
	int r;

	t->skel = telemetry_bpf__open();
	if (!t->skel)
		return -errno;
	t->skel->rodata->cpus = t->cpus;
	bpf_program__set_autoload(t->skel->progs.disk_added, forgets);
	r = bpf_map__set_max_entries(t->skel->maps.rows, TELEMETRY_AREAS * t->cpus);
	r = r ?: telemetry_bpf__load(t->skel);
	if (!r && forgets) {
		t->skel->links.disk_added = bpf_program__attach(t->skel->progs.disk_added);
		if (!t->skel->links.disk_added)
			r = -errno;
	}
	return r;
}

static int load(struct remap_telemetry *t, struct remap_err *err)
{
	int r = load_programs(t, true), fd[3];
	struct telemetry_bpf *s;

	if (r) {
		/* a kernel that lets nobody look into its functions: it only takes longer, then */
		telemetry_bpf__destroy(t->skel);
		r = load_programs(t, false);
	}
	if (r)
		return fail_load(t, r, err);
	s = t->skel;
	s->links.rq_complete = bpf_program__attach(s->progs.rq_complete);
	if (!s->links.rq_complete)
		return fail_load(t, -errno, err);
	t->ring = ring_buffer__new(bpf_map__fd(s->maps.events), on_event, t, NULL);
	if (!t->ring)
		return fail_load(t, -errno, err);
	fd[0] = bpf_map__fd(s->maps.data_watch);
	fd[1] = bpf_map__fd(s->maps.rows);
	fd[2] = bpf_map__fd(s->maps.surfaces);
	r = map_all(t, fd, PROT_READ | PROT_WRITE, err);
	if (!r)
		learn(t, true);
	return r;
}

int remap_telemetry_open(struct remap_telemetry **result, struct remap_err *err)
{
	struct remap_telemetry *t = calloc(1, sizeof(*t));
	libbpf_print_fn_t before;
	int r;

	if (!t)
		return remap_fail_errno(err, -ENOMEM, "telemetry");
	r = set_cpus(t, err);
	if (r) {
		free(t);
		return r;
	}
	loading = t;
	before = libbpf_set_print(keep_log);
	r = load(t, err);
	libbpf_set_print(before);
	loading = NULL;
	if (!r)
		r = remap_telemetry_attach(t, err);
	if (r < 0) {
		remap_telemetry_close(t);
		return r;
	}
	*result = t;
	return 0;
}

void remap_telemetry_close(struct remap_telemetry *t)
{
	if (!t)
		return;
	ring_buffer__free(t->ring);
	telemetry_bpf__destroy(t->skel);
	if (t->watch) {
		munmap(t->watch, map_bytes(0, t->cpus));
		munmap(t->rows, map_bytes(1, t->cpus));
		munmap(t->surfaces, map_bytes(2, t->cpus));
	}
	free(t);
}

/* ---- attaching ---- */

/* Programs and links of the target's tracepoints. */
#define REMAP_TRACEPOINTS(X) \
	X(relocate_begin) X(relocate_end) X(commit) X(state) X(lost) X(recovered)

int remap_telemetry_attach(struct remap_telemetry *t, struct remap_err *err)
{
	libbpf_print_fn_t before = libbpf_set_print(NULL);
	int r = 0;

#define ATTACH(name) \
	if (!r && !t->skel->links.name) { \
		t->skel->links.name = bpf_program__attach(t->skel->progs.name); \
		if (!t->skel->links.name) \
			r = -errno; \
	}
	REMAP_TRACEPOINTS(ATTACH)
#undef ATTACH
	libbpf_set_print(before);
	if (!r)
		return 1;
	remap_telemetry_detach(t);
	return r == -ENOENT ? 0 :
	       remap_fail_errno(err, r, "cannot attach to the tracepoints of dm-remap");
}

void remap_telemetry_detach(struct remap_telemetry *t)
{
#define DETACH(name) \
	bpf_link__destroy(t->skel->links.name); \
	t->skel->links.name = NULL;
	REMAP_TRACEPOINTS(DETACH)
#undef DETACH
}

/* What began and was not seen to end is forgotten, too. */
static void detach_bios(struct remap_telemetry *t)
{
	struct telemetry_bpf *s = t->skel;
	u64 bio;

	bpf_link__destroy(s->links.bio_queue);
	s->links.bio_queue = NULL;
	bpf_link__destroy(s->links.bio_complete);
	s->links.bio_complete = NULL;
	quiesce();
	while (!bpf_map__get_next_key(s->maps.in_flight, NULL, &bio, sizeof(bio)))
		if (bpf_map__delete_elem(s->maps.in_flight, &bio, sizeof(bio), 0))
			break;
}

/* Devices without requests: seldom enough that nobody else shall pay for them. */
static int attach_bios(struct remap_telemetry *t, struct remap_err *err)
{
	struct telemetry_bpf *s = t->skel;
	int r;

	/* the end first: else what had begun in between would stay among those in flight */
	if (!s->links.bio_complete)
		s->links.bio_complete = bpf_program__attach(s->progs.bio_complete);
	if (s->links.bio_complete && !s->links.bio_queue)
		s->links.bio_queue = bpf_program__attach(s->progs.bio_queue);
	if (s->links.bio_queue)
		return 0;
	r = -errno;
	detach_bios(t);
	return remap_fail_errno(err, r, "cannot attach to the tracepoints of bios");
}

/* ---- areas ---- */

static bool watches_bios(const struct remap_telemetry *t)
{
	for (u32 i = 0; i < TELEMETRY_AREAS; i++)
		if (t->watch->area[i].sectors && t->watch->area[i].bios)
			return true;
	return false;
}

static u32 kernel_dev(dev_t dev)
{
	return major(dev) << 20 | minor(dev);
}

u64 remap_region_start(const struct telemetry_area *a, unsigned int region)
{
	u64 s, first = (u64)region << TELEMETRY_REGION_SHIFT;

	if (!a->sectors || region >= TELEMETRY_REGIONS)
		return a->sectors;
	s = first / a->region_factor + !!(first % a->region_factor);
	return s < a->sectors ? s : a->sectors;
}

/* The link to the first area of a disk; it is 0 if there is none, and where one would be put. */
static __u16 *first_of(struct telemetry_watch *w, u32 disk)
{
	__u16 *link = &w->chain[TELEMETRY_HASH(disk)];

	while (*link && w->area[*link - 1].disk != disk)
		link = &w->area[*link - 1].next_disk;
	return link;
}

static void set_link(__u16 *link, u32 value)
{
	__atomic_store_n(link, (__u16)value, __ATOMIC_RELEASE);
}

static u64 threshold(u64 slow_ns)
{
	return slow_ns && slow_ns < TELEMETRY_LONGEST ? slow_ns : TELEMETRY_LONGEST;
}

int remap_telemetry_watch(struct remap_telemetry *t, dev_t dev, u64 start, u64 sectors,
			  u64 slow_ns, u32 *area, struct remap_err *err)
{
	struct telemetry_watch *w = t->watch;
	struct telemetry_area *a = NULL;
	__u16 *first;
	u64 at;
	dev_t disk;
	bool requests;
	u32 i;
	int r;

	if (!sectors)
		return remap_fail(err, -EINVAL, "no sectors to watch");
	if (remap_dev_disk(dev, &disk, &at, &requests))
		return remap_fail(err, -ENODEV, "device %u:%u is not there", major(dev),
				  minor(dev));
	at += start;
	for (i = 0; i < TELEMETRY_AREAS; i++) {
		struct telemetry_area *b = &w->area[i];

		if (!b->sectors) {
			a = a ?: b;
		} else if (b->disk == kernel_dev(disk) && at < b->start + b->sectors &&
			   b->start < at + sectors) {
			return remap_fail(err, -EBUSY, "sectors %llu to %llu of device %u:%u are "
					  "watched already", (unsigned long long)at,
					  (unsigned long long)(at + sectors - 1), major(disk),
					  minor(disk));
		}
	}
	if (!a)
		return remap_fail(err, -ENOSPC, "no more than %u devices can be watched",
				  TELEMETRY_AREAS);
	if (!requests) {
		r = attach_bios(t, err);
		if (r)
			return r;
	}
	first = first_of(w, kernel_dev(disk));
	i = (u32)(a - w->area);
	memset(&t->rows[i * t->cpus], 0, sizeof(*t->rows) * t->cpus);
	memset(&t->surfaces[i], 0, sizeof(*t->surfaces));
	*a = (struct telemetry_area){
		.start = at,
		.sectors = sectors,
		.slow_ns = threshold(slow_ns),
		.disk = kernel_dev(disk),
		.id = ++t->last_id,
		.bios = !requests,
		.region_factor = ~0ULL / sectors,
		.index = (__u16)i,
		.first_row = i * t->cpus,
	};
	if (*first) {
		a->next = w->area[*first - 1].next;
		set_link(&w->area[*first - 1].next, i + 1);
	} else {
		stop_learning(t);
		set_link(first, i + 1);
		forget(t);
		learn(t, true);
	}
	*area = i;
	return 0;
}

void remap_telemetry_set_slow(struct remap_telemetry *t, u32 area, u64 slow_ns)
{
	__atomic_store_n(&t->watch->area[area].slow_ns, threshold(slow_ns), __ATOMIC_RELAXED);
}

u64 remap_telemetry_usual_slow(dev_t dev)
{
	char path[64];
	uint64_t rotational;
	bool requests;
	dev_t disk;
	u64 start;

	if (remap_dev_disk(dev, &disk, &start, &requests))
		return SLOW_DISK;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/rotational", major(disk),
		 minor(disk));
	return remap_read_u64(path, &rotational) || rotational ? SLOW_DISK : SLOW_OTHERS;
}

void remap_telemetry_unwatch(struct remap_telemetry *t, u32 area)
{
	struct telemetry_watch *w = t->watch;
	struct telemetry_area *a = &w->area[area];
	__u16 *link;

	if (!a->sectors)
		return;
	link = first_of(w, a->disk);
	if (*link == area + 1) {
		stop_learning(t);
		if (a->next)
			w->area[a->next - 1].next_disk = a->next_disk;
		set_link(link, a->next ?: a->next_disk);
		forget(t);
		quiesce();
		learn(t, true);
	} else {
		while (*link != area + 1)
			link = &w->area[*link - 1].next;
		set_link(link, a->next);
		quiesce();
	}
	memset(a, 0, sizeof(*a));
	if (t->skel->links.bio_queue && !watches_bios(t))
		detach_bios(t);
}

const struct telemetry_area *remap_telemetry_area(const struct remap_telemetry *t, u32 area)
{
	return &t->watch->area[area];
}

/* ---- reading ---- */

void remap_telemetry_read_counts(const struct remap_telemetry *t, u32 area,
				 struct remap_sample *s)
{
	memset(s, 0, offsetof(struct remap_sample, region_ios));
	for (unsigned int cpu = 0; cpu < t->cpus; cpu++) {
		const volatile struct telemetry_row *r = &t->rows[area * t->cpus + cpu];

		for (unsigned int op = TELEMETRY_READ; op <= TELEMETRY_WRITE; op++) {
			s->bytes[op] += r->io[op].bytes;
			s->unstamped[op] += r->io[op].unstamped;
			for (unsigned int b = 0; b < TELEMETRY_BUCKETS; b++) {
				s->total[op][b] += r->io[op].total[b];
				s->queue[op][b] += r->io[op].queue[b];
				s->device[op][b] += r->io[op].device[b];
			}
		}
		for (unsigned int op = TELEMETRY_FLUSH; op < TELEMETRY_OPS; op++) {
			s->bytes[op] += r->other[op - TELEMETRY_FLUSH].bytes;
			s->unstamped[op] += r->other[op - TELEMETRY_FLUSH].unstamped;
			for (unsigned int b = 0; b < TELEMETRY_BUCKETS; b++)
				s->total[op][b] += r->other[op - TELEMETRY_FLUSH].total[b];
		}
		s->errors += r->errors;
		s->slow += r->slow;
		s->dropped += r->dropped;
	}
	for (unsigned int op = 0; op < TELEMETRY_OPS; op++) {
		s->ios[op] = s->unstamped[op];
		for (unsigned int b = 0; b < TELEMETRY_BUCKETS; b++)
			s->ios[op] += s->total[op][b];
	}
}

void remap_telemetry_read_regions(const struct remap_telemetry *t, u32 area,
				  struct remap_sample *s)
{
	memset(s->region_ios, 0, sizeof(s->region_ios));
	memset(s->region_worst, 0, sizeof(s->region_worst));
	for (unsigned int cpu = 0; cpu < t->cpus; cpu++) {
		const volatile struct telemetry_row *r = &t->rows[area * t->cpus + cpu];

		for (unsigned int i = 0; i < TELEMETRY_REGIONS; i++) {
			u32 worst = r->region[i].worst;

			s->region_ios[i] += r->region[i].ios;
			if (worst > s->region_worst[i])
				s->region_worst[i] = worst;
		}
	}
	for (unsigned int i = 0; i < TELEMETRY_REGIONS; i++) {
		const volatile struct telemetry_surface *f = &t->surfaces[area];

		s->region_errors[i] = f->errors[i];
		s->region_slow[i] = f->slow[i];
	}
}

void remap_telemetry_read(const struct remap_telemetry *t, u32 area, struct remap_sample *s)
{
	remap_telemetry_read_counts(t, area, s);
	remap_telemetry_read_regions(t, area, s);
}

int remap_telemetry_missed(const struct remap_telemetry *t, u64 *missed, struct remap_err *err)
{
	const struct bpf_program *programs[] = {
		t->skel->progs.rq_complete, t->skel->progs.bio_queue, t->skel->progs.bio_complete,
	};

	*missed = *(volatile __u64 *)&t->watch->missed_bios;
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++) {
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(programs[i]), &info, &size))
			return remap_fail_errno(err, -errno, "cannot ask about a BPF program");
		*missed += info.recursion_misses;
	}
	return 0;
}

u64 remap_telemetry_area_dropped(const struct remap_telemetry *t, u32 area)
{
	u64 dropped = 0;

	for (unsigned int cpu = 0; cpu < t->cpus; cpu++)
		dropped += *(volatile __u64 *)&t->rows[area * t->cpus + cpu].dropped;
	return dropped;
}

u64 remap_telemetry_area_errors(const struct remap_telemetry *t, u32 area)
{
	u64 errors = 0;

	for (unsigned int cpu = 0; cpu < t->cpus; cpu++)
		errors += *(volatile __u64 *)&t->rows[area * t->cpus + cpu].errors;
	return errors;
}

u64 remap_telemetry_dropped(const struct remap_telemetry *t)
{
	return *(volatile __u64 *)&t->watch->dropped;
}

int remap_telemetry_poll(struct remap_telemetry *t, remap_event_fn *fn, void *arg, int timeout_ms)
{
	int r;

	t->fn = fn;
	t->arg = arg;
	t->taken = 0;
	r = ring_buffer__poll(t->ring, timeout_ms);
	return r == -ECANCELED ? t->taken : r;
}

int remap_telemetry_fd(const struct remap_telemetry *t)
{
	return ring_buffer__epoll_fd(t->ring);
}

u64 remap_bucket_ns(unsigned int bucket)
{
	u64 units = bucket < 8 ? bucket : (8ULL + bucket % 8) << (bucket / 8 - 1);

	return units << TELEMETRY_UNIT_SHIFT;
}

u64 remap_percentiles(const u64 histogram[TELEMETRY_BUCKETS], const unsigned int *permille,
		      size_t n, u64 *ns)
{
	u64 all = 0, seen = 0;
	size_t i = 0;

	memset(ns, 0, n * sizeof(*ns));
	for (unsigned int b = 0; b < TELEMETRY_BUCKETS; b++)
		all += histogram[b];
	for (unsigned int b = 0; b < TELEMETRY_BUCKETS && i < n && all; b++) {
		seen += histogram[b];
		while (i < n && seen && seen * 1000 >= all * permille[i])
			ns[i++] = remap_bucket_ns(b + 1);
	}
	return all;
}

u64 remap_percentile(const u64 histogram[TELEMETRY_BUCKETS], unsigned int permille)
{
	u64 ns;

	remap_percentiles(histogram, &permille, 1, &ns);
	return ns;
}

/* ---- pinning ---- */

/* Files of these names are nobody else's there alone. */
static int check_bpffs(const char *folder, struct remap_err *err)
{
	struct statfs fs;

	if (statfs(folder, &fs))
		return remap_fail_errno(err, -errno, "%s", folder);
	if ((unsigned long)fs.f_type != BPFFS_MAGIC)
		return remap_fail(err, -EINVAL, "%s is not in a bpffs (mount -t bpf bpf "
				  "/sys/fs/bpf)", folder);
	return 0;
}

static int pin_path(char *path, size_t size, const char *folder, const char *name)
{
	return snprintf(path, size, "%s/%s", folder, name) < (int)size ? 0 : -ENAMETOOLONG;
}

void remap_telemetry_unpin(const char *folder)
{
	char path[PATH_MAX];

	if (check_bpffs(folder, NULL))
		return;
	for (size_t i = 0; i < sizeof(pinned) / sizeof(*pinned); i++)
		if (!pin_path(path, sizeof(path), folder, pinned[i]))
			unlink(path);
	rmdir(folder);
}

int remap_telemetry_pin(struct remap_telemetry *t, const char *folder, struct remap_err *err)
{
	struct bpf_map *maps[] = {
		t->skel->maps.data_watch, t->skel->maps.rows, t->skel->maps.surfaces,
	};
	char path[PATH_MAX];
	bool made;
	int r;

	remap_telemetry_unpin(folder);
	made = !mkdir(folder, 0700);
	if (!made && errno != EEXIST)
		return remap_fail_errno(err, -errno, "%s", folder);
	r = check_bpffs(folder, err);
	if (r) {
		if (made)
			rmdir(folder);
		return r;
	}
	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
		r = pin_path(path, sizeof(path), folder, pinned[i]);
		if (!r && bpf_obj_pin(bpf_map__fd(maps[i]), path))
			r = -errno;
		if (r) {
			remap_telemetry_unpin(folder);
			return remap_fail_errno(err, r, "cannot pin maps in %s", folder);
		}
	}
	return 0;
}

/* Is it a map of ours, of this version and this machine's CPUs? */
static int check_map(int fd, unsigned int map, unsigned int cpus)
{
	static const size_t size[] = {
		sizeof(struct telemetry_watch), sizeof(struct telemetry_row),
		sizeof(struct telemetry_surface),
	};
	const u32 entries[] = { 1, TELEMETRY_AREAS * cpus, TELEMETRY_AREAS };
	struct bpf_map_info info = { 0 };
	__u32 n = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &n))
		return -errno;
	return info.type == BPF_MAP_TYPE_ARRAY && info.value_size == size[map] &&
	       info.max_entries == entries[map] ? 0 : -EPROTO;
}

int remap_telemetry_open_pinned(struct remap_telemetry **result, const char *folder,
				struct remap_err *err)
{
	struct remap_telemetry *t = calloc(1, sizeof(*t));
	int fd[] = { -1, -1, -1 }, r;
	char path[PATH_MAX];

	if (!t)
		return remap_fail_errno(err, -ENOMEM, "telemetry");
	r = set_cpus(t, err);
	if (r) {
		free(t);
		return r;
	}
	for (size_t i = 0; !r && i < sizeof(pinned) / sizeof(*pinned); i++) {
		r = pin_path(path, sizeof(path), folder, pinned[i]);
		fd[i] = r ? -1 : bpf_obj_get(path);
		if (!r && fd[i] < 0)
			r = -errno;
		if (!r)
			r = check_map(fd[i], (unsigned int)i, t->cpus);
	}
	if (r == -EPROTO)
		remap_fail(err, r, "telemetry in %s is of another version", folder);
	else if (r)
		remap_fail_errno(err, r, "no telemetry in %s", folder);
	else
		r = map_all(t, fd, PROT_READ, err);
	for (size_t i = 0; i < sizeof(fd) / sizeof(*fd); i++)
		if (fd[i] >= 0)
			close(fd[i]);
	if (r) {
		free(t);
		return r;
	}
	*result = t;
	return 0;
}
