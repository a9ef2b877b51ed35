#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What the BPF programs say of the disks, held against what others say of the same I/O: the
# kernel's own counts, fio's own latencies, the places where the disks were made to fail.

bats_require_minimum_version 1.5.0
load remap

setup() {
	[[ -r /sys/kernel/btf/vmlinux ]] || skip "the kernel has no BTF"
	rm -f /tmp/ask /tmp/answer
	mkfifo /tmp/ask /tmp/answer
}

teardown() {
	[[ -z ${TO:-} ]] || exec {TO}>&- {FROM}<&- || true
	[[ -z ${TELEMETRY:-} ]] || wait "$TELEMETRY" || true
	remove_devices
	rm -f /tmp/ask /tmp/answer
}

# The program, with what is said to it and what it answers; see telemetry.c.
begin() {
	local line

	telemetry </tmp/ask >/tmp/answer 3>&- &
	TELEMETRY=$!
	exec {TO}>/tmp/ask {FROM}</tmp/answer
	read -r -t 60 line <&"$FROM"
	[[ $line == ready ]] || { echo "$line"; return 1; }
}

ask() { # COMMAND...
	local line

	echo "$*" >&"$TO"
	IFS= read -r -t 60 line <&"$FROM"
	echo "$line"
	[[ $line != error:* ]]
}

# Watch all of a device from sector START on: watch DEVICE START SECTORS SLOW_NS
watch() {
	local at

	at=$(lsblk -dno MAJ:MIN "$1" | tr -d ' ')
	ask watch "$at" "$2" "${3:-$(blockdev --getsz "$1")}" "${4:-0}"
}

# A figure of an area: of AREA JQ
of() {
	ask read "$1" | jq -r "$2"
}

# Is a count of ours theirs, but for completions that were not seen, and said not to be?
agrees() { # OURS THEIRS
	local missed

	read -r missed _ <<<"$(ask missed)"
	(($1 <= $2 && $1 >= $2 - missed)) || { echo "$1, not $2, $missed missed"; return 1; }
}

# Words of /sys/block/DEVICE/stat by their numbers, with one blank between them
stat_words() { # DEVICE NUMBER...
	local file word words

	file=$(stat_of "$1")
	shift
	read -r -a words <"$file"
	for word; do
		echo "${words[word - 1]}"
	done | paste -sd ' '
}

