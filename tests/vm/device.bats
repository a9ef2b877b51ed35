#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The life of a device: messages that move blocks, slots that fail, spares that die, storms,
# tables that are replaced, modules that come and go.

bats_require_minimum_version 1.5.0
load remap

setup() {
	load_module
	make_null_blk data 64
	make_null_blk spare 4
}

teardown() {
	dmsetup remove --retry t 2>/dev/null || true
	dmsetup remove --retry under 2>/dev/null || true
	remove_null_blk data
	remove_null_blk spare
}

start() {
	remapctl create t --data "$DATA" --spare "$SPARE" "$@"
	pattern write "$T" 0 131072 1 2048
}

@test "remap copies the content; unmap brings it back; both are durable" {
	start
	remapctl remap t 1000+1 5000+800
	expect slots_used 101
	pattern verify "$T" 0 131072 1
	pattern write "$T" 5100 100 2
	pattern verify "$DATA" 5100 100 1	# it is elsewhere now
	restart
	pattern verify "$T" 5100 100 2
	remapctl unmap t 0+131072
	expect slots_used 0
	restart
	expect slots_used 0
	pattern verify "$DATA" 5100 100 2
	pattern verify "$DATA" 0 5100 1
	pattern verify "$DATA" 5200 125872 1
}

@test "a block that is remapped twice, or not at all, costs nothing" {
	start
	remapctl remap t 1000
	changes relocations 0 remapctl remap t 1000
	changes relocations 0 remapctl unmap t 8000+8
}

@test "remap marks what it cannot read as lost; unmap refuses such a block" {
	start
	bad data 4002 4003
	remapctl remap t 4000
	pattern lost "$T" 4002 2
	pattern verify "$T" 4000 2 1
	pattern verify "$T" 4004 4 1
	good data 4002 4003
	run -1 remapctl unmap t 4000
	pattern lost "$T" 4002 2
	pattern write "$T" 4002 2 7
	remapctl unmap t 4000
	pattern verify "$DATA" 4002 2 7
}

@test "unmap to a block that is still bad fails and keeps the content" {
	start
	bad data 4000 4007
	pattern write "$T" 4000 8 2
	run -1 remapctl unmap t 4000
	pattern verify "$T" 4000 8 2
	expect slots_used 1
	restart
	pattern verify "$T" 4000 8 2
}

@test "unmap of a block whose slot no longer reads invents nothing: it fails, the block stays" {
	start
	bad data 4000 4000
	pattern write "$T" 4000 8 2
	first=$(remapctl dump --spare "$SPARE" --json | jq .zone_sectors)
	bad spare $((first + 3)) $((first + 3))
	good data 4000 4000
	run -1 remapctl unmap t 4000
	expect slots_used 1
	pattern verify "$T" 4000 3 2
	pattern lost "$T" 4003 1
	pattern verify "$T" 4004 4 2
}

@test "a slot that lies about a write is put out of use, and costs the rest of its batch nothing" {
	local i sectors first
	sectors=$(blockdev --getsz "$SPARE")
	start
	first=$(remapctl dump --spare "$SPARE" --json | jq .zone_sectors)
	remapctl stop t
	dmsetup create under <<-END
		0 $((first + 8)) linear $SPARE 0
		$((first + 8)) 8 flakey $SPARE $((first + 8)) 0 1000 1 drop_writes
		$((first + 16)) $((sectors - first - 16)) linear $SPARE $((first + 16))
	END
	remapctl start t --data "$DATA" --spare /dev/mapper/under
	for i in {0..4}; do bad data $((8000 + 16 * i)) $((8000 + 16 * i)); done
	pattern write "$T" 7000 2048 2
	expect relocations 5
	expect slots_bad 1
	expect slots_used 5
	pattern verify "$T" 7000 2048 2
	remapctl stop t
	remapctl start t --data "$DATA" --spare /dev/mapper/under
	expect slots_bad 1
	pattern verify "$T" 7000 2048 2
}

@test "a slot that does not take the data is put out of use and the next one is taken" {
	start
	first=$(remapctl dump --spare "$SPARE" --json | jq .zone_sectors)
	bad spare "$first" $((first + 20))	# slots 0, 1 and 2
	bad data 4000 4000
	pattern write "$T" 4000 1 2
	expect slots_bad 3
	expect slots_used 1
	pattern verify "$T" 4000 1 2
	pattern verify "$T" 4001 7 1
	restart
	expect slots_bad 3
	pattern verify "$T" 4000 1 2
}

