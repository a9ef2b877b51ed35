#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# A write that meets a bad block is acknowledged, costs one remap for each bad block, and takes
# nothing from any other sector (promises 1 and 2). The disk: null_blk with bad sectors that
# appear after it was filled. Each case has 8 MiB of its own, filled with seed 1; the write under
# test has seed 2.

bats_require_minimum_version 1.5.0
load remap

setup_file() {
	load_module
	make_null_blk data 512
	make_null_blk spare 16
	remapctl create t --data "$DATA" --spare "$SPARE"
}

teardown_file() {
	remapctl stop t
	remove_null_blk data
	remove_null_blk spare
}

# A write over a bad sector. Sectors are counted from the case's own start.
check_one_bad() { # CASE WRITE_AT COUNT BAD_AT
	local base=$(($1 * 16384)) at=$2 count=$3 bad=$4

	pattern write "$T" "$base" 16384 1 2048
	bad data "$((base + bad))" "$((base + bad))"
	changes relocations 1 pattern write "$T" $((base + at)) "$count" 2
	pattern verify "$T" $((base + at)) "$count" 2
	pattern verify "$T" "$base" "$at" 1
	pattern verify "$T" $((base + at + count)) $((16384 - at - count)) 1
}

@test "512 bytes into a bad sector" {
	check_one_bad 0 4003 1 4003
}

@test "4 KiB over a bad sector at its start" {
	check_one_bad 1 4000 8 4000
}

@test "4 KiB over a bad sector at its end" {
	check_one_bad 2 4000 8 4007
}

@test "4 KiB across two blocks, the bad sector in the second" {
	check_one_bad 3 4005 8 4012
}

@test "64 KiB aligned, bad in the middle" {
	check_one_bad 4 4096 128 4160
}

@test "64 KiB at an odd sector, the bad one its first" {
	check_one_bad 5 4101 128 4101
}

@test "64 KiB at an odd sector, the bad one its last" {
	check_one_bad 6 4101 128 4228
}

@test "1 MiB over one bad sector costs exactly one remap" {
	check_one_bad 7 4096 2048 5000
}

@test "1 MiB at an odd sector" {
	check_one_bad 8 4095 2048 6142
}

@test "4 MiB in one write" {
	check_one_bad 9 1 8192 5001
}

@test "1 MiB over many bad blocks costs one remap for each" {
	local base=$((10 * 16384)) i

	pattern write "$T" "$base" 16384 1 2048
	for i in {0..99}; do
		bad data $((base + 4096 + 16 * i)) $((base + 4096 + 16 * i + i % 8))
	done
	changes relocations 100 pattern write "$T" $((base + 4096)) 2048 2
	pattern verify "$T" $((base + 4096)) 2048 2
	pattern verify "$T" "$base" 4096 1
	pattern verify "$T" $((base + 6144)) 10240 1
	expect lost_sectors 0
}

@test "a 512-byte write into a bad block keeps its seven neighbours" {
	local base=$((11 * 16384))

	pattern write "$T" "$base" 16384 1 2048
	bad data $((base + 800)) $((base + 800))
	changes lost_sectors 0 pattern write "$T" $((base + 800)) 1 2
	pattern verify "$T" "$base" 800 1
	pattern verify "$T" $((base + 800)) 1 2
	pattern verify "$T" $((base + 801)) 15583 1
}

@test "neighbours that cannot be read are lost, the others kept; a write makes them whole" {
	local base=$((12 * 16384))

	pattern write "$T" "$base" 16384 1 2048
	bad data $((base + 801)) $((base + 803))
	changes lost_sectors 2 pattern write "$T" $((base + 802)) 1 2
	pattern verify "$T" "$base" 801 1
	pattern lost "$T" $((base + 801)) 1
	pattern verify "$T" $((base + 802)) 1 2
	pattern lost "$T" $((base + 803)) 1
	pattern verify "$T" $((base + 804)) 15580 1

	# half of what is lost is written: the other half stays lost
	changes lost_sectors -1 pattern write "$T" $((base + 803)) 4 3
	pattern verify "$T" $((base + 803)) 4 3
	pattern lost "$T" $((base + 801)) 1
	restart
	pattern lost "$T" $((base + 801)) 1
	pattern verify "$T" $((base + 802)) 1 2
	pattern verify "$T" $((base + 803)) 4 3
	changes lost_sectors -1 pattern write "$T" "$base" 16384 4 2048
	pattern verify "$T" "$base" 16384 4
	expect lost_sectors 0
}

@test "writes go on to the slot of a block that moved, reads come from there" {
	local base=$((13 * 16384))

	pattern write "$T" "$base" 16384 1 2048
	bad data $((base + 512)) $((base + 519))
	changes relocations 1 pattern write "$T" $((base + 512)) 8 2
	changes relocations 0 pattern write "$T" $((base + 514)) 3 5
	changes relocations 0 pattern write "$T" $((base + 256)) 1024 6
	pattern verify "$T" "$base" 256 1
	pattern verify "$T" $((base + 256)) 1024 6
	pattern verify "$T" $((base + 1280)) 15104 1
}

@test "list agrees with status" {
	[[ $(remapctl list t --json | jq length) == "$(field slots_used)" ]]
	expect state active
}

@test "what was written survives stop and start" {
	restart
	pattern verify "$T" $((0 * 16384 + 4003)) 1 2
	pattern verify "$T" $((3 * 16384 + 4005)) 8 2
	pattern verify "$T" $((8 * 16384 + 4095)) 2048 2
	pattern verify "$T" $((10 * 16384 + 4096)) 2048 2
	pattern verify "$T" $((13 * 16384 + 256)) 1024 6
	remapctl verify t
}
