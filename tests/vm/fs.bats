#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# File systems and a load generator on a disk that grows bad blocks under them: fio reads back and
# checks every block that it wrote, then the file system's own check has the last word.

bats_require_minimum_version 1.5.0
load remap

setup() {
	load_module
	make_null_blk data 512
	make_null_blk spare 32
	remapctl create t --data "$DATA" --spare "$SPARE"
	mkdir -p /mnt/t
}

teardown() {
	mountpoint -q /mnt/t && umount /mnt/t
	remapctl stop t
	remove_null_blk data
	remove_null_blk spare
}

# Bad sectors all over the disk, but not under what mkfs has written already: only reads of what
# was there before could fail, and reads are not what this suite is about.
scatter() { # FROM STEP
	local i
	for ((i = $1; i < 1048576; i += $2)); do
		bad data "$i" $((i + i % 13))
	done
}

fio_verify() { # ARGS...
	fio --name=job --minimal --output=/tmp/fio --ioengine=libaio --direct=1 --verify=crc32c \
		--verify_fatal=1 --do_verify=1 --randrepeat=1 "$@" || { cat /tmp/fio; return 1; }
}

@test "ext4 with fio verify, fsck, and all of it again after a restart" {
	mkfs.ext4 -q "$T"
	check_fs ext4 e2fsck -fn
}

@test "xfs with fio verify, repair -n, and all of it again after a restart" {
	mkfs.xfs -q -K "$T"
	check_fs xfs xfs_repair -n
}

# Bad blocks only where the file system has put files that fio is about to write: found by asking
# it (fiemap), so that no bad sector lies under metadata that is read, not written.
check_fs() { # TYPE CHECK...
	local type=$1 first length
	shift
	mount -t "$type" "$T" /mnt/t
	fallocate -l 64M /mnt/t/file
	sync
	while read -r first length; do
		for ((i = first; i < first + length; i += 3000)); do
			bad data "$i" $((i + i % 11))
		done
	done < <(filefrag -b512 -v /mnt/t/file | awk -F'[ .:]+' '/^ *[0-9]+:/ { print $5, $7 }')
	fio_verify --filename=/mnt/t/file --size=64M --rw=write --bs=128k --iodepth=8
	fio_verify --filename=/mnt/t/file --size=64M --rw=randwrite --bsrange=4k-256k --iodepth=8 \
		--io_size=32M --randseed=7
	(($(field slots_used) > 20))
	sha256sum /mnt/t/file >/tmp/sum
	umount /mnt/t
	"$@" "$T"
	restart
	mount -t "$type" "$T" /mnt/t
	sha256sum -c /tmp/sum
	umount /mnt/t
	"$@" "$T"
	expect lost_sectors 0
}

@test "fio verify on the bare device, many bad blocks, four writers at once" {
	scatter 500 4000
	fio_verify --filename="$T" --size=128M --offset_increment=128M --numjobs=4 --rw=randwrite \
		--bsrange=512-128k --iodepth=8 --io_size=16M --group_reporting
	(($(field relocations) > 20))
	expect state active
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

@test "proactive remaps and unmaps under load lose nothing" {
	local fio rounds=0
	fio_verify --filename="$T" --size=64M --rw=randwrite --bs=4k --iodepth=16 --io_size=24M \
		--randseed=3 &
	fio=$!
	while kill -0 "$fio" 2>/dev/null; do
		rounds=$((rounds + 1))
		remapctl remap t $((rounds % 100 * 1000))+2000
		remapctl unmap t $((rounds % 100 * 1000))+1500
	done
	wait "$fio"
	((rounds > 2))		# the last one may have been too late to matter
	expect state active
}
