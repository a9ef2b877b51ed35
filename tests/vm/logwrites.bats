#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The power fails at every point there is (promises 2 and 3). Work is recorded by dm-log-writes and
# tracepoints under both the data device and the spare; then, for each event of the recording,
# disks are made that hold what a volatile write cache may leave, and a target is started on them.
# The program powercut does it; its first comment says what is on disk then, and what must be.
#
# A sample is tried, as many states as a test has time for, more where metadata was on its way.
# By hand: tools/vm --timeout 40000 --env CUTS=all --env SEED=n --suite tests/vm/logwrites.bats

bats_require_minimum_version 1.5.0
load remap

readonly TRACE=/sys/kernel/tracing R=/tmp/powercut
readonly DATA_SECTORS=8192 SPARE_SECTORS=6144
readonly SECTORS=$((DATA_SECTORS + SPARE_SECTORS))
readonly D=/dev/mapper/d S=/dev/mapper/s

setup_file() {
	load_module
	modprobe dm-log-writes
	mkdir -p "$R"
	# time enough for all replicas of a commit to be on their way at once; one bio, one request
	make_null_blk record 7 queue_mode=0 irqmode=2 completion_nsec=8000000
	make_null_blk image 7 queue_mode=0 irqmode=0
	make_null_blk journal 32
}

teardown_file() {
	echo 1 >"$TRACE/tracing_on"
	rm -r "$R"
	remove_null_blk record
	remove_null_blk image
	remove_null_blk journal
}

teardown() {
	local name

	echo 0 >"$TRACE/tracing_on"
	start_udev
	for name in cut t s d logged; do
		! dmsetup info "$name" &>/dev/null || dmsetup remove --retry "$name"
	done
}

# Thousands of devices come and go: nobody need look at them.
power_cuts() { # NAME [OPTION]...
	local name=$1 status=0

	shift
	stop_udev
	powercut cut --data "$DATA_SECTORS" --spare "$SPARE_SECTORS" --seed "${SEED:-1}" \
		--log "$R/$name.log" --trace "$R/$name.trace" --devices "$(<"$R/$name.devices")" \
		"$@" >"$R/$name.out" || status=$?
	start_udev
	sed 's/^/# /; s/^# # /# /' "$R/$name.out" >&3
	cat "$R/$name.out"
	((status == 0)) || cp "$R/$name".* /run/vm/results/
	return "$status"
}

# Put a state of a recording on the disk "record", for another one that begins with it.
save_state() { # NAME N FILE
	powercut cut --data "$DATA_SECTORS" --spare "$SPARE_SECTORS" --seed "${SEED:-1}" \
		--log "$R/$1.log" --trace "$R/$1.trace" --devices "$(<"$R/$1.devices")" \
		--disk record --at "$2" --save "$3"
}

mark() {
	echo "pc $*" >"$TRACE/trace_marker"
}

fill() {
	powercut cut --data "$DATA_SECTORS" --spare "$SPARE_SECTORS" --disk record --fill
}

# From here on all writes to the disk "record" are recorded.
record() { # [SECTORS OF THE SPARE]
	dmsetup create logged --table "0 $SECTORS log-writes /dev/record /dev/journal"
	dmsetup create d --table "0 $DATA_SECTORS linear /dev/mapper/logged 0"
	dmsetup create s --table "0 ${1:-$SPARE_SECTORS} linear /dev/mapper/logged $DATA_SECTORS"
	settle
	echo 0 >"$TRACE/tracing_on"
	echo counter >"$TRACE/trace_clock"
	echo 16384 >"$TRACE/buffer_size_kb"
	echo >"$TRACE/trace"
	echo 0 >"$TRACE/events/block/filter"
	echo 1 >"$TRACE/events/block/block_bio_queue/enable"
	echo 1 >"$TRACE/events/block/block_bio_complete/enable"
	echo 1 >"$TRACE/tracing_on"
}

end_record() { # NAME
	local name

	echo 0 >"$TRACE/tracing_on"
	echo 0 >"$TRACE/events/block/enable"
	cat "$TRACE/trace" >"$R/$1.trace"
	echo local >"$TRACE/trace_clock"
	for name in logged d s; do
		dmsetup info -c --noheadings --separator , -o major,minor "$name"
	done | paste -sd ' ' >"$R/$1.devices"
	[[ $(dmsetup status logged) != *disabled* ]]
	dmsetup remove --retry d
	dmsetup remove --retry s
	dmsetup remove --retry logged
	dd if=/dev/journal of="$R/$1.log" bs=1M iflag=direct status=none
}

work() { # VERSION, commands on standard input
	powercut work t "$1" record "$DATA_SECTORS" "$SPARE_SECTORS"
}

cuts() { # DEFAULT
	case ${CUTS:-} in
	all) echo 0 ;;
	"") echo "$1" ;;
	*) echo "$CUTS" ;;
	esac
}


# A spare and a target on the disk as it is, without cuts.
begin_life() { # [SECTORS OF THE SPARE]
	fill
	record "$@"
	mark format begin
	remapctl format --data "$D" --spare "$S"
	mark format end
	remapctl start t --data "$D" --spare "$S"
}

