#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What the block layer can send and what it may know of a device: polled I/O, I/O that must not
# wait, FUA, read-only devices, limits, integrity; disks of other kinds; errors that say nothing
# about the medium; CPUs, names and whole devices that come and go under I/O.

bats_require_minimum_version 1.5.0
load remap

setup() {
	load_module
}

teardown() {
	local cpu
	for cpu in /sys/devices/system/cpu/cpu*/online; do
		echo 1 >"$cpu" || true
	done
	udevadm control --start-exec-queue
	end_group
	remove_devices
}

start() { # [DISK]
	remapctl create t --data "${1:-$DATA}" --spare "$SPARE"
	pattern write "$T" 0 "$(blockdev --getsz "$T")" 1 2048
}

# An attribute of a device's queue: queue_of DEVICE ATTRIBUTE
queue_of() {
	cat "/sys/block/$(node_of "$1")/queue/$2"
}

@test "polled reads and writes, on bad, remapped and lost blocks" {
	make_null_blk data 64 submit_queues=1 poll_queues=1
	make_null_blk spare 4 submit_queues=1 poll_queues=1
	start
	[ "$(queue_of mapper/t io_poll)" = 1 ]
	pattern --hipri verify "$T" 0 8000 1
	bad data 4003 4003
	pattern --hipri write "$T" 4000 8 2
	expect relocations 1
	pattern --hipri verify "$T" 3000 1000 1
	pattern --hipri verify "$T" 4000 8 2
	pattern --hipri write "$T" 4004 1 3
	pattern --hipri verify "$T" 4004 1 3
	bad data 6001 6001
	run -1 pattern --hipri verify "$T" 6000 8 1
	expect lost_sectors 1
	pattern --hipri lost "$T" 6001 1
	pattern --hipri write "$T" 6001 1 4
	pattern --hipri verify "$T" 6001 1 4
	fio --name=poll --filename="$T" --offset=4m --size=32m --io_size=4m --rw=randrw --bs=4k \
		--direct=1 --ioengine=io_uring --hipri --iodepth=8 --verify=crc32c --minimal
}

# A file as the spare, since both devices must know of zeroes as a request of its own.
start_with_zeroes() { # DISK
	new_file "$BATS_TEST_TMPDIR/spare" 4M
	remapctl create t --data "$1" --spare "$(make_loop "$BATS_TEST_TMPDIR/spare")"	# loop0
	(($(queue_of mapper/t write_zeroes_max_bytes) > 0))
	pattern write "$T" 0 "$(blockdev --getsz "$T")" 1 2048
}

zero() { # FIRST COUNT
	blkdiscard -f -z -o $(($1 * 512)) -l $(($2 * 512)) "$T"	# -f: it does not read
}

are_zeroes() { # FIRST COUNT
	dd if="$T" bs=512 skip="$1" count="$2" iflag=direct status=none |
		cmp -n $(($2 * 512)) - /dev/zero
}

# What the disk is asked to write has no data, so what is moved has to make some.
@test "zeroes as a request of its own, over remapped and half-lost blocks and parts of them" {
	local disk
	disk=$(make_scsi_debug 16 lbpu=1 lbpws=1 delay=0)
	start_with_zeroes "$disk"
	remapctl remap t 4000+8 4016+8 6400+400
	scsi_debug_set medium_error_start 5001
	scsi_debug_set medium_error_count 1
	scsi_debug_set opts 2
	run -1 pattern verify "$T" 5000 8 1
	scsi_debug_set opts 0
	expect lost_sectors 1
	zero 4003 2			# in a remapped block
	are_zeroes 4003 2
	pattern verify "$T" 4000 3 1
	pattern verify "$T" 4005 3 1
	zero 5004 2			# beside what is lost
	expect lost_sectors 1
	pattern lost "$T" 5001 1
	zero 3999 3000
	expect lost_sectors 0
	are_zeroes 3999 3000
	pattern verify "$T" 0 3999 1
	pattern verify "$T" 6999 20000 1
	expect slots_used 53
	restart "$disk" /dev/loop0
	are_zeroes 3999 3000
	pattern verify "$T" 0 3999 1
	pattern verify "$T" 6999 20000 1
}

