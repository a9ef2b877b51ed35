# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Block devices for the suites, and their end: null_blk (bad blocks that come and go), scsi_debug
# (medium errors with sense data, WWN and serial number), loop devices (whose size can change),
# NVMe disks over others (which can be asked for zeroes).
# remove_devices takes all of them away, and what stands on them, in whatever state a test left it.

readonly NULLB=/sys/kernel/config/nullb NVMET=/sys/kernel/config/nvmet

# A test that takes minutes begins with this; make check has no time for it.
takes_long() {
	[[ -n ${LONG:-} ]] || skip "takes minutes: make check-vm LONG=1"
}

# Wait until COMMAND succeeds: wait_for SECONDS COMMAND [ARG]..., longer on kernels that are slow
wait_for() {
	local end=$((SECONDS + $1 * ${DM_REMAP_SLOW:-1}))

	shift
	until "$@"; do
		((SECONDS < end)) || { echo "in vain waited for: $*" >&2; return 1; }
		sleep 0.05
	done
}

# make_null_blk NAME SIZE_MB [BADBLOCKS] [ATTRIBUTE=VALUE]...: a disk in memory, /dev/NAME
#
# Not every NAME is free: /dev/disk and /dev/mapper, for one, are udev's own folders.
#
# BADBLOCKS is +FIRST-LAST, in sectors of 512 bytes. Attributes are those of null_blk's configfs:
# blocksize, queue_mode, irqmode, completion_nsec, cache_size, ... Its contents begin as zeroes.
make_null_blk() {
	local name=$1 size=$2 dir=$NULLB/$1 node arg

	shift 2
	[[ ! -d /dev/$name ]] || { echo "make_null_blk: /dev/$name is a folder" >&2; return 1; }
	[[ -d $NULLB ]] || modprobe null_blk nr_devices=0 || return
	mkdir "$dir" || return
	echo "$size" >"$dir/size"
	echo 1 >"$dir/memory_backed"
	for arg; do
		case $arg in
		[+-]*) echo "$arg" >"$dir/badblocks" ;;
		*=*) echo "${arg#*=}" >"$dir/${arg%%=*}" ;;
		*) echo "make_null_blk: $arg?" >&2; return 1 ;;
		esac || return
	done
	echo 1 >"$dir/power" || return
	# Up to 6.2 the kernel names the node by number.
	node=/dev/$name
	[[ -d /sys/block/$name ]] || node=/dev/nullb$(<"$dir/index")
	wait_for 10 test -b "$node" || return
	[[ $node == "/dev/$name" ]] || ln -sfn "$node" "/dev/$name"
	settle
}

# Takes a null_blk device away at once, even while it is in use: what a pulled cable looks like.
remove_null_blk() {
	[[ -d $NULLB/$1 ]] || return 0
	echo 0 >"$NULLB/$1/power"
	rmdir "$NULLB/$1"
	[[ ! -L /dev/$1 ]] || rm "/dev/$1"
}

# make_scsi_debug SIZE_MB [PARAMETER=VALUE]...: prints the nodes of its disks, one for each num_tgts
#
# PARAMETERs are those of the module: sector_size, physblk_exp, num_tgts, opts, ... All disks have
# the same contents: what is written to one shows on all, unless per_host_store=1.
make_scsi_debug() {
	local size=$1

	shift
	modprobe scsi_debug dev_size_mb="$size" "$@" || return
	settle
	wait_for 10 scsi_debug_disks >/dev/null || return
	scsi_debug_disks
}

scsi_debug_disks() {
	local disk found=1

	for disk in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/*; do
		[[ -b /dev/${disk##*/} ]] || continue
		echo "/dev/${disk##*/}"
		found=0
	done
	return $found
}

# What scsi_debug does from now on: FILE VALUE, as in "opts 2" or "medium_error_start 4096"
scsi_debug_set() {
	local file=/sys/bus/pseudo/drivers/scsi_debug/$1

	[[ -e $file ]] || file=/sys/module/scsi_debug/parameters/$1
	echo "$2" >"$file"
}

# Not every kernel has it: Debian's 6.1 does not.
has_nvme() {
	modinfo nvme-loop >/dev/null 2>&1
}