# A table block's first sector has the header and 30 entries: as long as nothing else changes, no
# sector that is torn off can be missed.
fill_first_sector() {
	work 500 <<-END
		message remap 7000 320
	END
}

end_life() { # NAME
	remapctl stop t
	end_record "$1"
}

# Overwrite zones of the spare, as the device is used by nobody.
destroy() { # SOURCE N...
	local at z source=$1

	shift
	mapfile -t at < <(zones)
	for z; do
		dd if="$source" of="$S" bs=64K oflag=seek_bytes,direct iflag=fullblock \
			conv=notrunc,fsync seek="${at[z]}" count=$((at[5] / 65536)) status=none
	done
}

zones() {
	remapctl dump --spare "$S" --json | jq -r '(.zones[].sector, .zone_sectors) * 512'
}

@test "power cuts during format and the first start: nothing is ever half there" {
	begin_life
	end_life format
	power_cuts format --max "$(cuts 30)"
}

@test "power cuts while bad blocks are met: no acknowledged write is lost, no other sector" {
	begin_life
	fill_first_sector
	mark here
	work 1000 <<-END
		write 800 8
		sync-write 808 3
		flush
		write 800 2
		bad-data 1600 1600			# its neighbours are kept
		moving-write 1600 1
		bad-data 1610 1612			# two neighbours are lost
		moving-write 1611 1
		write 1611 1
		moving-write 1608 8			# and written again
		bad-data 1620 1621			# a read is what meets it
		read 1616 8
		moving-write 1620 1
		bad-data 1640 1640			# one write, some bad blocks
		bad-data 1652 1653
		write 1636 28
		sync-write 1630 30
		flush
		message remap 2000 64
		write 2000 16
		message unmap 2008 24
		bad-data 2100 2100
		bad-data 2117 2118
		storm 3 12 2000 256 4
	END
	end_life blocks
	power_cuts blocks --max "$(cuts 60)"
}

@test "power cuts while slots go bad, and blocks move from one table block to another" {
	begin_life
	work 1000 <<-END
		message remap 4096 2080			# the first table block is full
		sync-write 4096 100
	END
	mark here
	work 2000 <<-END
		write 5600 20
		bad-free 2				# slots that take no write
		bad-data 2400 2400
		moving-write 2400 4
		bad-slot 4100 4101			# slots that have data
		moving-write 4096 8
		bad-slot 4110 4110
		moving-write 4109 2
		message unmap 4200 320
		write 4200 16
		flush
	END
	end_life slots
	power_cuts slots --max "$(cuts 40)"
}

@test "power cuts while copies of the metadata are bad, and while commits fail for that" {
	begin_life
	fill_first_sector
	work 1000 <<-END
		message remap 4096 64
		write 4096 64
		flush
	END
	mark here
	work 2000 <<-END
		bad-zone 1
		message remap 4200 16
		bad-data 1600 1600
		moving-write 1600 1
		bad-zone 0
		bad-zone 4
		bad-data 1700 1700
		write 1700 1				# cannot be helped
		write 4096 8
		sync-write 4104 2
		message unmap 4112 8
		good-zone 0
		good-zone 1
		good-zone 4
		message reset
		zones-whole
		moving-write 1700 1
		message unmap 4112 8
		write 4112 4
		flush
	END
	end_life zones
	power_cuts zones --max "$(cuts 30)"
}

@test "power cuts while start and repair mend the metadata, and while a spare is formatted anew" {
	begin_life
	work 1000 <<-END
		message remap 4096 2800
		write 4096 2800
		bad-data 1600 1601
		moving-write 1600 1
		flush
	END
	remapctl stop t
	mark here
	destroy /dev/urandom 0 1 2 3
	remapctl start t --data "$D" --spare "$S"
	remapctl stop t
	destroy /dev/zero 1 4
	remapctl repair --spare "$S"
	mark format begin
	remapctl format --data "$D" --spare "$S" --force
	mark format end
	end_record mend
	power_cuts mend --max "$(cuts 35)"
}

@test "power cuts while a spare grows, and the new room is taken into use" {
	begin_life 4096
	work 1000 <<-END
		message remap 0 3456			# all slots
		sync-write 0 256
	END
	mark here
	dmsetup load s --table "0 $SPARE_SECTORS linear /dev/mapper/logged $DATA_SECTORS"
	dmsetup suspend s
	dmsetup resume s
	remapctl grow t
	work 2000 <<-END
		message remap 4096 256
		sync-write 4096 64
		bad-data 5000 5001
		moving-write 5000 2
	END
	end_life grow
	power_cuts grow --grown-from 4096 --max "$(cuts 30)"
}

@test "power cuts while a start mends what a power cut has left" {
	local n

	begin_life
	fill_first_sector
	mark here
	work 1000 <<-END
		message remap 4096 64
		bad-data 1600 1601
		moving-write 1600 1
		message remap 5000 1600
		storm 2 6 4096 64 2
	END
	end_life first
	for n in 1 2; do
		save_state first $((5 * n)) "$R/state"
		record
		destroy /dev/urandom "$n" $((n + 1))	# three zones are enough
		mark here
		remapctl start t --data "$D" --spare "$S"
		remapctl stop t
		end_record again
		power_cuts again --base "$R/state" --max "$(cuts 8)"
	done
}
