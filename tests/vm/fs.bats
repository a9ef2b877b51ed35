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

# bats test_tags=two-cpus
@test "ext4 with fio verify, fsck, and all of it again after a restart" {
	mkfs.ext4 -q "$T"
	check_fs ext4 e2fsck -fn
}

@test "xfs with fio verify, repair -n, and all of it again after a restart" {
	mkfs.xfs -q -K "$T"
	check_fs xfs xfs_repair -n
}

@test "btrfs with fio verify, check, and all of it again after a restart" {
	modprobe -q btrfs || skip "this kernel has no btrfs"
	mkfs.btrfs -q "$T"
	check_fs btrfs btrfs check -q
}

# A bank is at work all the time; bad blocks appear under its file, behind its back.
@test "sqlite commits transactions while bad blocks appear, and has each of them afterwards" {
	local i writer
	mkfs.ext4 -q "$T"
	mount "$T" /mnt/t
	sql "PRAGMA journal_mode = WAL;
		CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, v BLOB);
		CREATE TABLE transfer (id INTEGER PRIMARY KEY, amount INTEGER);
		WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 400)
		INSERT INTO account SELECT x, 1000, randomblob(2000) FROM c;"
	sync
	transfers 3>&- &
	writer=$!
	for i in 1 2 3 4 5 6; do
		wait_for 120 committed $((i * 6))
		extents /mnt/t/db | spoil 112 $((i * 16))
	done
	wait_for 120 committed 45
	touch /tmp/enough
	wait "$writer"
	(($(field relocations) > 6))
	expect state active
	# what is under a bad sector now is only in memory: all of it is written once more
	sql "UPDATE account SET v = randomblob(2000)"
	umount /mnt/t
	e2fsck -fn "$T"
	restart
	mount "$T" /mnt/t
	[[ $(sql "PRAGMA integrity_check") == ok ]]
	[[ $(sql "SELECT count(*), sum(balance) FROM account") == "400|400000" ]]
	[[ $(sql "SELECT count(*), max(id) FROM transfer") == "$(</tmp/count)|$(</tmp/count)" ]]
	expect lost_sectors 0
}

sql() {
	sqlite3 -bail -cmd ".timeout 60000" -cmd "PRAGMA synchronous = FULL" /mnt/t/db "$@"
}

# Transfers between any two accounts, until it is enough. /tmp/count: those acknowledged
transfers() {
	local n=0 set="UPDATE account SET v = randomblob(2000), balance = balance"
	rm -f /tmp/enough
	while [[ ! -e /tmp/enough ]]; do
		sql "BEGIN; $set - 7 WHERE id = $((RANDOM % 400 + 1));
			$set + 7 WHERE id = $((RANDOM % 400 + 1));
			INSERT INTO transfer (amount) VALUES (7); COMMIT;" || return
		n=$((n + 1))
		echo "$n" >/tmp/count.new && mv /tmp/count.new /tmp/count
	done
}

committed() { # TRANSFERS
	[[ -e /tmp/count && $(</tmp/count) -ge $1 ]]
}

# Where a file is on the device: first sector and sectors of each extent
extents() { # FILE
	filefrag -b512 -v "$1" | awk -F'[ .:]+' '/^ *[0-9]+:/ { print $5, $7 }'
}

# Make sectors bad in each of the ranges that come in, one in STEP
spoil() { # STEP [FROM]
	local first length i
	while read -r first length; do
		for ((i = first + ${2:-0}; i < first + length; i += $1)); do
			bad data "$i" $((i + i % 11))
		done
	done
}

# Where btrfs puts data: it has addresses of its own, and a tree that says where they are.
btrfs_data() {
	blockdev --flushbufs "$T"
	btrfs inspect-internal dump-tree -t chunk "$T" | awk '
		/length .* type / { data = / type DATA/; length_ = $2 }
		/stripe [0-9]+ devid/ && data { print $6 / 512, length_ / 512 }'
}

# Bad blocks only where the file system has put files that fio is about to write: found by asking
# it, so that no bad sector lies under metadata that is read, not written.
check_fs() { # TYPE CHECK...
	local type=$1
	shift
	mount -t "$type" "$T" /mnt/t
	fallocate -l 64M /mnt/t/file
	sync
	if [[ $type == btrfs ]]; then
		btrfs_data | spoil 3000
	else
		extents /mnt/t/file | spoil 3000
	fi
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

# bats test_tags=two-cpus
@test "fio verify on the bare device, many bad blocks, four writers at once" {
	scatter 500 4000
	fio_verify --filename="$T" --size=128M --offset_increment=128M --numjobs=4 --rw=randwrite \
		--bsrange=512-128k --iodepth=8 --io_size=16M --group_reporting
	(($(field relocations) > 20))
	expect state active
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

# bats test_tags=two-cpus
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