# make_nvme DISK...: prints the nodes of NVMe disks that stand on these, by the kernel's own target
#
# Unlike null_blk, they can be asked for zeroes; what DISK refuses to write is an error then.
make_nvme() {
	local n=0 disk space

	modprobe nvme-core multipath=N && modprobe nvme-loop || return
	mkdir "$NVMET/subsystems/test" "$NVMET/ports/1" || return
	echo 1 >"$NVMET/subsystems/test/attr_allow_any_host"
	for disk; do
		space=$NVMET/subsystems/test/namespaces/$((++n))
		mkdir "$space" && echo -n "$disk" >"$space/device_path" || return
		echo 1 >"$space/enable" || return
	done
	echo loop >"$NVMET/ports/1/addr_trtype"
	ln -s "$NVMET/subsystems/test" "$NVMET/ports/1/subsystems/test"
	echo transport=loop,nqn=test >/dev/nvme-fabrics || return
	wait_for 30 nvme_disks "$n" >/dev/null && settle && nvme_disks "$n"
}

# The kernel numbers them as it finds them.
nvme_disks() { # N
	local n each found

	for ((n = 1; n <= $1; n++)); do
		found=""
		for each in /sys/block/nvme*; do
			[[ ! -e $each/nsid || $(<"$each/nsid") != "$n" ]] || found=/dev/${each##*/}
		done
		[[ -b $found ]] || return
		echo "$found"
	done
}

remove_nvme() {
	local each

	[[ -d $NVMET ]] || return 0
	for each in /sys/class/nvme/*/delete_controller; do
		[[ ! -e $each ]] || echo 1 >"$each"
	done
	rm -f "$NVMET/ports/1/subsystems/test"
	for each in "$NVMET"/{ports/1,subsystems/test/namespaces/*,subsystems/test}; do
		[[ ! -d $each ]] || rmdir "$each"
	done
}

# Does a dm-delay hold reads (4), writes (5), flushes (6) back?
holds() { # NAME FIELD
	(($(dmsetup status "$1" | awk -v field="$2" '{ print $field }') > 0))
}

# An empty file, whatever a test before this one has left there: new_file FILE SIZE
new_file() {
	rm -f "$1"
	truncate -s "$2" "$1"
}

# make_loop FILE [losetup option]...: prints the node
make_loop() {
	local file=$1

	shift
	[[ -b /dev/loop0 ]] || modprobe loop || return
	losetup --find --show "$@" "$file" && settle
}

# Until udev has seen all that has happened; its rules open devices to look at them.
settle() {
	udevadm settle --timeout=30
}

# For what would be thousands of events: udev leaves, and never hears of them. (Held back by
# --stop-exec-queue they would all be there afterwards, and each removal would wait for them.)
# Who is told to leave ends what it has begun first, and would look at what comes meanwhile, too. On
# a slow kernel it was seen to miss being told: idle, with no worker, and all its sockets open.
stop_udev() {
	wait_for 60 udev_leaves
}

udev_leaves() {
	udevadm control --exit || true
	! pgrep udev >/dev/null		# nor any of its workers
}

# Until it listens. Its socket is no sign of it, which it leaves behind, nor is one that is about to
# leave. bats waits for whoever has its descriptors.
start_udev() {
	wait_for 60 udev_listens
}

udev_listens() {
	pgrep -x systemd-udevd >/dev/null || /lib/systemd/systemd-udevd --daemon \
		--resolve-names=never >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&-
	udevadm control --ping --timeout=5
}

remove_devices() {
	local name point dir

	swapoff -a
	# newest first: what stands on other mounts goes before them
	while read -r point; do
		umount -l "$point"
	done < <(awk '$1 ~ "^/dev/" && $2 ~ "^/(mnt|tmp|run)" { print $2 }' /proc/mounts | tac)
	# Several rounds, for what stands on others. A device that still waits for I/O is given a
	# table that fails it, lest removal hang.
	for _ in 1 2 3; do
		while read -r name _; do
			[[ -n $name && $name != No ]] || continue
			dmsetup remove --retry "$name" 2>/dev/null ||
				dmsetup remove --force "$name" 2>/dev/null
		done < <(dmsetup ls 2>/dev/null)
	done
	[[ ! -e /dev/loop0 ]] || losetup -D
	remove_nvme
	for dir in "$NULLB"/*/; do
		[[ -d $dir ]] || continue
		name=${dir%/}
		remove_null_blk "${name##*/}"
	done
	if [[ -d /sys/module/scsi_debug ]]; then
		settle
		wait_for 10 modprobe -r scsi_debug
	fi
	settle
}
