#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Block sizes and logical sector sizes, and disks that do not end at a block's end: a write
# over a bad sector at the very start, in the middle and at the very end is kept, with all that is
# beside it, also over a restart.

bats_require_minimum_version 1.5.0
load remap

setup() {
	load_module
}

teardown() {
	dmsetup remove --retry t 2>/dev/null || true
	dmsetup remove --retry cut 2>/dev/null || true
	remove_null_blk data
	remove_null_blk spare
}

# A disk of SECTORS, its bad sectors at both ends and in the middle; writes of UNIT sectors there.
check_size() { # BLOCK_SIZE SECTORS UNIT
	local block=$1 sectors=$2 unit=$3 middle last

	middle=$(((sectors / 2 / unit) * unit)) last=$((sectors - unit))
	dmsetup create cut --table "0 $sectors linear $DATA 0"
	remapctl create t --data /dev/mapper/cut --spare "$SPARE" --block-size "$block" --force
	expect block_size "$block"
	pattern write "$T" 0 "$sectors" 1 "$((unit * 512))"
	bad data 0 0
	bad data "$middle" "$middle"
	bad data $((sectors - 1)) $((sectors - 1))
	for i in 1 2; do
		pattern write "$T" 0 "$unit" 2
		pattern write "$T" "$middle" "$unit" 2
		pattern write "$T" "$last" "$unit" 2
		pattern verify "$T" 0 "$unit" 2
		pattern verify "$T" "$unit" $((middle - unit)) 1
		pattern verify "$T" "$middle" "$unit" 2
		pattern verify "$T" $((middle + unit)) $((last - middle - unit)) 1
		pattern verify "$T" "$last" "$unit" 2
		expect relocations $((i == 1 ? 3 : 0))
		remapctl stop t
		remapctl start t --data /dev/mapper/cut --spare "$SPARE"
	done
	expect slots_used 3
	expect lost_sectors 0
	good data 0 0
	good data "$middle" "$middle"
	good data $((sectors - 1)) $((sectors - 1))
	remapctl unmap t "0+$sectors"
	remapctl stop t
	pattern verify /dev/mapper/cut "$middle" "$unit" 2
	pattern verify /dev/mapper/cut "$last" "$unit" 2
	dmsetup remove cut
}

@test "logical sectors of 512 bytes, small and large blocks, sizes that are no multiple of them" {
	make_null_blk data 16
	make_null_blk spare 4
	for block in 512 1024 4096 16384; do
		check_size "$block" 20001 1
	done
}

@test "logical sectors of 4096 bytes" {
	make_null_blk data 16 blocksize=4096
	make_null_blk spare 4
	for block in 4096 16384; do
		check_size "$block" 20008 8
	done
}

@test "a block smaller than a logical sector is refused" {
	make_null_blk data 16 blocksize=4096
	make_null_blk spare 4
	run -1 remapctl format --data "$DATA" --spare "$SPARE" --block-size 2048
	run -1 remapctl dump --spare "$SPARE"
}