@test "a slot that goes bad later: the block moves on, the slot is out" {
	start
	bad data 4000 4000
	pattern write "$T" 4000 8 2
	first=$(remapctl dump --spare "$SPARE" --json | jq .zone_sectors)
	bad spare $((first + 3)) $((first + 3))
	pattern write "$T" 4000 8 3
	expect slots_bad 1
	expect slots_used 1
	expect lost_sectors 0
	restart
	expect slots_bad 1
	pattern verify "$T" 4000 8 3
}

@test "spare full: state exhausted, errors pass up, all else goes on; unmap makes room" {
	start
	total=$(field slots_total)
	run -1 remapctl remap t "0+$(((total + 10) * 8))"
	expect state exhausted
	expect slots_used "$total"
	bad data 100000 100000
	run -1 pattern write "$T" 100000 1 2
	pattern verify "$T" 0 100000 1
	remapctl unmap t 0+800
	expect state active
	pattern write "$T" 100000 1 2
	pattern verify "$T" 100000 1 2
}

@test "spare dead: state failed, blocks not remapped go on, and reset takes it up again" {
	local sectors
	sectors=$(blockdev --getsz "$SPARE")
	dmsetup create under --table "0 $sectors linear $SPARE 0"
	remapctl create t --data "$DATA" --spare /dev/mapper/under
	pattern write "$T" 0 131072 1 2048
	bad data 4000 4000
	bad data 8000 8000
	pattern write "$T" 4000 8 2

	dmsetup suspend under
	dmsetup load under --table "0 $sectors error"
	dmsetup resume under
	run -1 pattern write "$T" 8000 8 3
	expect state failed
	pattern write "$T" 16000 800 4
	pattern verify "$T" 16000 800 4
	run -1 pattern verify "$T" 4000 8 2
	run -1 remapctl reset t
	expect state failed

	dmsetup suspend under
	dmsetup load under --table "0 $sectors linear $SPARE 0"
	dmsetup resume under
	remapctl reset t
	expect state active
	pattern write "$T" 8000 8 5
	pattern verify "$T" 8000 8 5
	pattern verify "$T" 4000 8 2
	pattern verify "$T" 0 4000 1
	remapctl stop t
	remapctl start t --data "$DATA" --spare /dev/mapper/under
	pattern verify "$T" 8000 8 5
	pattern verify "$T" 4000 8 2
}

@test "two of five replicas unwritable: still durable, told, and 5 of 5 after repair" {
	local at
	start
	mapfile -t at < <(zones)
	bad spare $((at[1] / 512)) $(((at[1] + at[5]) / 512 - 1))
	bad spare $((at[4] / 512)) $(((at[4] + at[5]) / 512 - 1))
	bad data 4000 4000
	pattern write "$T" 4000 8 2
	expect replicas_ok 3
	expect state active
	good spare $((at[1] / 512)) $(((at[1] + at[5]) / 512 - 1))
	good spare $((at[4] / 512)) $(((at[4] + at[5]) / 512 - 1))
	remapctl repair t
	expect replicas_ok 5
	restart
	pattern verify "$T" 4000 8 2
}

@test "three of five replicas unwritable: the write fails, its block is frozen, not torn" {
	local at z
	start
	mapfile -t at < <(zones)
	for z in 0 2 3; do bad spare $((at[z] / 512)) $(((at[z] + at[5]) / 512 - 1)); done
	bad data 4000 4000
	run -1 pattern write "$T" 4000 8 2
	expect state failed
	pattern verify "$T" 4001 7 1
	# the sectors beside the bad one could be written, but which place would a load find?
	run -1 pattern write "$T" 4001 1 3
	for z in 0 2 3; do good spare $((at[z] / 512)) $(((at[z] + at[5]) / 512 - 1)); done
	remapctl reset t
	expect state active
	pattern write "$T" 4001 1 3
	pattern write "$T" 4000 1 3
	pattern verify "$T" 4000 2 3
	pattern verify "$T" 4002 6 1
	restart
	pattern verify "$T" 4000 2 3
	pattern verify "$T" 4002 6 1
}