# bats test_tags=two-cpus
@test "reads, writes, discards, flushes and their bytes are those that the kernel counts" {
	local before after area ours
	make_null_blk data 64 discard=1 cache_size=4
	begin
	area=$(watch "$DATA" 0)
	# reads, sectors; writes, sectors; discards, sectors; flushes
	read -r -a before < <(stat_words data 1 3 5 7 12 14 16)
	# requests of all sizes, by several threads; small ones in a row, to be merged
	fio --filename="$DATA" --ioengine=libaio --iodepth=8 --direct=1 --randseed=1 \
		--group_reporting --minimal \
		--name=mixed --rw=randrw --bsrange=4k-256k --size=32m --io_size=24m --numjobs=2 \
		--name=flushed --stonewall --rw=randwrite --bs=4k --io_size=1m --fsync=4 \
		--name=fua --stonewall --rw=randwrite --bs=4k --io_size=512k --sync=1 \
		--name=merged --stonewall --rw=write --bs=4k --io_size=4m --iodepth_batch=32 \
		--iodepth=32 --name=trims --stonewall --rw=randtrim --bs=64k --io_size=2m >/dev/null
	settle
	read -r -a after < <(stat_words data 1 3 5 7 12 14 16)
	mapfile -t ours < <(of "$area" '.read.ios, .read.bytes / 512, .write.ios,
		.write.bytes / 512, .discard.ios, .discard.bytes / 512, .flush.ios,
		(.read.unstamped + .write.unstamped), .errors')
	echo "kernel: ${before[*]} -> ${after[*]}; ours: ${ours[*]}"
	((ours[0] > 0 && ours[2] > 0 && ours[4] > 0 && ours[6] > 0))
	((ours[7] == 0 && ours[8] == 0))
	agrees "${ours[0]}" $((after[0] - before[0]))
	# the kernel counts an empty flush as a write of nothing, beside the flush itself
	((ours[2] <= after[2] - before[2]))
	agrees "${ours[4]}" $((after[4] - before[4]))
	agrees "${ours[6]}" $((after[6] - before[6]))
	if [[ $(ask missed) == "0 0" ]]; then
		((after[2] - before[2] - ours[2] <= ours[6]))
		[[ ${ours[1]} == $((after[1] - before[1])) ]]
		[[ ${ours[3]} == $((after[3] - before[3])) ]]
		[[ ${ours[5]} == $((after[5] - before[5])) ]]
	fi
	# each has a latency, and a place
	[[ $(of "$area" '.read.total.count + .write.total.count + .discard.total.count') == \
		$(of "$area" '.region_ios | map(.[1]) | add') ]]
	[[ $(of "$area" '.flush.total.count') == "${ours[6]}" ]]
}

@test "latencies are those that fio sees, to one bucket" {
	local area fio ours theirs
	make_null_blk data 64 irqmode=2 completion_nsec=100000000
	begin
	area=$(watch "$DATA" 0)
	fio=$(fio --filename="$DATA" --ioengine=libaio --iodepth=2 --direct=1 --name=a \
		--rw=randread --bs=4k --number_ios=60 --percentile_list=50 --lat_percentiles=1 \
		--output-format=json)
	theirs=$(jq '.jobs[0].read.lat_ns.percentile["50.000000"]' <<<"$fio")
	ours=$(of "$area" .read.total.p50)
	echo "median: ours up to $ours, fio's $theirs"
	# the bucket itself is an eighth wide, and theirs may lie in the next one
	((ours >= 100000000 && ours <= theirs * 5 / 4 && ours >= theirs * 4 / 5))
	[[ $(of "$area" .read.total.count) == 60 ]]
	[[ $(of "$area" '.region_worst | map(.[1]) | max') -ge $((100000000 / 64)) ]]
}

# A disk that gets slower three times, so that each percentile is far from the next.
@test "percentiles up to the last in a thousand are those of fio's own log, to one bucket" {
	local area name per_mille ours theirs log=/tmp/latencies disk
	disk=$(make_scsi_debug 64 delay=0 ndelay=25000000)
	begin
	area=$(watch "$disk" 0)
	rm -f "$log".*
	reads() { # COUNT NANOSECONDS DEPTH
		scsi_debug_set ndelay "$2"
		fio --filename="$disk" --ioengine=libaio --iodepth="$3" --direct=1 --name=a \
			--rw=randread --bs=4k --number_ios="$1" --write_lat_log="$log.$2" \
			--minimal >/dev/null
	}
	reads 1700 25000000 16
	reads 270 100000000 16
	reads 25 350000000 5
	reads 5 990000000 5
	cut -d , -f 2 "$log".*_lat.1.log | sort -n >"$log.all"
	[[ $(grep -c . "$log.all") == 2000 ]]
	agrees "$(of "$area" .read.total.count)" 2000
	for name in p50:500 p90:900 p99:990 p999:999; do
		per_mille=${name#*:} name=${name%:*}
		theirs=$(sed -n "$(((2000 * per_mille + 999) / 1000))p" "$log.all" | tr -d ' ')
		ours=$(of "$area" ".read.total.$name")
		echo "$name: ours up to $ours, fio's $theirs"
		((ours <= theirs * 5 / 4 && ours >= theirs * 4 / 5))
	done
}

@test "an error is seen once, at its place, with its status, through partitions and offsets" {
	local part area other events
	make_null_blk data 64
	make_null_blk spare 16
	echo 'start=2048,size=65536' | sfdisk -q --label dos "$DATA"
	settle
	part=$(partition data 1)
	begin
	other=$(watch "$SPARE" 0)
	# sectors 100 and on of a partition that begins with sector 2048
	area=$(watch "$part" 100 5000)
	run ! ask watch "$(lsblk -dno MAJ:MIN "$DATA" | tr -d ' ')" 3000 10 0
	[[ $output == "error: sectors 3000 to 3009 of device "*" are watched already" ]]
	bad data $((2048 + 100 + 800)) $((2048 + 100 + 800))
	bad data $((2048 + 100 + 5000)) $((2048 + 100 + 5000))
	bad spare 8 15
	ask events
	run ! dd if="$part" of=/dev/null iflag=direct bs=512 skip=900 count=1
	# beyond what is watched
	run ! dd if="$part" of=/dev/null iflag=direct bs=512 skip=5100 count=1
	run ! dd if=/dev/zero of="$SPARE" oflag=direct bs=4096 seek=1 count=1
	events=$(ask events)
	echo "$events"
	[[ $(jq -r '.[] | "\(.kind) \(.area) \(.op) \(.sector) \(.sectors) \(.status)"' \
		<<<"$events") == "error $area read 800 1 10"$'\n'"error $other write 8 8 10" ]]
	[[ $(of "$area" '.errors, .read.bytes' | paste -sd ' ') == "1 0" ]]
	[[ $(of "$other" .errors) == 1 ]]
	# one place of the heat map, and the right one
	[[ $(of "$area" '.region_errors | map(.[1]) | add') == 1 ]]
	of "$area" '.region_errors[0][0] | . <= 800 and . > 790' | grep -qx true
}

@test "a request that ends in parts is one I/O, and its error is at the part that failed" {
	local disk area before after
	disk=$(make_scsi_debug 32)
	begin
	area=$(watch "$disk" 0)
	scsi_debug_set medium_error_start 4660
	scsi_debug_set medium_error_count 1
	scsi_debug_set opts 2
	settle
	ask events
	before=$(of "$area" .read.ios)
	read -r after _ <"/sys/block/${disk#/dev/}/stat"
	run ! dd if="$disk" of=/dev/null iflag=direct bs=64k skip=$((4660 / 128)) count=1
	[[ $(($(of "$area" .read.ios) - before)) == \
		$(($(awk '{ print $1 }' "/sys/block/${disk#/dev/}/stat") - after)) ]]
	run -0 ask events
	echo "$output"
	# medium error: 7
	[[ $(jq -r '.[0] | "\(.kind) \(.op) \(.status)"' <<<"$output") == "error read 7" ]]
	jq -e '[.[] | select(.sector <= 4660 and .sector + .sectors > 4660)] | length == 1' \
		<<<"$output"
	scsi_debug_set opts 0
}

@test "what is slower than the threshold is an event, what is not is none" {
	local area
	make_null_blk data 64 irqmode=2 completion_nsec=20000000
	begin
	area=$(watch "$DATA" 0 "" 10000000)
	ask events
	dd if="$DATA" of=/dev/null iflag=direct bs=4096 skip=77 count=1
	run -0 ask events
	[[ $(jq -r '.[] | "\(.kind) \(.op) \(.sector) \(.sectors) \(.status)"' <<<"$output") == \
		"slow read 616 8 0" ]]
	(($(jq '.[0].total_ns' <<<"$output") >= 20000000))
	[[ $(of "$area" '.slow, .region_slow[0][1]' | paste -sd ' ') == "1 1" ]]
	ask slow "$area" 100000000000
	dd if="$DATA" of=/dev/null iflag=direct bs=4096 skip=77 count=1
	[[ $(ask events) == "[]" ]]
	[[ $(of "$area" '.slow, .read.ios' | paste -sd ' ') == "1 2" ]]
}

@test "devices without requests: each bio once, its error at its place, flushes too" {
	local area below fio before ours theirs
	make_null_blk data 64 cache_size=4
	dmsetup create under --table "0 65536 linear $DATA 1024
65536 16384 linear $DATA 70000"
	settle
	begin
	area=$(watch /dev/mapper/under 0)
	below=$(watch "$DATA" 0)
	before=$(stat_words data 16)
	# those across the two halves are split, and dm's own count has them twice
	fio=$(fio --filename=/dev/mapper/under --ioengine=libaio --iodepth=8 --direct=1 \
		--randseed=2 --name=a --rw=randrw --bsrange=4k-128k --offset=30m --size=4m \
		--fsync=8 --output-format=json |
		jq -r '.jobs[0] | "\(.read.total_ios) \(.read.io_bytes) \(.write.total_ios)"')
	read -r -a theirs <<<"$fio"
	mapfile -t ours < <(of "$area" '.read.ios, .read.bytes, .write.ios')
	echo "fio: $fio; ours: ${ours[*]}"
	agrees "${ours[0]}" "${theirs[0]}"
	agrees "${ours[2]}" "${theirs[2]}"
	[[ $(ask missed) != "0 0" || ${ours[1]} == "${theirs[1]}" ]]
	[[ $(of "$area" '.read.total.count > 0 and .write.ios > 0 and .flush.ios > 0') == true ]]
	# the disk below has requests: its bios, which are seen now, are not counted as well
	settle
	agrees "$(of "$below" .flush.ios)" $(($(stat_words data 16) - before))
	bad data $((70000 + 40)) $((70000 + 40))
	ask events
	run ! dd if=/dev/mapper/under of=/dev/null iflag=direct bs=4k skip=$(((65536 + 40) / 8)) \
		count=1
	run -0 ask events
	# the one first to know first
	[[ $(jq -r '.[] | "\(.area) \(.kind) \(.op) \(.sector) \(.sectors)"' <<<"$output") == \
		"$below error read 70040 8"$'\n'"$area error read $((65536 + 40)) 8" ]]
	# all that began was seen to end
	settle
	[[ $(ask missed) != "0 0" || $(bpftool map dump name in_flight -j | jq length) == 0 ]]
	# who has no such device any more does not pay for it
	attached() {
		bpftool link show -j | jq '.[].prog_id' | while read -r id; do
			bpftool prog show id "$id" -j | jq -r .name
		done | grep -cxE 'bio_(queue|complete)'
	}
	[[ $(attached) == 2 ]]
	ask unwatch "$area"
	[[ $(attached) == 0 ]]
	area=$(watch /dev/mapper/under 0)
	[[ $(attached) == 2 ]]
	dd if=/dev/mapper/under of=/dev/null iflag=direct bs=4k count=3
	agrees "$(of "$area" .read.ios)" 3
}

@test "the target tells what it does; the module can go when that is no longer asked for" {
	make_null_blk data 64
	make_null_blk spare 32
	rmmod dm-remap 2>/dev/null || true
	begin
	[[ $(ask attach) == 0 ]]
	load_module
	[[ $(ask attach) == 1 ]]
	remapctl create t --data "$DATA" --spare "$SPARE"
	ask events
	bad data 4800 4800
	dd if=/dev/zero of="$T" oflag=direct bs=4096 seek=600 count=1
	run -0 ask events
	echo "$output"
	[[ $(jq -r 'map(.kind) | join(" ")' <<<"$output") == "relocate-begin commit relocate-end" ]]
	# cause 0: a write; into slot 0, without an error; five good replicas
	[[ $(jq -r '.[0] | "\(.sector) \(.sectors) \(.a)"' <<<"$output") == "4800 8 0" ]]
	[[ $(jq -r '.[1] | "\(.a) \(.b)"' <<<"$output") == "0 5" ]]
	[[ $(jq -r '.[2] | "\(.sector) \(.a) \(.b) \(.c)"' <<<"$output") == "4800 0 0 0" ]]
	[[ $(jq -r .[0].dev <<<"$output") == \
		$(lsblk -dno MAJ:MIN "$T" | awk -F: '{ print $1 * 1048576 + $2 }') ]]
	remapctl stop t
	run ! rmmod dm-remap
	ask detach
	rmmod dm-remap
}

@test "events for which there is no room are counted, all others are there" {
	local area n
	make_null_blk data 64
	begin
	area=$(watch "$DATA" 0)
	bad data 0 1023
	ask events
	some_dropped() {
		dd if="$DATA" of=/dev/null iflag=direct bs=512 count=1024 conv=noerror 2>/dev/null
		(($(of "$area" .dropped) > 0))
	}
	wait_for 120 some_dropped
	n=$(ask drain)
	echo "$n events, $(of "$area" '.errors, .dropped' | paste -sd ' ') counted"
	((n > 10000))
	[[ $(of "$area" .errors) == $((n + $(of "$area" .dropped))) ]]
	# and there is room again
	run ! dd if="$DATA" of=/dev/null iflag=direct bs=512 count=1
	[[ $(ask drain) == 1 ]]
}

@test "others read the same from the maps that are pinned" {
	local area folder=/sys/fs/bpf/remap-test
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
	make_null_blk data 64
	begin
	area=$(watch "$DATA" 0)
	run ! ask pinned "$folder" "$area"
	[[ $output == "error: no telemetry in $folder: "* ]]
	run ! ask pin /tmp/remap-test
	[[ $output == "error: /tmp/remap-test is not in a bpffs "* && ! -e /tmp/remap-test ]]
	# where it is somebody else's, nothing happens to it
	mkdir /tmp/remap-test
	touch /tmp/remap-test/rows
	run ! ask pin /tmp/remap-test
	ask unpin /tmp/remap-test
	[[ -e /tmp/remap-test/rows ]]
	rm -r /tmp/remap-test
	ask pin "$folder"
	dd if="$DATA" of=/dev/null iflag=direct bs=4096 count=10
	[[ $(ask pinned "$folder" "$area") == "$(ask read "$area")" ]]
	[[ $(ask pinned "$folder" "$area" | jq .read.ios) -ge 10 ]]
	# again, over the old ones
	ask pin "$folder"
	# what another version has left there is not taken for ours
	rm "$folder/rows"
	bpftool map create "$folder/rows" type array key 4 value 64 entries 1 name rows
	run ! ask pinned "$folder" "$area"
	[[ $output == "error: telemetry in $folder is of another version" ]]
	ask unpin "$folder"
	[[ ! -e $folder ]]
}

@test "what began in one area does not end in the next that has its place" {
	local area load
	make_null_blk data 64
	make_null_blk spare 64
	dmsetup create under --table "0 131072 linear $DATA 0"
	dmsetup create other --table "0 131072 linear $SPARE 0"
	settle
	begin
	area=$(watch /dev/mapper/under 0)
	dmsetup suspend under
	dd if=/dev/mapper/under of=/dev/null iflag=direct bs=4096 count=1 2>/dev/null 3>&- &
	load=$!
	on_its_way() { [[ $(bpftool map dump name in_flight -j | jq length) == 1 ]]; }
	wait_for 10 on_its_way
	ask unwatch "$area"
	[[ $(watch /dev/mapper/other 0) == "$area" ]]
	dmsetup resume under
	wait "$load"
	[[ $(of "$area" .read.ios) == 0 ]]
	dd if=/dev/mapper/other of=/dev/null iflag=direct bs=4096 count=1
	[[ $(of "$area" .read.ios) == 1 ]]
}

@test "a disk that comes where another one was in memory is not taken for it" {
	local first second numbers before
	numbers() { lsblk -dno MAJ:MIN "$DATA" "$SPARE" | paste -sd ' '; }
	make_null_blk data 64
	make_null_blk spare 64
	begin
	# and what is known to be nobody's may become somebody's
	dd if="$DATA" of=/dev/null iflag=direct bs=4096 count=10
	first=$(watch "$DATA" 0)
	second=$(watch "$SPARE" 0)
	numbers=$(numbers)
	dd if="$DATA" of=/dev/null iflag=direct bs=4096 count=10
	dd if="$SPARE" of=/dev/null iflag=direct bs=4096 count=20
	[[ $(of "$first" .read.ios) == 10 && $(of "$second" .read.ios) == 20 ]]
	# what is freed last is allocated first: the two change places, but not their numbers
	for _ in 1 2 3 4; do
		remove_null_blk data
		remove_null_blk spare
		before=("$(of "$first" .read.ios)" "$(of "$second" .read.ios)")
		make_null_blk data 64
		make_null_blk spare 64
		[[ $(numbers) == "$numbers" ]]
		dd if="$DATA" of=/dev/null iflag=direct bs=4096 count=10
		dd if="$SPARE" of=/dev/null iflag=direct bs=4096 count=20
		settle
		agrees $(($(of "$first" .read.ios) - before[0])) "$(stat_words data 1)"
		agrees $(($(of "$second" .read.ios) - before[1])) "$(stat_words spare 1)"
	done
}

# bats test_tags=two-cpus
@test "areas come and go under I/O: 128 of them, each by itself" {
	local at first load i
	make_null_blk data 64
	begin
	fio --filename="$DATA" --ioengine=libaio --iodepth=4 --direct=1 --name=a --rw=randread \
		--bs=4k --time_based --runtime=600 --minimal >/dev/null 3>&- &
	load=$!
	at=$(lsblk -dno MAJ:MIN "$DATA" | tr -d ' ')
	for ((i = 0; i < 128; i++)); do
		[[ $(ask watch "$at" $((i * 1024)) 1024 0) == "$i" ]]
	done
	run ! ask watch "$at" 131072 8 0
	[[ $output == "error: no more than 128 devices can be watched" ]]
	first=$(of 5 .id)
	for ((i = 0; i < 128; i += 2)); do
		ask unwatch "$i" >/dev/null
	done
	[[ $(ask watch "$at" 0 1024 0) == 0 ]]
	[[ $(of 5 .id) == "$first" ]]
	(($(of 0 .id) > 128))
	saw() { (($(of "$1" .read.ios) > 0)); }
	wait_for 60 saw 0
	wait_for 60 saw 127
	kill "$load"
	wait "$load" || true
	# nothing where nothing is watched
	[[ $(of 2 '.read.ios, .sectors' | paste -sd ' ') == *" 0" ]]
}
