#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What the recovery path costs in round trips to the spare: how often it waits for the spare, one
# time after the other, between a failure and the acknowledgement. A dm-delay under the spare
# keeps every request for a second, so that what is sent together is in flight together; a round
# begins when the first request is queued and nothing else is in flight. The order of the events
# decides, as the kernel's own tracepoints tell it; how long they took does not.

bats_require_minimum_version 1.5.0
load remap

readonly TRACING=/sys/kernel/tracing

setup() {
	load_module
	modprobe dm-delay
	make_null_blk data 64
	make_null_blk spare 16
	slow 0
	remapctl create t --data "$DATA" --spare /dev/mapper/slow
	pattern write "$T" 0 131072 1 2048
	slow 1000
	mountpoint -q "$TRACING" || mount -t tracefs tracefs "$TRACING"
	watch
}

teardown() {
	# as it was: others count on it
	echo 0 >"$TRACING/events/block/enable"
	echo 0 >"$TRACING/events/block/filter"
	echo 1 >"$TRACING/tracing_on"
	slow 0
	remove_devices
}

# Every request to the spare takes so many milliseconds from now on.
slow() { # MS
	local sectors

	sectors=$(blockdev --getsz "$SPARE")
	dmsetup info slow >/dev/null 2>&1 || dmsetup create slow --notable
	echo "0 $sectors delay $SPARE 0 $1 $SPARE 0 $1" | dmsetup load slow
	dmsetup suspend slow
	dmsetup resume slow
}

# Record what the spare is sent, and when it has answered.
watch() {
	local event dev

	dev=$(stat -L -c '%Hr << 20 | %Lr' /dev/mapper/slow)
	echo 0 >"$TRACING/tracing_on"
	echo 4096 >"$TRACING/buffer_size_kb"
	for event in block_bio_queue block_bio_complete; do
		echo "dev == $((dev))" >"$TRACING/events/block/$event/filter"
		echo 1 >"$TRACING/events/block/$event/enable"
	done
}

# Run a command, and count the rounds until it has ended: writes=N reads=N requests=N. What the
# target does afterwards, as to bring another table block into use, is unanswered by then.
rounds_of() { # COMMAND...
	echo >"$TRACING/trace"
	echo 1 >"$TRACING/tracing_on"
	"$@" || return
	echo 0 >"$TRACING/tracing_on"
	[[ $(grep -c 'LOST' "$TRACING/trace") == 0 ]]
	# a round that has a write in it is one of writes
	awk '
	/block_bio_queue:/ {
		if (flying++ == 0)
			write = 0
		for (i = 1; i < NF; i++)
			if ($i == "block_bio_queue:" && $(i + 2) ~ /^[FW]/)
				write = 1
		requests++
	}
	/block_bio_complete:/ {
		if (--flying == 0 && write)
			writes++
		else if (flying == 0)
			reads++
	}
	END { printf "writes=%d reads=%d requests=%d unanswered=%d\n",
		writes, reads, requests, flying }' "$TRACING/trace"
}

# At most so many rounds of each kind, and at least one of writes, or nothing was seen.
at_most() { # WRITES READS COMMAND...
	local line writes reads most_writes=$1 most_reads=$2

	shift 2
	line=$(rounds_of "$@") || { echo "$line"; return 1; }
	echo "# $BATS_TEST_DESCRIPTION: $line" >&3
	read -r writes reads _ <<<"${line//[a-z=]/}"
	((writes >= 1 && writes <= most_writes && reads <= most_reads))
}

@test "a write that meets a bad block waits for two rounds of writes and one of reads" {
	bad data 4003 4003
	at_most 2 1 pattern write "$T" 4000 8 2
	expect relocations 1
	expect replicas_ok 5
	pattern verify "$T" 4000 8 2
	# again, a sub-block write with the rest of the block read from the disk
	bad data 6002 6002
	at_most 2 1 pattern write "$T" 6002 1 2
	expect relocations 2
}

@test "256 bad blocks in one write of 1 MiB cost no more rounds than one" {
	bad data 8192 10239
	at_most 3 2 pattern write "$T" 8192 2048 2
	expect relocations 256
	expect replicas_ok 5
	slow 0
	restart_slow
	pattern verify "$T" 8192 2048 2
	pattern verify "$T" 0 8192 1
	pattern verify "$T" 10240 16384 1
}

restart_slow() {
	remapctl stop t
	remapctl start t --data "$DATA" --spare /dev/mapper/slow
}

@test "a write that makes a lost sector whole, and one whose slot is bad" {
	bad data 4003 4003
	run -1 pattern verify "$T" 4003 1 1
	expect lost_sectors 1
	# content from the old slot, then as ever
	at_most 2 2 pattern write "$T" 4003 1 2
	expect lost_sectors 0
	pattern verify "$T" 4000 3 1
	pattern verify "$T" 4003 1 2
}
