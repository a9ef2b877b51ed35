#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Reads that fail (promise 1): what can be read is returned, what cannot is lost and stays an
# error until it is written again, and nothing else pays for it. Then the operations without data,
# and devices that are dead as a whole.

bats_require_minimum_version 1.5.0
load remap

setup() {
	load_module
	make_null_blk data 64
	make_null_blk spare 4
}

teardown() {
	udevadm control --start-exec-queue
	end_mirror
	dmsetup remove --retry paths 2>/dev/null || true
	dmsetup remove --retry top 2>/dev/null || true
	dmsetup remove --retry t 2>/dev/null || true
	dmsetup resume under 2>/dev/null || true
	dmsetup wipe_table --noudevsync under 2>/dev/null || true
	dmsetup remove --retry t 2>/dev/null || true
	dmsetup remove --retry cut 2>/dev/null || true
	dmsetup remove --retry under 2>/dev/null || true
	remove_null_blk data
	remove_null_blk spare
}

start() {
	remapctl create t --data "$DATA" --spare "$SPARE" "$@"
	pattern write "$T" 0 131072 1 2048
}

reads_of() { # DEVICE
	awk '{ print $1 }' "$(stat_of "$1")"
}

@test "a sector that cannot be read is lost, the seven others of its block are not" {
	start
	bad data 4003 4003
	run -1 pattern verify "$T" 4000 8 1
	expect lost_sectors 1
	expect relocations 1
	good data 4003 4003	# nobody asks the disk again
	before=$(reads_of data)
	pattern lost "$T" 4003 1
	pattern verify "$T" 4000 3 1
	pattern verify "$T" 4004 4 1
	[ "$(reads_of data)" = "$before" ]
	pattern verify "$T" 0 4000 1
	pattern verify "$T" 4008 127064 1
	restart
	expect lost_sectors 1
	pattern lost "$T" 4003 1
	pattern write "$T" 4003 1 2
	expect lost_sectors 0
	restart
	expect lost_sectors 0
	pattern verify "$T" 4003 1 2
	pattern verify "$T" 4000 3 1
	pattern verify "$T" 4004 4 1
}

@test "1 MiB at an odd sector over three bad blocks: three relocations, all else is kept" {
	start
	bad data 5000 5000
	bad data 5100 5109
	run -1 pattern verify "$T" 4001 2048 1
	expect relocations 3
	expect lost_sectors 11
	pattern lost "$T" 5000 1
	pattern lost "$T" 5100 10
	pattern verify "$T" 0 5000 1
	pattern verify "$T" 5001 99 1
	pattern verify "$T" 5110 125962 1
}

# The disk is suspended while the read that will fail is on its way: what is tried again waits
# there until the disk is well. Until then a dm-delay holds the read, which it gives up at once.
@test "an error that does not come again costs nothing and is counted" {
	dmsetup create under --table "0 131072 linear $DATA 0"
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	pattern write "$T" 4000 8 1
	settle
	udevadm control --stop-exec-queue	# it would want to read, too
	dmsetup load under --table "0 131072 delay $DATA 0 60000"
	dmsetup suspend --noudevsync under
	dmsetup resume --noudevsync under
	bad data 4003 4003
	pattern verify "$T" 4000 8 1 3>&- &
	wait_for 30 in_flight_dm
	dmsetup load under --table "0 131072 linear $DATA 0"
	dmsetup suspend --noudevsync --nolockfs under
	good data 4003 4003
	dmsetup resume --noudevsync under
	udevadm control --start-exec-queue
	wait $!
	expect reads_recovered 1
	expect relocations 0
	expect lost_sectors 0
}

@test "on_read_error=pass passes the error on and changes nothing" {
	start --option on_read_error=pass
	bad data 4003 4003
	run -1 pattern verify "$T" 4000 8 1
	expect relocations 0
	expect lost_sectors 0
	[ "$(field io_errors)" -ge 1 ]
	good data 4003 4003
	pattern verify "$T" 4000 8 1
	dmsetup message t 0 set on_read_error relocate
	bad data 4003 4003
	run -1 pattern verify "$T" 4000 8 1
	expect lost_sectors 1
	run -1 dmsetup message t 0 set on_read_error maybe
}

