#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Spares that the fuzzer has written, many with right checksums: the target starts on them or
# refuses, and in no case leaves its devices: not the kernel's memory, not the window of the spare
# in a larger disk, not the end of the data device. tools/check has the images made.

bats_require_minimum_version 1.5.0
load remap

readonly IMAGES=$DM_REMAP_TREE/build/fuzz/images
readonly SECTORS=100001			# of the data device, by tests/fuzz/fuzz_spare.c
readonly BEFORE=8192 WINDOW=2048	# sectors

setup() {
	compgen -G "$IMAGES/*" >/dev/null || skip "no images in build/fuzz (make check makes them)"
	load_module
	make_null_blk data 64
	make_null_blk disk0 16
	dmsetup create data --table "0 $SECTORS linear $DATA 0"
	dmsetup create spare --table "0 $WINDOW linear /dev/disk0 $BEFORE"
	pattern write "$DATA" 0 131072 7 2048
	pattern write /dev/disk0 0 32768 8 2048
}

teardown() {
	remove_devices
}

# Everything that a user could do, whether it succeeds or not. What hangs ends the guest.
use_it() {
	dmsetup message t 0 list 0 >/tmp/list
	dmsetup message t 0 verify
	# what is mapped is at the front, but for what the fuzzer put elsewhere
	dd if="$T" of=/dev/null bs=64K count=24 iflag=direct conv=noerror status=none
	dd if="$T" of=/dev/null bs=512 skip=99000 iflag=direct conv=noerror status=none
	dmsetup message t 0 remap 0 400
	dd if=/dev/zero of="$T" bs=64K count=4 oflag=direct status=none
	dmsetup message t 0 unmap 0 "$SECTORS"
	dmsetup message t 0 grow
	dmsetup message t 0 reset
}

# Sectors and slots that the target names are those of its devices.
check_list() {
	local sector count slot

	[[ $(tail -n 1 /tmp/list) =~ ^(end|next\ [0-9]+)$ ]]
	while read -r sector count slot _; do
		[[ $sector != end && $sector != next ]] || continue
		((sector + count <= SECTORS && slot < WINDOW / 8)) ||
			{ echo "$image: $sector $count $slot"; return 1; }
	done </tmp/list
}

@test "the target starts on what the fuzzer has written, or refuses, and stays within its devices" {
	local image started=0 refused=0 lines

	lines=$(dmesg | wc -l)
	for image in "$IMAGES"/*; do
		dd if="$image" of=/dev/mapper/spare bs=64K oflag=direct status=none
		if ! dmsetup create t --table \
			"0 $SECTORS remap /dev/mapper/data 0 /dev/mapper/spare 0" 2>/dev/null; then
			refused=$((refused + 1))
			dmsetup remove t 2>/dev/null || true
			continue
		fi
		started=$((started + 1))
		: >/tmp/list
		use_it >/dev/null 2>&1 || true
		check_list
		dmsetup remove --retry t
	done
	echo "# $started spares started, $refused refused" >&3
	((started >= 5 && started + refused >= 15))
	pattern verify /dev/disk0 0 "$BEFORE" 8
	pattern verify /dev/disk0 $((BEFORE + WINDOW)) $((32768 - BEFORE - WINDOW)) 8
	pattern verify "$DATA" "$SECTORS" $((131072 - SECTORS)) 7
	run -1 grep 'beyond end of device' < <(dmesg | tail -n +$((lines + 1)))
}