@test "zeroes as a request of its own that meets bad blocks: they move, nothing else is zeroed" {
	local disk
	has_nvme || skip "no nvme-loop, which can be asked for zeroes and refuse"
	make_null_blk data 64
	disk=$(make_nvme "$DATA")
	start_with_zeroes "$disk"
	remapctl remap t 4000+8
	bad data 6001 6001		# and is lost
	run -1 pattern verify "$T" 6000 8 1
	expect lost_sectors 1
	bad data 3203 3203		# alone; many in a row; the last one
	bad data 9000 9040
	bad data 11188 11188
	zero 3003 8186
	expect lost_sectors 0
	are_zeroes 3003 8186
	pattern verify "$T" 0 3003 1
	pattern verify "$T" 11189 119883 1
	expect slots_used 10		# 2, and 1 + 6 + 1
	restart "$disk" /dev/loop0
	are_zeroes 3003 8186
	pattern verify "$T" 0 3003 1
	pattern verify "$T" 11189 119883 1
	bad data 20001 20001		# parts of a bad block: the rest of it is kept
	zero 20002 2
	are_zeroes 20002 2
	pattern verify "$T" 20000 1 1
	pattern lost "$T" 20001 1
	pattern verify "$T" 20004 4 1
}

# Each gap between blocks that moved meanwhile is zeroed by itself. Block 255 waits for a write in
# its part of the disk, and so the request comes back to the others.
@test "zeroes as a request of its own that come back to remapped blocks: nothing else is zeroed" {
	local disk writer zeroer n
	stuck() { (($(field stuck) > 0)); }
	has_nvme || skip "no nvme-loop, which can be asked for zeroes and refuse"
	make_null_blk data 64
	disk=$(make_nvme "$DATA")
	dmsetup create under --table "0 65536 linear $disk 65536"
	dmsetup create disk0 --table "$(printf '%s\n' "0 65536 linear $disk 0" \
		"65536 65536 linear /dev/mapper/under 0")"
	start_with_zeroes /dev/mapper/disk0
	bad data 2040 2040
	for ((n = 0; n < 90; n++)); do
		bad data $((2048 + 16 * n)) $((2048 + 16 * n))
	done
	dmsetup suspend under
	pattern write "$T" 65536 8 2 3>&- &
	writer=$!
	wait_for 30 in_flight mapper/t
	zero 2040 1500 3>&- &
	zeroer=$!
	wait_for 60 stuck
	dmsetup resume under
	wait "$writer"
	wait "$zeroer"
	expect slots_used 91
	are_zeroes 2040 1500
	pattern verify "$T" 0 2040 1
	pattern verify "$T" 3540 61996 1
	pattern verify "$T" 65536 8 2
	pattern verify "$T" 65544 65528 1
}