@test "reading ahead is not tried again" {
	start
	bad data 4003 4003
	changes relocations 0 python3 - "$T" <<-'PY'
		import os, sys
		fd = os.open(sys.argv[1], os.O_RDONLY)
		os.posix_fadvise(fd, 4000 * 512, 4096, os.POSIX_FADV_WILLNEED)
	PY
	seen() { (($(field io_errors) >= 1)); }
	wait_for 30 seen
	expect relocations 0
	expect lost_sectors 0
}

# A mirror of md on "t" and on the disk "mirror", which reads from "t" as long as that has no error,
# as it is the first of two idle ones: start_mirror [STATE], for both
start_mirror() {
	local disk slot=0 dir=/sys/block/md_m/md

	modprobe raid1 2>/dev/null || skip "this kernel has no raid1"
	make_null_blk mirror 64
	echo md_m >/sys/module/md_mod/parameters/new_array
	echo none >$dir/metadata_version
	echo raid1 >$dir/level
	echo 2 >$dir/raid_disks
	echo 65536 >$dir/component_size	# KiB
	for disk in "$T" /dev/mirror; do
		disk=$(readlink -f "$disk")
		cat "/sys/class/block/${disk##*/}/dev" >$dir/new_dev
		echo "$slot" >"$dir/dev-${disk##*/}/slot"
		slot=$((slot + 1))
		[[ -z ${1:-} ]] || echo "$1" >"$dir/dev-${disk##*/}/state"
	done
	echo none >$dir/resync_start
	echo active >$dir/array_state
	settle
}

end_mirror() {
	[[ ! -d /sys/block/md_m ]] || echo clear >/sys/block/md_m/md/array_state
	settle
	remove_null_blk mirror
}

@test "a mirror of md above it writes what was lost again" {
	start
	start_mirror
	pattern write /dev/md_m 0 131072 2 2048
	bad data 4003 4003
	pattern verify /dev/md_m 4000 8 2
	expect io_errors 2	# the read, and when md tried it again
	expect slots_used 1
	expect lost_sectors 0
	[[ $(</sys/block/md_m/md/degraded) == 0 ]]
	pattern verify "$T" 4000 8 2
	end_mirror
}

@test "a read of who has another copy and is in a hurry is not tried again" {
	local before
	# before 6.10 it does so for some sequential reads only: see read_balance()
	[[ $(uname -r) != 6.[0-9].* ]] || skip "this kernel's raid1 hardly ever fails fast"
	start
	start_mirror failfast
	pattern write /dev/md_m 0 131072 2 2048
	bad data 4003 4003
	before=$(reads_of data)
	pattern verify /dev/md_m 4000 8 2
	[[ $(reads_of data) == $((before + 1)) ]]
	expect relocations 0
	expect lost_sectors 0
	[[ $(</sys/block/md_m/md/degraded) == 1 ]]
	end_mirror
}

@test "that another path is tried soon says nothing of bad sectors" {
	start
	bad data 4003 4003
	modprobe dm-multipath 2>/dev/null || skip "this kernel has no dm-multipath"
	dmsetup create paths --table "0 131072 multipath \
		2 queue_mode bio 0 1 1 round-robin 0 1 0 $T"
	settle
	# each of its I/Os has REQ_FAILFAST_TRANSPORT
	changes relocations 1 run -1 pattern verify /dev/mapper/paths 4000 8 1
	expect lost_sectors 1
	pattern lost /dev/mapper/paths 4003 1
	pattern verify /dev/mapper/paths 4000 3 1
	pattern verify /dev/mapper/paths 4004 4 1
	dmsetup remove --retry paths
}

