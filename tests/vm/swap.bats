#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Swap on a remap device whose disk has bad blocks, and no memory left but what goes out over it:
# what the recovery path needs is set aside, or it would wait for itself. The disk is the scratch
# disk of tools/vm, which unlike null_blk takes no memory of its own.

bats_require_minimum_version 1.5.0
load remap

readonly SIZE=1048576 STEP=4096		# sectors; every so often a block of 8 is bad

setup() {
	local disk i

	takes_long
	load_module
	modprobe virtio_blk
	settle
	disk=/dev/disk/by-id/virtio-scratch
	wait_for 20 test -b $disk
	dmsetup create spare --table "0 16384 linear $disk $SIZE"
	for ((i = 0; i < SIZE; i += STEP)); do
		echo "$i 3000 linear $disk $i"
		echo "$((i + 3000)) 8 error"
		echo "$((i + 3008)) $((STEP - 3008)) linear $disk $((i + 3008))"
	done | dmsetup create disk
	settle
	remapctl create t --data /dev/mapper/disk --spare /dev/mapper/spare -o burst=0
}

teardown() {
	echo 0 >/proc/sys/vm/nr_hugepages
	! mountpoint -q /mnt/pages || umount /mnt/pages
	! grep -q "^$(readlink -f "$T") " /proc/swaps || swapoff "$T"
	remove_devices
	modprobe -r virtio_blk
}

# KiB of that kind in /proc/meminfo
kib() { # KIND
	awk -v kind="$1:" '$1 == kind { print $2 }' /proc/meminfo
}

# What cannot go out fills the memory but for so many MiB.
leave() { # MIB
	local huge

	huge=$((($(kib MemAvailable) / 1024 - $1) / 2))
	echo $huge >/proc/sys/vm/nr_hugepages
	wait_for 60 got $((huge * 9 / 10))
}

got() { # HUGE_PAGES
	(($(kib HugePages_Total) >= $1)) || { echo "$1" >/proc/sys/vm/nr_hugepages; return 1; }
}

@test "memory goes out over bad blocks and comes back, with none left to wait for" {
	mkswap -q "$T"
	swapon "$T"
	leave 120
	mkdir -p /mnt/pages
	mount -t tmpfs -o size=200m pages /mnt/pages
	fio --name=pages --minimal --output=/tmp/fio --filename=/mnt/pages/file --size=180m \
		--rw=write --bs=64k --ioengine=psync --verify=crc32c --verify_state_save=0 \
		--verify_fatal=1 --do_verify=1 || { cat /tmp/fio; return 1; }
	(($(kib SwapTotal) - $(kib SwapFree) > 80 * 1024))
	(($(field relocations) >= 20))
	expect state active
	expect lost_sectors 0
	expect io_errors 0
	umount /mnt/pages
	swapoff "$T"
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}