# bats test_tags=two-cpus
@test "a storm of errors pauses; reset goes on" {
	start --option burst=4 --option on_read_error=pass	# udev reads, too
	bad data 8000 8399
	bad data 8800 8807
	run -1 pattern write "$T" 8000 400 2
	expect state paused
	expect relocations 4
	run -1 pattern write "$T" 8800 8 2
	expect relocations 4
	pattern write "$T" 20000 8 2
	remapctl reset t
	pattern write "$T" 8800 8 2
	expect relocations 5
}

@test "a table is replaced, with other options, under a file that stays open" {
	start
	bad data 4000 4000
	pattern write "$T" 4000 8 2
	exec 9<"$T"
	line=$(dmsetup table t)
	dmsetup load t --table "$line 2 verify 0"
	dmsetup suspend t
	dmsetup resume t
	exec 9<&-
	[[ $(dmsetup table t) == *"2 verify 0" ]]
	pattern verify "$T" 4000 8 2
	bad data 8000 8000
	pattern write "$T" 8000 8 3
	restart
	pattern verify "$T" 8000 8 3
	pattern verify "$T" 4000 8 2
}

@test "a second target on the same spare is refused" {
	start
	make_null_blk other 64
	line="0 131072 remap /dev/other 0 $SPARE 0"
	run ! dmsetup create t2 --table "$line"
	run ! dmsetup info t2
	remove_null_blk other
	pattern verify "$T" 0 131072 1
}

@test "each relocation and each change of state gives a dm event" {
	local before
	events() { dmsetup info -c --noheadings -o events t; }
	start --option burst=1 --option window=86400
	before=$(events)
	bad data 4000 4000
	bad data 8000 8000
	pattern write "$T" 4000 8 2
	(($(events) == before + 1))
	run -1 pattern write "$T" 8000 8 2
	expect state paused
	(($(events) == before + 2))
	remapctl reset t
	(($(events) == before + 3))
}

@test "tracepoints tell of each step" {
	local trace=/sys/kernel/tracing
	start
	echo 1 >"$trace/events/remap/enable"
	echo >"$trace/trace"
	bad data 4000 4001
	pattern write "$T" 4000 1 2
	echo 0 >"$trace/events/remap/enable"
	grep -q 'remap_relocate_begin: .* sector 4000 + 8 cause 0' "$trace/trace"
	grep -q 'remap_commit: .* table 0 generation 2 replicas 5' "$trace/trace"
	grep -q 'remap_lost: .* sector 4000 lost 0x2' "$trace/trace"
	grep -q 'remap_relocate_end: .* sector 4000 cause 0 slot 0 error 0' "$trace/trace"
}

@test "a relocation writes and reads the spare six times: the slot and five replicas" {
	start
	bad data 4000 4000
	# field 1: reads completed, 5: writes completed
	read -r r0 _ _ _ w0 _ <"$(stat_of spare)"
	pattern write "$T" 4000 8 2
	read -r r1 _ _ _ w1 _ <"$(stat_of spare)"
	echo "reads $((r1 - r0)) writes $((w1 - w0))"
	((r1 - r0 == 6 && w1 - w0 == 6))
}

@test "the spare is flushed only if something was written to it" {
	local flushes
	flushes() { awk '{ print $16 }' "$(stat_of spare)"; }
	remove_null_blk spare
	make_null_blk spare 4 cache_size=1
	start
	bad data 4000 4000
	before=$(flushes)
	sync "$T"				# start has flushed what was there before
	(($(flushes) == before))
	pattern write "$T" 4000 8 2		# made durable by itself
	before=$(flushes)
	pattern write "$T" 20000 8 2
	sync "$T"
	(($(flushes) == before))
	pattern write "$T" 4000 8 3		# goes to the slot, without FUA
	sync "$T"
	(($(flushes) == before + 1))
	sync "$T"
	(($(flushes) == before + 1))
	restart					# with a write to the slot that nobody has flushed
	pattern write "$T" 4000 8 4
	before=$(flushes)
	restart
	(($(flushes) > before))
	before=$(flushes)
	sync "$T"
	(($(flushes) == before))
}