@test "what is of no whole sectors is passed on, and nothing is made up or moved for it" {
	remove_null_blk spare
	make_null_blk spare 4 blocksize=4096
	remapctl format --data "$DATA" --spare "$SPARE"
	# "top" does not hear that the sectors of what it stands on are larger now
	dmsetup create t --table "0 131072 linear $DATA 0"
	dmsetup create top --table "0 131072 linear $T 0"
	dmsetup load t --table "0 131072 remap $DATA 0 $SPARE 0"
	dmsetup suspend t
	dmsetup resume t
	settle
	[[ $(blockdev --getss "$T") == 4096 ]]
	[[ $(blockdev --getss /dev/mapper/top) == 512 ]]
	pattern write /dev/mapper/top 0 131072 1 512
	bad data 8007 8007
	run -1 pattern write /dev/mapper/top 8007 1 2
	run -1 pattern verify /dev/mapper/top 8007 1 1
	run -1 pattern verify /dev/mapper/top 8004 12 1
	pattern verify /dev/mapper/top 8000 7 1
	# in its slot, sectors are as large as the spare's; not all kernels mind
	remapctl remap t 9000+8
	pattern write /dev/mapper/top 9001 1 1 || true
	expect relocations 1
	expect lost_sectors 0
	expect slots_bad 0
	# what is of whole sectors is looked after as ever
	pattern write /dev/mapper/top 8000 8 3
	expect relocations 2
	pattern verify /dev/mapper/top 8000 8 3
	pattern verify /dev/mapper/top 9000 8 1
	dmsetup remove --retry top
}

# "cut" is so many sectors of a device from now on: cut DEVICE SECTORS
cut() {
	dmsetup load cut --table "0 $2 linear $1 0"
	dmsetup suspend --nolockfs --noflush cut
	dmsetup resume --noudevsync cut
}

@test "a device that is smaller for a while has lost nothing" {
	dmsetup create cut --table "0 131072 linear $DATA 0"
	settle
	remapctl create t --data /dev/mapper/cut --spare "$SPARE"
	pattern write "$T" 0 131072 1 2048
	cut "$DATA" 65536
	run -1 pattern verify "$T" 100000 8 1
	expect relocations 0
	expect lost_sectors 0
	cut "$DATA" 131072
	dmsetup message t 0 reset
	pattern verify "$T" 0 131072 1
	remapctl stop t
	# the spare, of which three of the replicas can still be read
	dmsetup remove --retry cut
	dmsetup create cut --table "0 8192 linear $SPARE 0"
	settle
	remapctl create t --data "$DATA" --spare /dev/mapper/cut --force
	pattern write "$T" 0 131072 1 2048
	remapctl remap t 0+6400
	cut "$SPARE" 4800
	run -1 pattern verify "$T" 6392 8 1
	expect slots_bad 0
	expect lost_sectors 0
	cut "$SPARE" 8192
	dmsetup message t 0 reset
	expect state active
	pattern verify "$T" 0 131072 1
	expect replicas_ok 5
}

@test "a slot that no longer reads: its sectors are lost, the block moves, the slot is out" {
	local first
	start
	remapctl remap t 4000+8
	first=$(remapctl dump --spare "$SPARE" --json | jq .zone_sectors)
	bad spare $((first + 2)) $((first + 2))
	run -1 pattern verify "$T" 4000 8 1
	expect lost_sectors 1
	expect slots_bad 1
	expect slots_used 1
	pattern lost "$T" 4002 1
	pattern verify "$T" 4000 2 1
	pattern verify "$T" 4003 5 1
	restart
	expect slots_bad 1
	pattern lost "$T" 4002 1
	pattern verify "$T" 4003 5 1
}

@test "write zeroes over bad, remapped and half-lost blocks; discard leaves what is remapped" {
	remove_null_blk data
	make_null_blk data 64 discard=1
	start
	bad data 9000 9000
	remapctl remap t 4000+8
	bad data 6001 6001
	run -1 pattern verify "$T" 6000 8 1
	expect lost_sectors 1
	blkdiscard -z -o $((3000 * 512)) -l $((8192 * 512)) "$T"
	expect lost_sectors 0
	dd if="$T" bs=512 skip=3000 count=8192 iflag=direct status=none |
		cmp -n $((8192 * 512)) - /dev/zero
	pattern verify "$T" 0 3000 1
	pattern verify "$T" 11192 119880 1
	pattern write "$T" 4000 8 2
	pattern write "$T" 3984 8 2
	# what is remapped keeps what it has; of the rest null_blk makes zeroes
	blkdiscard -o $((3984 * 512)) -l $((32 * 512)) "$T"
	pattern verify "$T" 4000 8 2
	cmp -n 4096 <(dd if="$T" bs=512 skip=3984 count=8 iflag=direct status=none) /dev/zero
	restart
	pattern verify "$T" 4000 8 2
	run -1 blkdiscard -s "$T"
}