# The same error for each of them, as from a disk behind a bridge that does not know the command.
@test "zeroes as a request of its own that a disk always fails are written, and not asked for" {
	local disk errors before each
	disk=$(make_scsi_debug 16 lbpu=1 lbpws=1 delay=0)
	errors=/sys/block/${disk##*/}/device
	each=/sys/kernel/debug/scsi_debug/$(basename "$(readlink -f "$errors")")/error
	errors=$errors/ioerr_cnt
	[[ -e $each ]] || skip "this kernel's scsi_debug does not fail commands of one's choice"
	start_with_zeroes "$disk"
	remapctl remap t 4000+8
	for op in 0x41 0x93; do		# WRITE SAME: check condition, medium error
		echo "2 1 $op 0 0 0x2 0x3 0x11 0" >"$each"
	done
	before=$(<"$errors")
	zero 3003 8186
	(($(<"$errors") > before))
	(($(<"$errors") < before + 50))	# of 1,024 blocks
	are_zeroes 3003 8186
	pattern verify "$T" 0 3003 1
	pattern verify "$T" 11189 20000 1
	before=$(<"$errors")
	zero 20001 9			# each bio, once
	(($(<"$errors") == before + 1))
	are_zeroes 20001 9
	pattern verify "$T" 20000 1 1
	pattern verify "$T" 20010 9000 1
	[[ $(field slots_used),$(field relocations),$(field state) == 1,1,active ]]
	restart "$disk" /dev/loop0
	are_zeroes 3003 8186
	are_zeroes 20001 9
}

# Requests that disk and spare have while a device is streamed over, in pieces of 64 KiB, which no
# queue cuts: DATA SPARE
requests_of() { # read|write DEVICE
	local ours theirs

	ours=$(requests data) theirs=$(requests spare)
	if [[ $1 == read ]]; then
		dd if="$2" of=/dev/null bs=64K iflag=direct status=none
	else
		dd if=/dev/zero of="$2" bs=64K count=1024 oflag=direct status=none
	fi
	echo $(($(requests data) - ours)) $(($(requests spare) - theirs))
}

# bats test_tags=two-cpus
@test "large I/O is cut at remapped blocks and nowhere else" {
	local op linear n
	make_null_blk data 64
	make_null_blk spare 4
	start
	dmsetup create plain --table "0 131072 linear $DATA 0"
	for op in read write; do
		read -r linear _ < <(requests_of "$op" /dev/mapper/plain)
		[ "$linear" = 1024 ]
		[[ $(requests_of "$op" "$T") == "$linear 0" ]]
	done
	# in the middle of ten pieces, and as the first or last block of another ten
	for n in {0..9}; do
		remapctl remap t $((2048 * n + 1000))
		remapctl remap t $((2048 * (n + 20)))
		remapctl remap t $((2048 * (n + 40) + 2040))
	done
	for op in read write; do
		read -r linear _ < <(requests_of "$op" /dev/mapper/plain)
		run requests_of "$op" "$T"
		echo "$op: $linear, $output"
		[[ $output == "$((linear + 10)) 30" ]]
	done
	dmsetup remove plain
}

@test "what must not wait goes at once and whole, or not at all" {
	make_null_blk data 64
	make_null_blk spare 4
	start
	remapctl remap t 4000+8
	bad data 6001 6001
	run -1 pattern verify "$T" 6000 8 1
	good data 6001 6001
	pattern --nowait verify "$T" 0 4000 1
	pattern --nowait verify "$T" 4002 4 1		# in its slot
	pattern --nowait write "$T" 4002 4 2
	pattern --nowait verify "$T" 4002 4 2
	run -1 pattern --nowait write "$T" 3996 16 3	# would have to be cut
	[[ $output == *"temporarily unavailable"* ]]
	pattern verify "$T" 3996 4 1
	run -2 pattern --nowait verify "$T" 6001 1 1	# is for the worker
	[[ $output == *"temporarily unavailable"* ]]
	run -1 pattern --nowait write "$T" 6001 1 3
	[[ $output == *"temporarily unavailable"* ]]
	expect lost_sectors 1
	bad data 7000 7000
	pattern --nowait write "$T" 7000 8 4		# it went; that it failed is our affair
	pattern --nowait verify "$T" 7000 8 4
}

@test "a write with FUA and a flush before it, where it fails" {
	local trace=/sys/kernel/tracing dev
	make_null_blk data 64 cache_size=1
	make_null_blk spare 4 cache_size=1
	start
	bad data 4003 4003
	pattern --dsync write "$T" 4000 8 2
	pattern --dsync write "$T" 4000 8 3
	# what is tried again, beside the bad block, is as durable as that
	bad data 5003 5003
	dev=$((0x$(stat -L -c %t "$DATA") << 20 | 0x$(stat -L -c %T "$DATA")))
	echo >"$trace/trace"
	echo "dev == $dev" >"$trace/events/block/block_rq_issue/filter"
	echo 1 >"$trace/events/block/block_rq_issue/enable"
	pattern --dsync write "$T" 4992 24 4
	echo 0 >"$trace/events/block/block_rq_issue/enable"
	echo 0 >"$trace/events/block/filter"
	grep -E 'block_rq_issue: [0-9,]+ W[A-Z]* .* (4992|5008) \+ 8 ' "$trace/trace"
	run ! grep -E 'block_rq_issue: [0-9,]+ W[^F ]* .* [0-9]+ \+ 8 ' "$trace/trace"
	pattern --dsync write "$T" 3000 2000 4
	expect relocations 2
	restart
	pattern verify "$T" 3000 2016 4
	pattern verify "$T" 0 3000 1
}

@test "a device set read-only takes no writes" {
	make_null_blk data 64
	make_null_blk spare 4
	start
	blockdev --setro "$T"
	run -1 pattern write "$T" 4000 8 2
	pattern verify "$T" 0 131072 1
	blockdev --setrw "$T"
	pattern write "$T" 4000 8 2
}

@test "a disk or a spare that has become read-only is still read" {
	make_null_blk data 64
	make_null_blk spare 4
	start
	remapctl remap t 4000+8
	remapctl stop t
	blockdev --setro "$DATA"
	run -0 remapctl start t --data "$DATA" --spare "$SPARE"
	[[ $output == *"warning: $DATA is read-only, so t is, too"* ]]
	expect state readonly
	pattern verify "$T" 0 131072 1
	run -1 pattern write "$T" 8000 8 2
	run ! dmsetup message t 0 remap 8000 8
	remapctl stop t
	run ! dmsetup create t --table "0 131072 remap $DATA 0 $SPARE 0"
	blockdev --setrw "$DATA"

	blockdev --setro "$SPARE"
	run -0 remapctl start t --data "$DATA" --spare "$SPARE"
	[[ $output == *"warning: $SPARE is read-only"* ]]
	expect state readonly
	pattern verify "$T" 0 131072 1
	pattern write "$T" 8000 8 2		# in its place
	run -1 pattern write "$T" 4000 8 2	# in its slot
	remapctl stop t
	blockdev --setrw "$SPARE"
	remapctl start t --data "$DATA" --spare "$SPARE"
	expect state active
	pattern verify "$T" 0 8000 1
	pattern verify "$T" 8000 8 2
}

@test "a zoned disk is refused with a reason, by the tool and by the target" {
	make_null_blk data 64
	make_null_blk spare 4
	remapctl format --data "$DATA" --spare "$SPARE"
	remove_null_blk data
	make_null_blk data 64 zoned=1 zone_size=4
	run -1 remapctl format --data "$DATA" --spare "$SPARE" --force
	[[ $output == *"$DATA: zoned"* ]]
	echo "ops.bats: a zoned disk" >/dev/kmsg
	run ! dmsetup create t --table "0 131072 remap $DATA 0 $SPARE 0"
	dmesg | sed '1,/ops.bats: a zoned disk/d' | grep "remap: Zoned devices are not supported"
}

@test "limits are those of both devices: sectors of 512 bytes and of 4096, short requests" {
	local limit
	make_null_blk data 64 max_sectors=256
	make_null_blk spare 4 blocksize=4096 max_sectors=64
	start
	[ "$(queue_of mapper/t logical_block_size)" = 4096 ]
	limit=$(queue_of spare max_hw_sectors_kb)
	((limit < $(queue_of data max_hw_sectors_kb)))
	[ "$(queue_of mapper/t max_hw_sectors_kb)" = "$limit" ]
	bad data 4000 4000
	pattern write "$T" 3200 2048 2
	expect relocations 1
	pattern verify "$T" 3200 2048 2
	pattern verify "$T" 0 3200 1
}

@test "a disk with protection information: not claimed, not harmed" {
	local disk
	disk=$(make_scsi_debug 8 dif=1 dix=1 sector_size=512)
	[[ $(<"/sys/block/${disk##*/}/integrity/format") == T10-DIF* ]]
	make_null_blk spare 4
	start "$disk"
	run cat "/sys/block/$(node_of mapper/t)/integrity/format"
	[[ $status -ne 0 || $output == none ]]
	remapctl remap t 4000+8
	pattern write "$T" 3996 16 2
	pattern verify "$T" 3996 16 2
	pattern verify "$T" 0 3996 1
}

@test "a disk of 512-byte sectors in physical sectors of 4096, with sense data" {
	local disk
	disk=$(make_scsi_debug 8 sector_size=512 physblk_exp=3)
	make_null_blk spare 4
	start "$disk"
	expect block_size 4096
	[ "$(queue_of mapper/t physical_block_size)" = 4096 ]
	[ "$(queue_of mapper/t logical_block_size)" = 512 ]
	scsi_debug_set medium_error_start 4803
	scsi_debug_set medium_error_count 2
	scsi_debug_set opts 2
	run -1 pattern verify "$T" 4000 2048 1
	expect lost_sectors 2
	expect relocations 1
	pattern lost "$T" 4803 2
	pattern verify "$T" 4800 3 1
	pattern verify "$T" 4805 3 1
	pattern write "$T" 4804 1 2
	pattern verify "$T" 4804 1 2
	pattern lost "$T" 4803 1
	pattern write "$T" 4799 7 3
	pattern verify "$T" 4799 7 3
	expect lost_sectors 0
	pattern verify "$T" 0 4799 1
	pattern verify "$T" 4806 4000 1
}

@test "a disk that is write-protected, or taken offline: errors, and nothing is remapped" {
	local disk
	disk=$(make_scsi_debug 8 sector_size=512)
	make_null_blk spare 4
	start "$disk"
	remapctl remap t 0+8
	scsi_debug_set wp 1
	run -1 pattern write "$T" 4000 800 2
	pattern write "$T" 0 8 2
	scsi_debug_set wp 0
	expect relocations 1
	echo offline >"/sys/block/${disk##*/}/device/state"
	run -1 pattern write "$T" 4000 8 2
	run -1 pattern verify "$T" 4000 8 1
	pattern verify "$T" 0 8 2
	echo running >"/sys/block/${disk##*/}/device/state"
	expect relocations 1
	expect lost_sectors 0
	expect state paused	# for SCSI, offline is an I/O error; the probe tells
	remapctl reset t
	pattern verify "$T" 8 16376 1
	pattern write "$T" 4000 800 3
	pattern verify "$T" 4000 800 3
}

# Only bad blocks are moved, and only once no write is on its way to them: one that is held back
# by the disk (a dm-delay, until it is suspended) holds back the move.
held_write() { # FIRST COUNT MOVE: write COUNT sectors, move the block at sector MOVE meanwhile
	local writer mover trace=/sys/kernel/tracing
	make_null_blk data 64
	make_null_blk spare 4
	dmsetup create under --table "0 131072 linear $DATA 0"
	start /dev/mapper/under
	dmsetup load under --table "0 131072 delay $DATA 0 0 $DATA 0 60000"
	dmsetup suspend under
	dmsetup resume under
	echo >"$trace/trace"
	echo 1 >"$trace/events/remap/remap_relocate_end/enable"
	pattern write "$T" "$1" "$2" 2 3>&- &
	writer=$!
	wait_for 30 in_flight mapper/t
	remapctl remap t "$3+8" 3>&- &
	mover=$!
	# it has moved, or has been put off
	wait_for 60 grep -q remap_relocate_end: "$trace/trace"
	echo 0 >"$trace/events/remap/remap_relocate_end/enable"
	dmsetup load under --table "0 131072 linear $DATA 0"
	dmsetup suspend under
	dmsetup resume under
	wait "$writer"
	wait "$mover" || remapctl remap t "$3+8"
	expect slots_used 1
	pattern verify "$T" "$1" "$2" 2
	pattern verify "$T" 0 "$1" 1
}

# bats test_tags=two-cpus
@test "a block does not move while a write is on its way to it" {
	held_write 4000 8 4000
}

# In two leaves of the map, the block that is to move in the second: such writes have counters of
# their own.
# bats test_tags=two-cpus
@test "a block does not move while a write is on its way to it and to one far from it in the map" {
	held_write 4088 16 4096
}

# Here it is a read that is held back, by the spare. The block leaves its slot because of a sector
# that was lost, with all it has written anew, so that nothing else is read from there.
@test "a slot is not given to another block while a read of it is on its way" {
	local reader writer size slots trace=/sys/kernel/tracing
	make_null_blk data 64
	make_null_blk spare 4
	size=$(blockdev --getsz "$SPARE")
	dmsetup create sunder --table "0 $size linear $SPARE 0"
	remapctl create t --data "$DATA" --spare /dev/mapper/sunder --option verify=0
	pattern write "$T" 0 131072 1 2048
	bad data 4000 4000
	remapctl remap t 4000+8		# to slot 0
	expect lost_sectors 1
	slots=$(field slots_total)
	remapctl remap t 8192+$((8 * (slots - 2)))
	remapctl unmap t 8192+8		# the last slot is the next one, then slot 0 if it is free
	expect slots_used $((slots - 2))
	udevadm control --stop-exec-queue	# it would look at the spare, and wait
	dmsetup load sunder --table "0 $size delay $SPARE 0 60000 $SPARE 0 0"
	dmsetup suspend sunder --noudevsync
	dmsetup resume sunder --noudevsync
	pattern verify "$T" 4004 4 1 3>&- &
	reader=$!
	wait_for 30 holds sunder 4
	echo >"$trace/trace"
	echo 1 >"$trace/events/remap/remap_relocate_end/enable"
	pattern write "$T" 4000 8 2 3>&- &
	writer=$!
	# it has moved, or has been put off
	wait_for 60 grep -q remap_relocate_end: "$trace/trace"
	echo 0 >"$trace/events/remap/remap_relocate_end/enable"
	remapctl remap t 100000+8
	dmsetup load sunder --table "0 $size linear $SPARE 0"
	dmsetup suspend sunder --noudevsync
	dmsetup resume sunder --noudevsync
	udevadm control --start-exec-queue
	wait "$reader"
	wait "$writer"
	expect slots_used $((slots - 1))
	expect lost_sectors 0
	pattern verify "$T" 4000 8 2
	pattern verify "$T" 100000 8 1
}

end_group() {
	local group=$BATS_TEST_TMPDIR/group

	mountpoint -q "$group" || return 0
	[[ ! -d $group/slow ]] || wait_for 30 rmdir "$group/slow"	# once its process is gone
	umount "$group"
}

# And here by the limits of its process, so that the block can be read to be moved back.
@test "a slot that a block has left is not given to another one under a read of it" {
	local reader mover slots dev trace=/sys/kernel/tracing group=$BATS_TEST_TMPDIR/group
	mkdir "$group"
	mount -t cgroup2 none "$group"
	grep -qw io "$group/cgroup.controllers" || skip "no limits for I/O in this kernel"
	make_null_blk data 64
	make_null_blk spare 4
	remapctl create t --data "$DATA" --spare "$SPARE" --option verify=0
	pattern write "$T" 0 131072 1 2048
	remapctl remap t 4000+8		# to slot 0
	slots=$(field slots_total)
	remapctl remap t 8192+$((8 * (slots - 2)))
	remapctl unmap t 8192+8		# free are the last slot, which is the next one, and slot 1
	echo +io >"$group/cgroup.subtree_control"
	mkdir "$group/slow"
	dev=$((0x$(stat -L -c %t "$SPARE"))):$((0x$(stat -L -c %T "$SPARE")))
	echo "$dev rbps=2" >"$group/slow/io.max"
	(echo "$BASHPID" >"$group/slow/cgroup.procs" && exec pattern verify "$T" 4000 8 1) 3>&- &
	reader=$!
	wait_for 30 in_flight mapper/t
	echo >"$trace/trace"
	echo 1 >"$trace/events/remap/remap_relocate_end/enable"
	remapctl unmap t 4000+8 3>&- &
	mover=$!
	# it has moved, or has been put off
	wait_for 60 grep -q remap_relocate_end: "$trace/trace"
	echo 0 >"$trace/events/remap/remap_relocate_end/enable"
	remapctl remap t 100000+16
	echo "$dev rbps=max" >"$group/slow/io.max"
	wait "$reader"
	wait "$mover" || remapctl unmap t 4000+8
	expect slots_used $((slots - 1))
	pattern verify "$T" 4000 8 1
	pattern verify "$T" 100000 16 1
}

@test "what waits for a block that moves goes to its new place" {
	local writer mover
	make_null_blk data 64
	make_null_blk spare 4
	dmsetup create sunder --table "0 8192 linear $SPARE 0"
	remapctl create t --data "$DATA" --spare /dev/mapper/sunder
	pattern write "$T" 4000 8 1
	# what is written to the spare stays on its way
	dmsetup load sunder --table "0 8192 delay $SPARE 0 0 $SPARE 0 60000"
	dmsetup suspend sunder
	dmsetup resume sunder
	remapctl remap t 4000+8 3>&- &
	mover=$!
	wait_for 30 holds sunder 5
	pattern write "$T" 4000 8 2 3>&- &
	writer=$!
	wait_for 30 in_flight mapper/t
	dmsetup load sunder --table "0 8192 linear $SPARE 0"
	dmsetup suspend sunder
	dmsetup resume sunder
	wait "$writer"
	wait "$mover"
	expect slots_used 1
	pattern verify "$T" 4000 8 2
}

# bats test_tags=two-cpus
@test "CPUs that leave and come back under I/O and moves: every write is accounted for" {
	local writer before i
	[[ -w /sys/devices/system/cpu/cpu1/online ]] || skip "no CPU that can leave"
	make_null_blk data 64 irqmode=2 completion_nsec=200000
	make_null_blk spare 4
	start
	before=$(requests mapper/t)
	fio --name=w --filename="$T" --rw=randwrite --bs=4k --direct=1 --ioengine=libaio \
		--iodepth=16 --size=64m --io_size=4g >/dev/null 2>&1 3>&- &
	writer=$!
	wait_for 30 busier mapper/t "$before"
	for i in 1 2 3 4; do
		echo 0 >/sys/devices/system/cpu/cpu1/online
		remapctl remap t "$((i * 16000))+64"
		echo 1 >/sys/devices/system/cpu/cpu1/online
		remapctl unmap t "$((i * 16000))+32"
	done
	kill "$writer"
	wait "$writer" || true
	expect slots_used 16
	expect stuck 0
	expect state active
}

# Nodes of the map grow, become another kind, shrink and go: a block in each of 300 leaves, and all
# of one leaf, which is amid the load.
# bats test_tags=two-cpus
@test "blocks move to and fro, alone and in a crowd, under I/O that looks for them" {
	local writer before round
	make_null_blk data 320
	make_null_blk spare 16
	remapctl create t --data "$DATA" --spare "$SPARE"
	seq 0 256 76544 >/tmp/list
	fio --name=w --filename="$T" --rw=randrw --bs=4k --direct=1 --ioengine=libaio --iodepth=8 \
		--offset=9m --size=3m --io_size=16g --verify=crc32c --verify_backlog=64 \
		--verify_fatal=1 --minimal >/tmp/fio.log 2>&1 3>&- &
	writer=$!
	before=$(requests mapper/t)
	wait_for 30 busier mapper/t "$before"
	for round in 1 2 3; do
		remapctl remap t 20480+2048
		expect slots_used 256
		remapctl import t --badblocks /tmp/list --list-block-size 4096
		expect slots_used 555
		remapctl unmap t 0+20480
		remapctl unmap t 20480+1800
		expect slots_used $((555 - 10 - 225))
		remapctl unmap t 0+655360
		expect slots_used 0
		before=$(requests mapper/t)
		wait_for 30 busier mapper/t $((before + 64))
	done
	# it has found nothing wrong so far
	kill -0 "$writer"
	kill "$writer"
	wait "$writer" || true
	[[ $(tail -n 1 /tmp/fio.log) == 3\;*\;w\;0\;0\;* ]] || { cat /tmp/fio.log; return 1; }
	expect stuck 0
	expect state active
}

# bats test_tags=two-cpus
@test "a device is renamed under I/O and goes on by its new name" {
	local writer
	make_null_blk data 64
	make_null_blk spare 4
	start
	before=$(requests mapper/t)
	# which opens its file again now and then
	fio --name=w --filename="/dev/$(node_of mapper/t)" --rw=randwrite --bs=4k --direct=1 \
		--ioengine=libaio --iodepth=4 --offset=32m --size=32m --io_size=4g \
		>/dev/null 2>&1 3>&- &
	writer=$!
	wait_for 30 busier mapper/t "$before"
	dmsetup rename t other
	kill -0 "$writer"
	bad data 4003 4003
	pattern write /dev/mapper/other 4000 8 2
	[[ $(remapctl status other --json | jq '.[0].relocations') == 1 ]]
	run -1 remapctl status t
	dmsetup rename other t
	kill "$writer"
	wait "$writer" || true
	pattern verify "$T" 4000 8 2
}

# bats test_tags=two-cpus
@test "both devices vanish under I/O: errors, an end, and nothing is concluded" {
	local writer
	make_null_blk data 64
	make_null_blk spare 4
	start
	remapctl remap t 0+800 60000+800
	before=$(requests mapper/t)
	fio --name=rw --filename="$T" --rw=randrw --bs=4k --direct=1 --ioengine=libaio \
		--iodepth=16 --size=64m --io_size=4g --continue_on_error=none >/dev/null 2>&1 3>&- &
	writer=$!
	wait_for 30 busier mapper/t "$before"
	remove_null_blk spare
	remove_null_blk data
	run ! wait "$writer"
	run -1 pattern verify "$T" 0 8 1
	run -1 pattern write "$T" 8000 8 2
	wait_for 30 state_is failed
	expect lost_sectors 0
	expect slots_used 200
	run -1 remapctl reset t
	run -1 remapctl remap t 8000
	remapctl stop t
}

fsync_at() { # SECTOR
	dd if=/dev/zero of="$T" bs=4096 count=1 seek=$(($1 / 8)) oflag=direct conv=fsync,notrunc \
		status=none
}

@test "a spare that dies takes no flush with it, but for what was written to its slots" {
	local i
	make_null_blk data 64
	make_null_blk spare 4 cache_size=1
	remapctl create t --data "$DATA" --spare "$SPARE"
	fsync_at 800
	remapctl remap t 0+8
	fsync_at 800
	remove_null_blk spare
	for i in 1 2 3; do
		fsync_at 800	# no slot was written since the last flush
	done
	remapctl stop t
	make_null_blk spare 4 cache_size=1
	remapctl create t --data "$DATA" --spare "$SPARE"
	remapctl remap t 0+8
	dd if=/dev/zero of="$T" bs=4096 count=1 oflag=direct conv=notrunc status=none
	remove_null_blk spare
	# that write is lost, perhaps: whoever asks is told, for each of them may have made it
	for i in 1 2 3 4; do
		run ! fsync_at 800
	done
	wait_for 20 state_is failed
	run ! fsync_at 800
}

# A journal's commit asks for a flush before it, of which device-mapper forgets that it failed.
@test "a file system is told that the spare could not be flushed before its commit" {
	local type sector
	for type in ext4 xfs; do
		make_null_blk data 512
		make_null_blk spare 8 cache_size=1
		remapctl create t --data "$DATA" --spare "$SPARE"
		if [[ $type == xfs ]]; then mkfs.xfs -q -K "$T"; else mkfs.ext4 -q "$T"; fi
		mkdir -p /mnt/t
		mount "$T" /mnt/t
		head -c 4096 /dev/urandom >/mnt/t/file
		sync /mnt/t/file
		sector=$(filefrag -b512 -v /mnt/t/file | awk -F'[ .:]+' '/^ *0:/ { print $5 }')
		remapctl remap t "$sector+8"
		sync
		# into the spare's cache, and something to commit
		dd if=/dev/zero of=/mnt/t/file bs=4096 count=1 oflag=direct conv=notrunc status=none
		chmod 600 /mnt/t/file
		remove_null_blk spare
		run -1 sync /mnt/t/file
		umount /mnt/t
		remapctl stop t
		remove_null_blk data
	done
}

# The data device takes its time for its half of the flush, and meanwhile the spare is well again.
@test "a commit whose flush failed fails, too, if another flush has succeeded since" {
	local disks disk sector commit result=0
	make_null_blk data 512 cache_size=1
	mapfile -t disks < <(make_scsi_debug 16)
	disk=${disks[0]}
	dmsetup create under --table "0 1048576 linear $DATA 0"
	settle
	remapctl create t --data /dev/mapper/under --spare "$disk"
	# no commit but that of "sync"
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$T" 256M
	mkdir -p /mnt/t
	mount -o commit=600 "$T" /mnt/t
	head -c 4096 /dev/urandom >/mnt/t/file
	sync /mnt/t/file
	sector=$(filefrag -b512 -v /mnt/t/file | awk -F'[ .:]+' '/^ *0:/ { print $5 }')
	remapctl remap t "$sector+8"
	sync
	settle
	modprobe dm-delay
	dmsetup load under --table "0 1048576 delay $DATA 0 0 $DATA 0 0 $DATA 0 60000"
	dmsetup suspend --noudevsync --nolockfs --noflush under
	dmsetup resume --noudevsync under
	dd if=/dev/zero of=/mnt/t/file bs=4096 count=1 oflag=direct conv=notrunc status=none
	chmod 600 /mnt/t/file
	echo offline >"/sys/block/${disk#/dev/}/device/state"
	sync /mnt/t/file 3>&- &
	commit=$!
	wait_for 30 flush_is_held
	wait_for 30 state_is failed
	echo running >"/sys/block/${disk#/dev/}/device/state"
	# it has the spare flushed
	run ! pattern --dsync write "$T" 900000 8 2
	flush_is_held
	dmsetup load under --table "0 1048576 linear $DATA 0"
	dmsetup suspend --noudevsync --nolockfs --noflush under
	dmsetup resume --noudevsync under
	wait "$commit" || result=$?	# status is what "run" has left
	((result == 1))
	umount /mnt/t
}

flush_is_held() {
	dmsetup status --noflush under | grep -q " delay [0-9]* [0-9]* [1-9]"
}

# What the flush that failed did not write may be lost, however the next one goes, and who is to
# hear of it is not known: so do those that were to be durable before that next one.
@test "writes that are to be durable go on when what could not be flushed is" {
	local disks disk
	make_null_blk data 64
	mapfile -t disks < <(make_scsi_debug 8)
	disk=${disks[0]}
	remapctl create t --data "$DATA" --spare "$disk"
	pattern write "$T" 0 131072 1 2048
	remapctl remap t 0+8
	pattern write "$T" 0 8 2
	fsync_at 800
	pattern write "$T" 0 8 3
	echo offline >"/sys/block/${disk#/dev/}/device/state"
	run ! fsync_at 800
	wait_for 20 state_is failed
	run ! pattern --dsync write "$T" 2000 8 3
	run ! pattern --dsync write "$T" 2000 1600 3
	echo running >"/sys/block/${disk#/dev/}/device/state"
	run ! pattern --dsync write "$T" 3000 8 3
	pattern --dsync write "$T" 3000 8 3
	pattern --dsync write "$T" 4000 1600 3
	remapctl reset t
	expect state active
	pattern verify "$T" 0 8 3
	pattern verify "$T" 3000 8 3
	pattern verify "$T" 4000 1600 3
	pattern verify "$T" 5600 120000 1
	expect lost_sectors 0
}

# It would have arrived: the spare is well.
@test "nothing durable is written to the spare while the data device could not be flushed" {
	local disks disk
	mapfile -t disks < <(make_scsi_debug 8)
	disk=${disks[0]}
	make_null_blk spare 4
	remapctl create t --data "$disk" --spare "$SPARE"
	pattern write "$T" 0 16384 1 2048
	remapctl remap t 0+8
	sync "$T"
	echo offline >"/sys/block/${disk#/dev/}/device/state"
	run ! sync "$T"
	run ! pattern --dsync write "$T" 0 8 2
	echo running >"/sys/block/${disk#/dev/}/device/state"
	run ! pattern --dsync write "$T" 0 8 2
	pattern verify "$T" 0 8 1
	pattern --dsync write "$T" 0 8 3
	pattern verify "$T" 0 8 3
}

@test "a flush that failed is not forgotten by a table in the place of the one that saw it" {
	local disks disk
	mapfile -t disks < <(make_scsi_debug 8)
	disk=${disks[0]}
	make_null_blk spare 4
	remapctl create t --data "$disk" --spare "$SPARE"
	pattern write "$T" 0 16384 1 2048
	sync "$T"
	echo offline >"/sys/block/${disk#/dev/}/device/state"
	run ! sync "$T"
	echo running >"/sys/block/${disk#/dev/}/device/state"
	dmsetup table t | dmsetup load t
	dmsetup suspend --nolockfs t
	dmsetup resume t
	run ! pattern --dsync write "$T" 0 8 2
	pattern verify "$T" 0 8 1
	pattern --dsync write "$T" 0 8 3
	dmsetup table t | dmsetup load t
	dmsetup suspend t
	dmsetup resume t
	pattern --dsync write "$T" 0 8 4
	pattern verify "$T" 0 8 4
}