# The one that is on its way is held back by the spare (a dm-delay, of flushes alone).
@test "a flush that is on its way when a slot is written does not count for that write" {
	local flusher before size flushes
	flushes() { awk '{ print $16 }' "$(stat_of spare)"; }
	remove_null_blk spare
	make_null_blk spare 4 cache_size=1
	size=$(blockdev --getsz "$SPARE")
	dmsetup create under --table "0 $size linear $SPARE 0"
	remapctl create t --data "$DATA" --spare /dev/mapper/under
	remapctl remap t 4000+8
	pattern write "$T" 4000 8 1
	dmsetup load under --table \
		"0 $size delay $SPARE 0 0 $SPARE 0 0 $SPARE 0 60000"
	dmsetup suspend under
	dmsetup resume under
	sync "$T" 3>&- &
	flusher=$!
	wait_for 30 holds under 6
	pattern write "$T" 4000 8 2
	dmsetup load under --table "0 $size linear $SPARE 0"
	dmsetup suspend under
	dmsetup resume under
	wait "$flusher"
	before=$(flushes)
	sync "$T"
	(($(flushes) == before + 1))
	sync "$T"
	(($(flushes) == before + 1))
}

@test "from when a suspend begins, no message has the spare written" {
	local writer suspender word before
	writes() { awk '{ print $5 }' "$(stat_of spare)"; }
	waits() { grep -q dm_wait_for /proc/"$1"/stack; }
	dmsetup create under --table "0 131072 linear $DATA 0"
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	dmsetup suspend under
	pattern write "$T" 4000 8 1 3>&- &
	writer=$!
	wait_for 30 in_flight mapper/t
	dmsetup suspend t 3>&- &
	suspender=$!
	wait_for 30 waits "$suspender"	# for that write
	before=$(writes)
	for word in repair reset grow "remap 8000 8"; do
		# shellcheck disable=SC2086 # words
		run -1 dmsetup message t 0 $word
		[[ $output == *busy* ]]
	done
	[[ $(writes) == "$before" ]]
	dmsetup resume under
	wait "$writer"
	wait "$suspender"
	[[ $(writes) == "$before" ]]
	dmsetup resume t
	dmsetup message t 0 repair
	pattern verify "$T" 4000 8 1
}

@test "data and spare on two partitions of one disk" {
	sfdisk -q "$DATA" <<-END
		label: gpt
		start=2048, size=81920
		start=83968, size=16384
	END
	udevadm settle
	remapctl create t --data "$(partition data 1)" --spare "$(partition data 2)"
	pattern write "$T" 0 81920 1 2048
	bad data $((2048 + 4000)) $((2048 + 4000))
	pattern write "$T" 3999 3 2
	pattern verify "$T" 3999 3 2
	pattern verify "$T" 0 3999 1
	remapctl stop t
	remapctl start t --spare "$(partition data 2)"	# the disk is found by its partition UUID
	pattern verify "$T" 3999 3 2
	pattern verify "$T" 4002 77918 1
	remapctl stop t
}

# There the device of a bio does not tell where it went.
@test "data and spare in one device, by their offsets" {
	local table="0 81920 remap $DATA 2048 $DATA 90112"
	dmsetup create first --table "0 81920 linear $DATA 2048"
	dmsetup create second --table "0 16384 linear $DATA 90112"
	remapctl format --data /dev/mapper/first --spare /dev/mapper/second
	dmsetup remove first
	dmsetup remove second
	dmsetup create t --table "$table"
	pattern write "$T" 0 81920 1 2048
	remapctl remap t 4000+8
	bad data $((2048 + 4800)) $((2048 + 4800))
	pattern write "$T" 4800 1 2
	# reads of slots are counted, and counted off when they are done: a move waits for them
	pattern verify "$T" 4000 8 1
	pattern verify "$T" 4800 1 2
	remapctl unmap t 4000
	expect stuck 0
	expect slots_used 1
	pattern verify "$T" 0 4800 1
	pattern verify "$T" 4801 77119 1
	remapctl stop t
	dmsetup create t --table "$table"
	pattern verify "$T" 4800 1 2
	remapctl stop t
}

@test "a disk known by its file system alone is still known after mkfs; another one is refused" {
	start
	mkfs.ext4 -q "$T"
	restart
	mkfs.ext4 -q -F "$T"			# with another UUID
	restart
	remapctl stop t
	mkfs.ext4 -q -F "$DATA"
	run -1 remapctl start t --data "$DATA" --spare "$SPARE"
	remapctl start t --data "$DATA" --spare "$SPARE" --force
}

@test "the module is refused to leave while in use, and comes back" {
	start
	run ! rmmod dm_remap
	bad data 4000 4000
	pattern write "$T" 4000 8 2
	remapctl stop t
	rmmod dm_remap
	load_module
	remapctl start t --data "$DATA" --spare "$SPARE"
	pattern verify "$T" 4000 8 2
}