@test "a disk that is dead as a whole is not a disk of bad blocks: paused, nothing remapped" {
	dmsetup create under --table "0 131072 linear $DATA 0"
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	pattern write "$T" 0 131072 1 2048
	remapctl remap t 0+8
	dmsetup suspend under
	dmsetup load under --table "0 131072 error"
	dmsetup resume under
	run -1 pattern write "$T" 4000 8 2
	expect state paused
	expect relocations 1
	run -1 pattern verify "$T" 70000 800 1
	expect lost_sectors 0
	pattern verify "$T" 0 8 1	# from its slot
	dmsetup suspend under
	dmsetup load under --table "0 131072 linear $DATA 0"
	dmsetup resume under
	remapctl reset t
	expect state active
	pattern verify "$T" 0 131072 1
}

# bats test_tags=two-cpus
@test "a disk that vanishes under reads and writes: paused, nothing lost or remapped" {
	start
	remove_null_blk data
	run -1 pattern verify "$T" 4000 8 1
	run -1 pattern write "$T" 4000 8 2
	expect relocations 0
	expect lost_sectors 0
	[[ $(field state) != failed ]]
}

@test "a spare that vanishes: failed, nothing is lost, blocks that are in their place go on" {
	start
	remapctl remap t 4000+8
	remove_null_blk spare
	run -1 pattern verify "$T" 4000 8 1
	wait_for 30 state_is failed
	expect lost_sectors 0
	pattern write "$T" 8000 800 2
	pattern verify "$T" 8000 800 2
	pattern verify "$T" 0 4000 1
}

# Reads take 100 ms each, so that the disk comes back while the sectors of blocks that did not read
# are read one by one. Should it come back later, it is paused: then, too, nothing may be lost.
@test "a disk that is away for a moment while blocks are read to be moved has lost nothing" {
	local before reader
	modprobe dm-delay
	dmsetup create inner --table "0 131072 linear $DATA 0"
	dmsetup create under --table "0 131072 delay /dev/mapper/inner 0 100 $DATA 0 0"
	settle
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	settle
	pattern write "$T" 0 4096 1 2048
	replace inner "0 131072 error"
	before=$(requests mapper/under)
	pattern verify "$T" 0 64 1 3>&- &
	reader=$!
	# the read; its blocks; their sectors; the blocks to be moved; then their sectors one by one
	wait_for 60 busier mapper/under $((before + 1 + 8 + 64 + 8 + 4))
	replace inner "0 131072 linear $DATA 0"
	wait "$reader" || true
	expect lost_sectors 0
	remapctl reset t
	pattern verify "$T" 0 4096 1
	dmsetup remove --retry t
	dmsetup remove --retry under
	dmsetup remove --retry inner
}

# All but one block answers after a minute, which fails at once: what is read to see whether the
# disk answers is still on its way when that is to be known.
@test "a disk that answers with errors alone, and else not in time, has lost nothing" {
	local i
	modprobe dm-delay
	dmsetup create under --table "0 131072 linear $DATA 0"
	settle
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	pattern write "$T" 0 131072 1 2048
	settle
	bad data 40000 40007
	slow_but_for_one 60000
	for i in 1 2; do	# the second time, none can be asked at all
		run -1 pattern verify "$T" 40000 8 1
		expect lost_sectors 0
		expect relocations 0
		expect state active
	done
	# nothing is lost by a write of a whole block
	pattern write "$T" 40000 8 2
	expect relocations 1
	# it answers: what does not read now is lost
	replace under "0 131072 linear $DATA 0"
	bad data 50000 50000
	run -1 pattern verify "$T" 50000 8 1
	expect lost_sectors 1
	pattern verify "$T" 40000 8 2
	pattern verify "$T" 0 40000 1
}

