#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The guest is what the other suites take for granted: the kernel that was asked for, its modules,
# device nodes made by udev, places to write to.

bats_require_minimum_version 1.5.0
load devices

@test "the guest runs the kernel that the module was built for" {
	[ "$DM_REMAP_KO" = "$DM_REMAP_TREE/build/$(uname -r)/dm-remap.ko" ]
}

@test "modprobe finds the kernel's modules by name" {
	modprobe -a dm-mod null_blk scsi_debug dm-flakey ext4 xfs
	grep -qw '^dm_flakey' /proc/modules
	# its disk was announced only now: udev is still looking at it
	settle
	wait_for 30 modprobe -r scsi_debug
}

@test "device-mapper and udev agree on a new device" {
	make_null_blk plain 1
	dmsetup create smoke --table "0 2048 linear /dev/plain 0"
	[ -b /dev/mapper/smoke ]
	dmsetup remove smoke
	[ ! -e /dev/mapper/smoke ]
	remove_null_blk plain
}

@test "tmp, run and the results folder are writable, the host's root is not" {
	touch /tmp/x /run/x /var/tmp/x /run/vm/results/smoke
	run ! touch /etc/x "$DM_REMAP_TREE/x"
}