@test "wrong table lines are refused with a reason, and nothing is left behind" {
	start
	remapctl stop t
	local good="0 131072 remap $DATA 0 $SPARE 0" line
	for line in "0 131072 remap" "0 131072 remap $DATA 0 $SPARE" \
		"0 131072 remap /dev/nothing 0 $SPARE 0" "0 131072 remap $DATA 0 $DATA 0" \
		"0 131072 remap $DATA x $SPARE 0" "0 131064 remap $DATA 0 $SPARE 0" \
		"0 131072 remap $DATA 8 $SPARE 0" "0 131072 remap $DATA 0 $SPARE 99999999" \
		"$good 1 verify" "$good 2 verify 2" "$good 2 nonsense 1" "$good 4 verify 1" \
		"$good 2 spare_size 99999999"; do
		echo "$line"
		run ! dmsetup create t --table "$line"
		run ! dmsetup info t
	done
	dmsetup create t --table "$good"
	for line in "" "nonsense" "remap" "remap 1" "remap x 1" "remap 0 0" "remap 131072 1" \
		"remap 131071 2" "remap 18446744073709551615 2" "unmap 1" "set verify" \
		"set verify 7" "set force 1" "list" "list 131072" "verify 1" "repair x"; do
		echo "message: $line"
		# shellcheck disable=SC2086
		run ! dmsetup message t 0 $line
	done
	expect slots_used 0
	expect relocations 0
}

@test "a read-only table reads what is remapped and writes to neither device" {
	start
	bad data 4000 4000
	pattern write "$T" 4000 8 2
	line=$(dmsetup table t)
	remapctl stop t
	zone2=$(remapctl dump --spare "$SPARE" --json | jq '.zones[2].sector')
	dd if=/dev/zero of="$SPARE" bs=512 seek="$zone2" count=128 conv=notrunc oflag=direct \
		status=none
	sum=$(md5sum <"$SPARE")
	dmsetup create -r t --table "$line"
	expect state readonly
	pattern verify "$T" 4000 8 2
	pattern verify "$T" 0 4000 1
	run ! dmsetup message t 0 remap 8000 8
	run ! dmsetup message t 0 repair
	dmsetup remove t
	[[ $(md5sum <"$SPARE") == "$sum" ]]
}

@test "a read-only spare is not written, be it beside a sector that is lost" {
	local sum
	start
	bad data 4003 4003
	run ! pattern verify "$T" 4000 8 1
	expect lost_sectors 1
	remapctl stop t
	sum=$(md5sum <"$SPARE")
	blockdev --setro "$SPARE"
	remapctl start t --data "$DATA" --spare "$SPARE"
	expect state readonly
	run ! pattern write "$T" 4001 1 2
	run ! pattern write "$T" 4003 1 2
	run ! blkdiscard -z -o $((4000 * 512)) -l 4096 "$T"
	pattern verify "$T" 4000 3 1
	remapctl stop t
	blockdev --setrw "$SPARE"
	[[ $(md5sum <"$SPARE") == "$sum" ]]
}

# A write to blocks of the second half is not answered, so that one of these has to wait.
@test "unmap: a block that could not be moved is told, though another one had to wait" {
	local writer
	dmsetup create under --table "0 65536 linear $DATA 65536"
	dmsetup create disk0 --table "$(printf '%s\n' "0 65536 linear $DATA 0" \
		"65536 65536 linear /dev/mapper/under 0")"
	remapctl create t --data /dev/mapper/disk0 --spare "$SPARE" --option on_read_error=pass
	pattern write "$T" 0 131072 1 2048
	remapctl remap t 8000+8 65600+8
	bad data 8000 8000
	dmsetup suspend under
	pattern write "$T" 65536 8 2 3>&- &
	writer=$!
	wait_for 30 in_flight mapper/t
	dmsetup message t 0 unmap 0 131072 3>&- &
	unmap=$!
	stuck() { (($(field stuck) > 0)); }
	wait_for 30 stuck
	dmsetup resume under
	run ! wait "$unmap"
	wait "$writer"
	[[ $(remapctl list t --json | jq -c '[.[].sector]') == "[8000]" ]]
	dmsetup remove --retry t
	dmsetup remove --retry disk0
}
