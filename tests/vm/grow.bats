#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# A spare that becomes larger while it is in use: a loop device whose file grows. What is on it
# stays where it is, the new room is used, and every replica is as good as every other after it.

bats_require_minimum_version 1.5.0
load remap

setup() {
	load_module
	make_null_blk data 64
	new_file /tmp/spare 1M
	SPARE_LOOP=$(make_loop /tmp/spare)
	remapctl create t --data "$DATA" --spare "$SPARE_LOOP"
	pattern write "$T" 0 131072 1 2048
}

teardown() {
	remove_devices
	rm -f /tmp/spare /tmp/image
}

enlarge() { # SIZE
	truncate -s "$1" /tmp/spare
	losetup -c "$SPARE_LOOP"
}

again() {
	remapctl stop t
	remapctl start t --data "$DATA" --spare "$SPARE_LOOP"
}

check_all() { # VERSION OF THE FIRST 4096 SECTORS
	pattern verify "$T" 0 4096 "$1"
	pattern verify "$T" 4096 126976 1
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

@test "an exhausted device goes on once its spare has grown, and after a restart" {
	expect slots_total 176
	run -1 remapctl remap t 0+1416
	expect state exhausted
	expect slots_used 176
	run -1 --separate-stderr remapctl grow t
	[[ $stderr == *"has not grown"* ]]
	enlarge 4M
	remapctl grow t
	expect state active
	[ "$(field slots_total)" -gt 800 ]
	remapctl remap t 0+4096
	expect slots_used 512
	pattern write "$T" 0 4096 2 512
	check_all 2
	again
	expect slots_used 512
	check_all 2
}

# bats test_tags=two-cpus
@test "grows under load, several times, and a reader of the format finds the same" {
	local size before=176 after

	fio --name=load --filename="$T" --offset=16m --size=32m --rw=randwrite --bs=4k \
		--direct=1 --ioengine=io_uring --iodepth=8 --verify=crc32c --verify_backlog=64 \
		--time_based --runtime=3600 --minimal >/tmp/fio.log 2>&1 &
	for size in 2M 3M 6M; do
		enlarge "$size"
		remapctl grow t
		after=$(field slots_total)
		((after > before))
		remapctl remap t $((before * 8))+1600
		before=$after
	done
	kill -INT %1
	wait %1 || true			# 128, for it was interrupted
	[[ $(tail -n 1 /tmp/fio.log) == 3\;*\;load\;0\;0\;* ]] || { cat /tmp/fio.log; return 1; }
	pattern verify "$T" 0 32768 1
	[[ $(replicas t) == "ok ok ok ok ok" ]]
	cp /tmp/spare /tmp/image
	remapctl dump --spare /tmp/image --json >/tmp/ours
	[[ $(jq '.bands | length' /tmp/ours) == 4 ]]
	python3 "$BATS_TEST_DIRNAME/reader.py" /tmp/image >/tmp/theirs
	diff <(jq -S --argjson keys "$(jq -c keys_unsorted /tmp/theirs)" \
		'with_entries(select(.key | IN($keys[])))' /tmp/ours) <(jq -S . /tmp/theirs)
	again
	pattern verify "$T" 0 32768 1
}

@test "any four replicas of a spare that has grown can be destroyed" {
	local keep z band

	enlarge 3M
	remapctl grow t
	remapctl remap t 0+2400
	pattern write "$T" 0 2400 2 480
	for keep in 0 1 2 3 4; do
		remapctl stop t
		remapctl dump --spare "$SPARE_LOOP" --search --json >/tmp/dump
		for z in 0 1 2 3 4; do
			((z != keep)) || continue
			while read -r start sectors; do
				dd if=/dev/urandom of="$SPARE_LOOP" bs=64K oflag=seek_bytes,direct \
					iflag=fullblock conv=notrunc seek=$((start * 512)) \
					count=$((sectors / 128)) status=none
			done < <(jq -r ".bands[] | \"\\(.zones[$z]) \\(.zone_sectors)\"" /tmp/dump)
		done
		# zone 3 is where one would be on a spare of 3 MiB that never grew
		run --separate-stderr remapctl start t --data "$DATA" --spare "$SPARE_LOOP"
		if ((keep != 0 && keep != 3)); then
			((status == 1))
			[[ $stderr == *"--search"* ]]
			remapctl repair --spare "$SPARE_LOOP" --search
			remapctl start t --data "$DATA" --spare "$SPARE_LOOP"
		fi
		((status == 0 || keep != 0))
		expect slots_used 300
		pattern verify "$T" 0 2400 2
		pattern verify "$T" 2400 128672 1
		[[ $(replicas t) == "ok ok ok ok ok" ]]
	done
}

@test "growth that three replicas do not take fails, and the device goes on as it was" {
	local sectors

	remapctl stop t
	make_null_blk spare 64
	sectors=$(blockdev --getsz "$SPARE")
	# a spare whose device is shorter than its disk, so that it can grow over bad sectors
	echo "0 2048 linear $SPARE 0" | dmsetup create short
	remapctl create t --data "$DATA" --spare /dev/mapper/short
	remapctl remap t 0+80
	echo "0 $sectors linear $SPARE 0" | dmsetup load short
	dmsetup suspend short
	dmsetup resume short
	# the superblocks of three zones take no write
	for at in 0 384 896; do bad spare $((at)) $((at + 15)); done
	run -1 remapctl grow t
	expect state failed
	expect slots_total 176
	expect slots_used 10
	pattern verify "$T" 0 131072 1
	for at in 0 384 896; do good spare $((at)) $((at + 15)); done
	remapctl reset t
	expect state active
	remapctl grow t
	[ "$(field slots_total)" -gt 10000 ]
	remapctl stop t
	remapctl start t --data "$DATA" --spare /dev/mapper/short
	expect slots_used 10
	pattern verify "$T" 0 131072 1
}

@test "a spare may end within a sector, before and after it has grown" {
	remapctl stop t
	remove_null_blk data
	make_null_blk data 64 blocksize=4096
	enlarge $(((1 << 20) + 512))
	remapctl create t --data "$DATA" --spare "$SPARE_LOOP" --force
	enlarge $(((4 << 20) + 512))
	remapctl grow t
	[ "$(field slots_total)" -gt 800 ]
	remapctl remap t 0+4096
	pattern write "$T" 0 4096 1 4096
	again
	expect slots_used 512
	pattern verify "$T" 0 4096 1
}

@test "room that another target has is not grown into" {
	local sectors

	remapctl stop t
	# two spares, one behind the other, on one disk: by table line, with offsets
	make_null_blk spare 16
	make_null_blk data2 64
	dd if=/tmp/spare of="$SPARE" bs=1M oflag=direct status=none
	dd if=/tmp/spare of="$SPARE" bs=1M seek=4 oflag=direct status=none
	sectors=$(blockdev --getsz "$DATA")
	dmsetup create t --table "0 $sectors remap $DATA 0 $SPARE 0"
	dmsetup create u --table "0 $sectors remap /dev/data2 0 $SPARE 8192"
	run -1 dmsetup message t 0 grow
	[[ $(dmesg | tail -n 5) == *"is in use"* ]]
	expect slots_total 176
	# behind the second there is nobody
	dmsetup message u 0 grow
	dmsetup remove u
	dmsetup message t 0 grow
	[ "$(field slots_total)" -gt 3000 ]
	pattern verify "$T" 0 131072 1
}

@test "a table that was loaded before its spare grew can take over" {
	local line slots
	line=$(dmsetup table t)
	dmsetup load t --table "$line"
	enlarge 4M
	remapctl grow t
	slots=$(field slots_total)
	dmsetup resume t
	expect state active
	expect slots_total "$slots"
	check_all 1
}

@test "formatted anew while its device was smaller, it starts as what it was formatted last" {
	local small uuid

	remapctl remap t 0+80
	remapctl stop t
	small=$(make_loop /tmp/spare --sizelimit 512K)
	remapctl format --data "$DATA" --spare "$small" --force
	uuid=$(remapctl dump --spare "$small" --json | jq -r .uuid)
	losetup -d "$small"
	# the superblocks of the older life are where this size suggests
	run -1 --separate-stderr remapctl repair --spare "$SPARE_LOOP" --search
	[[ $stderr == *"superblocks of more than one spare"* ]]
	[[ $(remapctl dump --spare "$SPARE_LOOP" --search --json | jq -r .uuid) == "$uuid" ]]
	[[ $(remapctl dump --spare "$SPARE_LOOP" --json | jq -r .uuid) == "$uuid" ]]
	[[ $(python3 "$BATS_TEST_DIRNAME/reader.py" /tmp/spare | jq -r .uuid) == "$uuid" ]]
	remapctl start t --data "$DATA" --spare "$SPARE_LOOP"
	[[ $(remapctl dump --spare "$SPARE_LOOP" --json | jq -r .uuid) == "$uuid" ]]
	expect slots_used 0
	pattern write "$T" 0 131072 3 2048
	pattern verify "$T" 0 131072 3
}
