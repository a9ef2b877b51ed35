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
	local size loop read written
	local -a before after

	for size in 1M 100G 16T; do
		new_file "/tmp/large/$size" "$size"
		loop=$(make_loop "/tmp/large/$size" --direct-io=off)
		# a loop device that was in use before has counted that, too
		read -r -a before < <(traffic "$loop")
		remapctl format --data "$DATA" --spare "$loop"
		read -r -a after < <(traffic "$loop")
		read=$(((after[0] - before[0]) / 2)) written=$(((after[1] - before[1]) / 2))
		echo "# $size: format wrote $written KiB, read $read KiB" >&3
		((written > 0 && written < 8192))
		# less than a second at 100 MB/s
		(((read + written) * 1024 < 100000000))
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

# Make the spare one with so many blocks moved, by a table as text: every STRIDE-th block of a huge
# disk.
million() { # STRIDE ENTRIES
	local says zones zone tables=$((($2 + 253) / 254))

	remapctl format --data /dev/mapper/huge --spare "$SPARE_LOOP" --force
	remapctl dump --spare "$SPARE_LOOP" --json >/tmp/large/dump
	zones=$(jq -r '[.zones[].sector] | join(" ")' /tmp/large/dump)
	zone=$(jq .zone_sectors /tmp/large/dump)
	remapctl export --spare "$SPARE_LOOP" >/tmp/large/empty
	{
		sed -e '/^[0-9]/,$d' -e '/^entries=/,$d' \
			-e "s/^tables_used=.*/tables_used=$tables/" \
			-e 's/^table_generation=.*/table_generation=9/' /tmp/large/empty
		awk -v stride="$1" -v entries="$2" -v zones="$zones" -v zone="$zone" 'BEGIN {
			split(zones, start)
			sector = start[gap = 1] + zone
			for (slot = 0; slot < entries; slot++) {
				while (sector + 8 > start[gap + 1])
					sector = start[++gap] + zone
				printf "%d mapped %d 0x0 %d %d\n", slot, slot * stride * 8,
					slot + 1, sector
				sector += 8
			}
			print "entries=" entries
		}'
	} >/tmp/large/table
	# its checksum is what import asks for
	says=$(remapctl import --spare "$SPARE_LOOP" --dry-run --table \
		<(cat /tmp/large/table; echo crc32c=0x0) 2>&1 || true)
	[[ $says =~ 0x[0-9a-f]{8} ]]
	echo "crc32c=${BASH_REMATCH[0]}" >>/tmp/large/table
	remapctl import --spare "$SPARE_LOOP" --table /tmp/large/table --force
}

# KiB of what the kernel holds in small pieces and maps, when nothing is kept that need not be
kernel_memory() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^(SUnreclaim|VmallocUsed):/ { kib += $2 } END { print kib }' /proc/meminfo
}

# A start reads what is in use of each replica once, in large pieces, and takes so much memory: the
# map of blocks, the one of slots, and a page for each table. The pages that every device sets aside
# for its recovery, whatever there is on the spare, are not in it.
start_million() { # STRIDE ENTRIES BYTES-PER-REMAP
	local before after memory bytes reads sectors tables=$((($2 + 253) / 254))

	million "$1" "$2"
	before=$(traffic "$SPARE_LOOP")
	memory=$(kernel_memory)
	dmsetup create t --table "0 $SECTORS remap /dev/mapper/huge 0 $SPARE_LOOP 0"
	memory=$(($(kernel_memory) - memory + 4 * tables))
	after=$(traffic "$SPARE_LOOP")
	sectors=$((${after%% *} - ${before%% *})) reads=$((${after##* } - ${before##* }))
	bytes=$((memory * 1024 / $2))
	echo "# stride $1: $((sectors / 2)) KiB read in $reads reads, $bytes bytes per remap" >&3
	expect slots_used "$2"
	[[ $(replicas t) == "ok ok ok ok ok" ]]
	# the table blocks in use, in two copies in five zones, and little else; in large pieces
	((sectors >= tables * 80 && sectors < tables * 80 + 8000 && reads < tables * 80 / 128))
	# debug kernels keep something about each piece of memory in more memory
	((${DM_REMAP_SLOW:-1} > 1 || bytes <= $3))
	remapctl stop t
}

@test "a million remaps: each replica is read once, and memory stays within the design's figures" {
	SECTORS=$((1 << 32))
	modprobe dm-zero
	dmsetup create huge --table "0 $SECTORS zero"
	new_file /tmp/large/spare 6G
	SPARE_LOOP=$(make_loop /tmp/large/spare)
	start_million 256 1000000 100
	start_million 1 1000000 24
}