# Reads take eight seconds but for one block, which fails at once.
@test "a disk that answers late is waited for: a write to a block with lost sectors arrives" {
	modprobe dm-delay
	dmsetup create under --table "0 131072 linear $DATA 0"
	settle
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	pattern write "$T" 0 131072 1 2048
	settle
	bad data 40000 40003
	slow_but_for_one 8000
	pattern write "$T" 40000 1 2 3>&- &
	writer=$!
	wait_for 120 not kill -0 "$writer"
	wait "$writer"
	expect relocations 1
	expect lost_sectors 3
	expect state active
	replace under "0 131072 linear $DATA 0"
	pattern verify "$T" 40000 1 2
	pattern verify "$T" 40004 8000 1
}

@test "a disk that takes its time for each of its errors is told from bad blocks" {
	modprobe dm-delay
	dmsetup create under --table "0 131072 linear $DATA 0"
	settle
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	settle
	bad data 0 131071
	slow_but_for_one 8000
	wait_for 120 paused_by_reads
	expect lost_sectors 0
	expect relocations 0
}

slow_but_for_one() { # MILLISECONDS
	replace under "$(printf '%s\n' "0 40000 delay $DATA 0 $1" "40000 8 linear $DATA 40000" \
		"40008 91064 delay $DATA 40008 $1")"
}

paused_by_reads() {
	run -1 pattern verify "$T" 40000 8 1
	state_is paused
}

# Writes far away take eight seconds, and there are always some: in the part of the disk in which a
# block is to move, and across leaves of the map, which concerns all parts.
@test "a block moves between writes of which each takes longer than a drain waits at first" {
	local at mover
	modprobe dm-delay
	dmsetup create under --table "$(printf '%s\n' "0 65536 linear $DATA 0" \
		"65536 65536 delay $DATA 65536 0 $DATA 65536 8000")"
	settle
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	settle
	for at in 65536 69628; do
		while [[ ! -e $BATS_TEST_TMPDIR/enough ]]; do
			pattern write "$T" $at 8 2
		done 3>&- &
	done
	wait_for 60 is_held
	bad data 0 0
	pattern write "$T" 0 8 2 3>&- &
	mover=$!
	wait_for 120 not kill -0 "$mover"
	wait "$mover"
	touch "$BATS_TEST_TMPDIR/enough"
	wait
	expect slots_used 1
	pattern verify "$T" 0 8 2
	pattern verify "$T" 65536 8 2
	pattern verify "$T" 69628 8 2
}

# Both are looked at together, since the worker waits for the block of a message all the while.
@test "a write that has arrived does not fail because another bio's block cannot move" {
	local message writer reader status=0
	modprobe dm-delay
	dmsetup create under --table "0 8 linear $DATA 17000"
	dmsetup create cut --table "$(printf '%s\n' "0 17000 linear $DATA 0" \
		"17000 8 linear /dev/mapper/under 0" "17008 114064 linear $DATA 17008")"
	settle
	remapctl create t --data /dev/mapper/cut --spare "$SPARE"
	pattern write "$T" 0 131072 1 2048
	remapctl remap t 40000+$((($(field slots_total) - 1) * 8))
	settle
	udevadm control --stop-exec-queue	# it would want to read, too
	replace under "0 8 delay $DATA 17000 600000"
	remapctl remap t 17000+8 3>&- &		# into the last slot
	message=$!
	wait_for 60 is_held
	bad data 20000 20000
	pattern write "$T" 20000 1 2 3>&- &
	writer=$!
	wait_for 60 queued_are 1
	good data 20000 20000
	bad data 20004 20004
	pattern verify "$T" 20004 1 1 3>&- &
	reader=$!
	wait_for 60 queued_are 2
	replace under "0 8 linear $DATA 17000"
	wait "$writer"
	wait "$reader" || status=$?
	wait "$message"
	udevadm control --start-exec-queue
	((status == 1))
	expect state exhausted
	expect lost_sectors 0
	pattern verify "$T" 20000 1 2
	pattern verify "$T" 17000 3000 1
	remapctl stop t
}

is_held() {
	dmsetup status --noflush under | grep -Eq " delay ([0-9]+ )?[1-9]"
}

