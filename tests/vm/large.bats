#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Spares from the smallest to 16 TiB: what format writes, what a start reads, how much memory a
# million remaps take. The spares are sparse files on tmpfs, under loop devices.

bats_require_minimum_version 1.5.0
load remap

setup() {
	load_module
	make_null_blk data 64
	pattern write "$DATA" 0 131072 1 2048
	mkdir -p /tmp/large
	mount -t tmpfs -o size=90% tmpfs /tmp/large
}

teardown() {
	remove_devices
	mountpoint -q /tmp/large && umount -l /tmp/large
}

# Sectors read from, written to a device so far, and the requests for reading: READ WRITTEN READS
traffic() { # DEVICE
	awk '{ print $3, $7, $1 }' "/sys/block/$(basename "$1")/stat"
}

@test "format writes less than 8 MiB to a spare of any size, which then takes blocks" {
	local size loop before after written

	for size in 1M 100G 16T; do
		truncate -s "$size" "/tmp/large/$size"
		loop=$(make_loop "/tmp/large/$size" --direct-io=off)
		before=$(traffic "$loop" | cut -d ' ' -f 2)
		remapctl format --data "$DATA" --spare "$loop"
		after=$(traffic "$loop" | cut -d ' ' -f 2)
		written=$(((after - before) / 2))
		echo "# $size: format wrote $written KiB" >&3
		((written > 0 && written < 8192))
		# with what was read, less than a second at 100 MB/s
		(($(traffic "$loop" | awk '{ print $1 + $2 }') * 512 < 100000000))
		remapctl start t --data "$DATA" --spare "$loop"
		remapctl remap t 4000+800
		expect slots_used 100
		[[ $(replicas t) == "ok ok ok ok ok" ]]
		pattern write "$T" 4000 800 2
		remapctl stop t
		# the copy at the very end is as good as any: nothing wraps, nothing is cut off
		dd if=/dev/zero of="$loop" bs=64K count=1 oflag=direct conv=notrunc status=none
		remapctl start t --data "$DATA" --spare "$loop"
		pattern verify "$T" 4000 800 2
		pattern verify "$T" 4800 126272 1
		remapctl unmap t 4000+800
		expect slots_used 0
		pattern write "$T" 4000 800 1
		remapctl stop t
		losetup -d "$loop"
		rm "/tmp/large/$size"
	done
}
