#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What badblocks and ddrescue have found out about a disk is taken over: real lists, made by these
# programs on a disk with bad sectors.

bats_require_minimum_version 1.5.0
load remap

setup() {
	load_module
	make_null_blk data 16
	make_null_blk spare 4
	pattern write "$DATA" 0 32768 1 2048
	# Two in one block; five that end in the next one; the very last.
	bad data 4003 4003
	bad data 4006 4006
	bad data 9004 9008
	bad data 32767 32767
}

teardown() {
	dmsetup remove --retry t 2>/dev/null || true
	remove_null_blk data
	remove_null_blk spare
}

# The last sector is one that udev reads of each new device.
create() {
	remapctl create t --data "$DATA" --spare "$SPARE" --option on_read_error=pass
}

# IMPORT-OPTION... makes of the list what the disk can still give, and keeps the rest apart.
check_import() {
	create
	remapctl import t "$@" --dry-run --json >/tmp/plan
	expect relocations 0
	expect slots_used 0
	jq -e '.blocks == 4 and .remapped == 0 and .would_move == 4' /tmp/plan
	remapctl import t "$@" --json >/tmp/done
	jq -e '.moved == 4 and .failed == 0 and .newly_lost == 8' /tmp/done
	expect slots_used 4
	expect lost_sectors 8
	pattern lost "$T" 4003 1
	pattern lost "$T" 4006 1
	pattern lost "$T" 9004 5
	pattern lost "$T" 32767 1
	pattern verify "$T" 0 4003 1
	pattern verify "$T" 4004 2 1
	pattern verify "$T" 4007 4997 1
	pattern verify "$T" 9009 23758 1
	# once more: nothing left to do
	remapctl import t "$@" --json >/tmp/done
	jq -e '.remapped == 4 and .moved == 0 and .newly_lost == 0' /tmp/done
	expect relocations 4
}

@test "a list that badblocks has made, in blocks of its own size" {
	badblocks -b 1024 -o /tmp/list "$DATA"
	[ "$(wc -l </tmp/list)" -ge 6 ]
	check_import --badblocks /tmp/list
}

@test "a list in blocks of 4096 bytes, from standard input" {
	badblocks -b 4096 -o /tmp/list "$DATA"
	[ "$(wc -l </tmp/list)" = 4 ]
	create
	remapctl import t --badblocks - --list-block-size 4096 </tmp/list
	expect slots_used 4
	expect lost_sectors 8
}

@test "a mapfile that ddrescue has made" {
	ddrescue -q -d -r0 "$DATA" /tmp/image /tmp/map
	check_import --ddrescue /tmp/map
}

# shellcheck disable=SC2030 # output is run's
@test "lists that are none, of another disk, or longer than the spare: one error, nothing done" {
	local list
	create
	echo 16383 >/tmp/last
	seq 0 16383 >/tmp/all
	printf '1\nx\n' >/tmp/wrong
	refused 1 "/tmp/wrong, line 2: x: not the number" --badblocks /tmp/wrong
	refused 1 "/tmp/last, line 1: " --ddrescue /tmp/last
	refused 1 "beyond the end of t" --badblocks /tmp/last --list-block-size 4096
	refused 1 "4096 blocks are to be moved, its spare has" --badblocks /tmp/all
	refused 1 "/tmp/none: No such file" --badblocks /tmp/none
	refused 1 "/tmp: Is a directory" --badblocks /tmp
	refused 2 "exclude each other" --badblocks /tmp/last --ddrescue /tmp/last
	refused 2 "is missing"
	refused 2 "not a multiple of 512" --badblocks /tmp/last --list-block-size 1000
	refused 1 "beyond the end of t" --badblocks /tmp/last --list-block-size 4K
	refused 2 "goes with --badblocks" --ddrescue /tmp/last --list-block-size 1024
	expect relocations 0
	expect slots_used 0
	remapctl import t --badblocks /tmp/last --dry-run
}

refused() { # STATUS TEXT OPTION...
	local status_wanted=$1 text=$2
	shift 2
	run --separate-stderr "-$status_wanted" remapctl import t "$@"
	# shellcheck disable=SC2154,SC2031 # set by run
	if [[ $stderr != "remapctl: "*"$text"* || $stderr == *$'\n'* || -n $output ]]; then
		echo "stdout: $output" && echo "stderr: $stderr" && return 1
	fi
}