queued_are() { # BIOS
	[[ $(field queued) == "$1" ]]
}

# A table in the place of another, under I/O.
replace() { # DEVICE TABLE
	dmsetup suspend --noudevsync --nolockfs --noflush "$1"
	dmsetup load "$1" --table "$2"
	dmsetup resume --noudevsync "$1"
}

not() {
	! "$@"
}

# Sectors 65536 on are on a device that is suspended: it answers nothing before it is resumed.
# bats test_tags=two-cpus
@test "a write that is never answered holds up its own part of the disk alone, and is told" {
	dmsetup create under --table "0 65536 linear $DATA 65536"
	dmsetup create disk0 --table "$(printf '%s\n' "0 65536 linear $DATA 0" \
		"65536 65536 linear /dev/mapper/under 0")"
	# udev's reads of bad blocks are not to be relocations
	remapctl create t --data /dev/mapper/disk0 --spare "$SPARE" --option on_read_error=pass \
		--option burst=200
	pattern write "$T" 0 131072 1 2048
	dmsetup suspend under
	pattern write "$T" 65536 8 2 3>&- &
	writer=$!
	wait_for 30 in_flight_dm
	bad data 8000 8000		# 8 * 512 KiB on is leaf 3, the stuck write is in leaf 32
	pattern write "$T" 8000 8 2
	pattern verify "$T" 8000 8 2
	expect slots_used 1
	expect stuck 0
	bad data 0 1023			# leaf 0, the same part as leaf 32
	pattern write "$T" 0 1024 2 1024 3>&- &
	second=$!
	wait_for 60 test_stuck
	remapctl list t >/dev/null
	pattern verify "$T" 1024 800 1
	# each of its 128 blocks several times: that they wait is not what burst is about
	wait_for 60 busier data $(($(requests data) + 4 * 128))
	expect state active
	bad data 12000 12000
	pattern write "$T" 12000 8 2
	expect slots_used 2
	dmsetup resume under
	wait "$writer" "$second"
	wait_for 30 not test_stuck
	expect slots_used 130
	pattern verify "$T" 0 1024 2
	pattern verify "$T" 65536 8 2
	pattern verify "$T" 65544 8000 1
	remapctl stop t
	dmsetup remove --retry disk0
}

in_flight_dm() {
	in_flight mapper/t
}

test_stuck() {
	[[ $(field stuck) == 1 ]]
}

@test "several targets in one table, each with its own spare" {
	make_null_blk data2 64
	make_null_blk spare2 4
	remapctl format --data "$DATA" --spare "$SPARE"
	remapctl format --data /dev/data2 --spare /dev/spare2
	dmsetup create t --table "$(printf '%s\n' "0 131072 remap $DATA 0 $SPARE 0" \
		"131072 131072 remap /dev/data2 0 /dev/spare2 0")"
	pattern write "$T" 0 262144 1 2048
	bad data 131071 131071
	bad data2 0 7
	pattern write "$T" 130000 3000 2
	pattern verify "$T" 130000 3000 2
	pattern verify "$T" 0 130000 1
	pattern verify "$T" 133000 129144 1
	dmsetup remove --retry t
	remove_null_blk data2
	remove_null_blk spare2
}

# bats test_tags=two-cpus
@test "a device is removed by force, and suspended without flush, while writes and moves go on" {
	start
	before=$(requests mapper/t)
	fio --name=w --filename="$T" --rw=randwrite --bs=4k --direct=1 --ioengine=libaio \
		--iodepth=16 --size=32m --io_size=4g >/dev/null 2>&1 3>&- &
	writer=$!
	wait_for 30 busier mapper/t "$before"
	for i in 1 2 3 4 5; do
		remapctl remap t "$((i * 8000))+800"
		dmsetup suspend --noflush --nolockfs t
		dmsetup resume t
	done
	expect slots_used 500
	run dmsetup remove --force t
	run -1 wait "$writer" || true
	dmsetup remove --retry t 2>/dev/null || true
	[[ ! -e $T ]] || wait_for 30 dmsetup remove t
	remapctl start t --data "$DATA" --spare "$SPARE"
	expect slots_used 500
}
