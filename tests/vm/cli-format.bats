#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# remapctl as its users meet it: wrong usage, and all that format refuses with one line that names
# thing and remedy, and changes nothing.

bats_require_minimum_version 1.5.0
# shellcheck disable=SC2034 # cli.bash has them all
readonly DATA=/dev/data SPARE=/dev/spare OTHER=/dev/other MNT=/tmp/mnt
load cli

# ---- usage ----

@test "help and version go to stdout and succeed" {
	run --separate-stderr -0 remapctl --help
	[[ -z $stderr && $output == *format*start*create*stop*status*scan* ]]
	run --separate-stderr -0 remapctl --version
	[[ -z $stderr && $output == "remapctl "[0-9]* ]]
	for command in format start create stop status list remap unmap import export verify \
		repair dump scan reset; do
		run --separate-stderr -0 remapctl $command --help
		[[ -z $stderr && $output == "Usage: remapctl $command"*--json* ]]
	done
}

@test "an unknown or missing command is wrong usage" {
	refused 2 "a command is missing" "--help" --
	refused 2 "frobnicate: no such command" -- frobnicate
	refused 2 "--frobnicate: no such option" -- --frobnicate
	refused 2 "exprot: no such command" -- exprot t
}

@test "an unknown option of each command is wrong usage" {
	for command in format start create stop status list remap unmap import export verify \
		repair dump scan reset; do
		run --separate-stderr -2 remapctl $command --frobnicate
		[[ -z $output && $stderr == "remapctl: --frobnicate: unknown option"* ]]
		[[ $(wc -l <<<"$stderr") == 1 ]]
	done
}

@test "a missing argument of each command is wrong usage" {
	refused 2 "--data is missing" "remapctl format --help" -- format --spare $SPARE
	refused 2 "--spare is missing" -- format --data $DATA
	refused 2 "NAME is missing" -- start --spare $SPARE
	refused 2 "--spare is missing" -- start t
	refused 2 "NAME is missing" -- create --data $DATA --spare $SPARE
	refused 2 "--data is missing" -- create t --spare $SPARE
	refused 2 "NAME is missing" -- stop
	refused 2 "NAME is missing" -- list
	refused 2 "NAME is missing" -- remap
	refused 2 "SECTOR is missing" -- remap t
	refused 2 "NAME is missing" -- unmap
	refused 2 "SECTOR is missing" -- unmap t
	refused 2 "NAME or --spare is missing" -- verify
	refused 2 "NAME or --spare is missing" -- repair
	refused 2 "NAME or --spare is missing" -- export
	refused 2 "NAME is missing" -- import --badblocks x
	refused 2 "--badblocks, --ddrescue or --table is missing" -- import t
	refused 2 "--spare is missing" -- import --table x
	refused 2 "--spare is missing" -- dump
	refused 2 "NAME is missing" -- reset
}

@test "an argument too many, an option twice, an empty value are wrong usage" {
	refused 2 "b: one argument too many" -- stop a b
	refused 2 "b: one argument too many" -- status a b
	refused 2 "x: this command takes no arguments" -- scan x
	refused 2 "x: this command takes no arguments" -- format --data $DATA --spare $SPARE x
	refused 2 "exclude each other" -- verify t --spare $SPARE
	refused 2 "exclude each other" -- repair t --spare $SPARE
	refused 2 "exclude each other" -- export t --spare $SPARE
	refused 2 "exclude each other" -- import t --spare $SPARE --table x
	refused 2 "--spare goes with --table only" -- import t --spare $SPARE --badblocks x
	refused 2 "--force goes with --table only" -- import t --force --badblocks x
	refused 2 "--ddrescue does not go with --table" -- import --spare $SPARE --table x \
		--ddrescue x
	refused 2 "--search goes with --spare only" -- verify t --search
	refused 2 "--data given twice" -- format --data $DATA --data $DATA --spare $SPARE
	refused 2 "--spare: empty" -- dump --spare ""
}

# ---- format ----

@test "format: wrong block sizes and labels are refused" {
	local before
	before=$(md5sum <"$SPARE")
	for size in 0 256 6000 32768 32K 4KiB -4096 99999999999999999999 K; do
		refused 2 "--block-size $size" "power of two" -- format --data $DATA \
			--spare $SPARE --force --block-size=$size
	done
	for label in 12345678901234567890123456789012 $'a\nb' $'\xff' $'\e[31m'; do
		refused 2 "--label" -- format --data $DATA --spare $SPARE --force --label "$label"
	done
	[[ $(md5sum <"$SPARE") == "$before" ]]
}

@test "format: block sizes are taken as bytes or with a K" {
	prepare --block-size 512
	json '.block_size == 512' dump --spare $SPARE
	prepare --block-size 16k
	json '.block_size == 16384' dump --spare $SPARE
	prepare
	json '.block_size == 4096' dump --spare $SPARE
}

@test "format: what is no block device is refused" {
	touch /tmp/file
	refused 1 "/nowhere: No such file" -- format --data /nowhere --spare $SPARE
	refused 1 "/nowhere: No such file" -- format --data $DATA --spare /nowhere
	refused 1 "/tmp/file: not a block device (losetup" -- format --data $DATA --spare /tmp/file
	refused 1 "/dev/null: not a block device" -- format --data /dev/null --spare $SPARE
	refused 1 "/tmp: not a block device" -- format --data /tmp --spare $SPARE --force
}

@test "format: spare and data being one device is refused, whatever its name, force or not" {
	ln -sfn $DATA /tmp/link
	refused_unchanged 1 "/tmp/link: is the data device" -- format --data $DATA --spare /tmp/link
	refused_unchanged 1 "is the data device" -- format --data $DATA --spare $DATA --force
}

@test "format: a spare with something on it is refused, and named, without force" {
	mkfs.ext4 -q -F -L precious $SPARE
	refused_unchanged 1 "an ext4 file system, label precious" "(--force" -- \
		format --data $DATA --spare $SPARE
	mkswap -q -L swappy $SPARE 2>/dev/null || mkswap -L swappy $SPARE
	refused_unchanged 1 "swap" "--force" -- format --data $DATA --spare $SPARE
	wipefs -q -a $SPARE
	echo ',,' | sfdisk -q --label gpt $SPARE
	settle
	refused_unchanged 1 "partition table (gpt)" -- format --data $DATA --spare $SPARE
	remapctl format --data $DATA --spare $SPARE --force --label kept
	[[ -z $(blkid -p -o value -s PTTYPE $SPARE) ]]
	wait_for 5 test ! -e ${SPARE}1
	refused_unchanged 1 "dm-remap spare, uuid " "label kept" -- \
		format --data $DATA --spare $SPARE
	remapctl format --data $DATA --spare $SPARE --force
}

@test "format: a data device that is a spare itself is refused: swapped arguments" {
	prepare
	wipefs -q -a -f $DATA
	for force in "" --force; do
		# shellcheck disable=SC2086 # no argument where empty
		refused_unchanged 1 "$SPARE: the data device is a dm-remap spare itself" \
			"swapped?)" -- format --data $SPARE --spare $DATA $force
		[[ $stderr != *dd* && $stderr != *--force* ]]
	done
	# so is one without its first replica: nobody has given it another use
	dd if=/dev/zero of=$SPARE bs=8K count=1 oflag=direct status=none
	refused_unchanged 1 "$SPARE: the data device is a dm-remap spare itself" -- \
		format --data $SPARE --spare $DATA --force
}

@test "format: a disk that was a spare once is taken with force, and stays as it is" {
	local use before
	for use in "mkfs.ext4 -q -F" mkswap; do
		prepare
		wipefs -q -a -f $DATA
		$use $SPARE
		before=$(md5sum <$SPARE)
		refused_unchanged 1 "$SPARE: the data device has remains of a dm-remap spare" \
			"swapped" "--force takes it as it is" -- format --data $SPARE --spare $OTHER
		run --separate-stderr -0 remapctl format --data $SPARE --spare $OTHER --force
		[[ $stderr == "remapctl: warning: $SPARE has remains of a dm-remap spare"* ]]
		[[ $(wc -l <<<"$stderr") == 1 ]]
		blockdev --flushbufs $SPARE
		[[ $(md5sum <$SPARE) == "$before" ]]
		dd if=/dev/zero of=$OTHER bs=1M count=4 oflag=direct status=none
	done
}

@test "format: mounted, swapped on or otherwise held devices are refused even with force" {
	wipefs -q -a -f $DATA $SPARE
	mkfs.ext4 -q -F $DATA
	mount $DATA $MNT
	refused 1 "$DATA: mounted on $MNT (unmount it first)" -- \
		format --data $DATA --spare $SPARE --force
	refused 1 "$DATA: mounted on $MNT" -- format --data $SPARE --spare $DATA --force
	umount $MNT

	mkdir -p "$MNT/a b"
	mount $DATA "$MNT/a b"
	refused 1 "mounted on $MNT/a b" -- format --data $DATA --spare $SPARE --force
	umount "$MNT/a b"
	rmdir "$MNT/a b"

	mkswap -q $SPARE 2>/dev/null || mkswap $SPARE
	swapon $SPARE
	refused 1 "$SPARE: used as swap (swapoff it first)" -- \
		format --data $DATA --spare $SPARE --force
	swapoff $SPARE

	dmsetup create holder --table "0 2048 linear $SPARE 0"
	refused_unchanged 1 "$SPARE: in use by device-mapper device holder" -- \
		format --data $DATA --spare $SPARE --force
	dmsetup remove --retry holder
	wipefs -q -a $SPARE
}

@test "format: read-only devices are refused" {
	blockdev --setro $SPARE
	refused_unchanged 1 "$SPARE: read-only" -- format --data $DATA --spare $SPARE --force
	blockdev --setrw $SPARE
	blockdev --setro $DATA
	refused_unchanged 1 "$DATA: read-only" -- format --data $DATA --spare $SPARE --force
	blockdev --setrw $DATA
}

@test "format: a spare too small is refused with the size that it needs, which then is enough" {
	new_file /tmp/small 300K
	local loop need
	loop=$(make_loop /tmp/small)
	refused 1 "$loop: too small" "has 300 KiB, needs at least " -- format --data $DATA \
		--spare "$loop" --force
	need=${stderr##*at least }
	need=${need%% *}
	losetup -d "$loop"
	new_file /tmp/small $((need - 1))K
	loop=$(make_loop /tmp/small)
	refused 1 "too small" -- format --data $DATA --spare "$loop"
	losetup -d "$loop"
	new_file /tmp/small "$need"K
	loop=$(make_loop /tmp/small)
	remapctl format --data $DATA --spare "$loop"
	json '.slots_total >= 1' dump --spare "$loop"
}

@test "format: overlapping partitions are refused, distinct ones of a disk give a warning" {
	local loop
	new_file /tmp/disk 32M
	printf '%s\n' 'start=2048,size=32768' 'start=36864,size=16384' |
		sfdisk -q --label gpt /tmp/disk
	loop=$(make_loop /tmp/disk --partscan)
	wait_for 5 test -b "${loop}p2"
	refused 1 "$loop: overlaps the data device ${loop}p1" -- \
		format --data "${loop}p1" --spare "$loop" --force
	refused 1 "${loop}p1: overlaps the data device $loop" -- \
		format --data "$loop" --spare "${loop}p1" --force
	run --separate-stderr -0 remapctl format --data "${loop}p1" --spare "${loop}p2"
	[[ $stderr == *"warning: ${loop}p2 shares a disk with ${loop}p1"* ]]
	# the partition is known again by its UUID
	json '.data_partuuid | length == 36' dump --spare "${loop}p2"
	json "map(select(.device | startswith(\"$loop\"))) |
		length == 1 and .[0].data_device == \"${loop}p1\"" scan
}

@test "format: loop devices over the same bytes of a file are no two devices" {
	local whole again on first second third
	new_file /tmp/file 16M
	whole=$(make_loop /tmp/file)
	again=$(make_loop /tmp/file)
	refused 1 "$again: is the data device $whole, too" -- \
		format --data "$whole" --spare "$again" --force
	on=$(make_loop "$whole")
	refused 1 "$on: is the data device $again, too" -- \
		format --data "$again" --spare "$on" --force
	losetup -d "$on"

	first=$(make_loop /tmp/file --offset 4M --sizelimit 4M)
	second=$(make_loop /tmp/file --offset 6M --sizelimit 4M)
	third=$(make_loop /tmp/file --offset 8M --sizelimit 4M)
	refused 1 "$second: overlaps the data device $first" -- \
		format --data "$first" --spare "$second" --force
	refused 1 "$first: overlaps the data device $whole" -- \
		format --data "$whole" --spare "$first" --force
	run --separate-stderr -0 remapctl format --data "$first" --spare "$third" --force
	[[ $stderr == *"$third shares a disk with $first"* ]]
}

@test "format: loop devices over two files are two devices, with --force or without" {
	local data spare
	new_file /tmp/data 4M
	new_file /tmp/file 4M
	data=$(make_loop /tmp/data)
	spare=$(make_loop /tmp/file)
	remapctl format --data "$data" --spare "$spare"
	remapctl verify --spare "$spare"
	remapctl start t --data "$data" --spare "$spare"
	remapctl stop t
	# by another name it is the same file still
	ln -f /tmp/data /tmp/hard
	spare=$(make_loop /tmp/hard)
	refused 1 "$spare: is the data device $data, too" -- \
		format --data "$data" --spare "$spare" --force
	rm /tmp/hard
}

@test "format: two paths to one logical unit are no two disks" {
	local disks
	# without the host's number in them, the units of both hosts have one WWN and serial number
	mapfile -t disks < <(make_scsi_debug 4 add_host=2 vpd_use_hostno=0)
	[[ ${#disks[@]} == 2 ]]
	refused 1 "${disks[1]}: is the data device ${disks[0]}, too" -- \
		format --data "${disks[0]}" --spare "${disks[1]}" --force
	settle
	wait_for 10 modprobe -r scsi_debug
}

@test "format: without sysfs it cannot be told whether two devices are distinct" {
	local blind="mount -t tmpfs none /sys && exec remapctl format --data $DATA --spare $SPARE"
	dd if=/dev/zero of=$SPARE bs=1M count=2 oflag=direct status=none
	run --separate-stderr -1 unshare -m bash -c "$blind"
	[[ $stderr == "remapctl: $SPARE: cannot tell whether it shares sectors with $DATA"* ]]
	[[ $stderr == *"mount -t sysfs"*--force* && $(wc -l <<<"$stderr") == 1 ]]
	run --separate-stderr -0 unshare -m bash -c "$blind --force"
}

# Reads of a suspended device wait, which gives the time to exchange what the path names.
@test "format: what was checked is what is written, whatever becomes of its path" {
	local pid before status=0
	prepare
	dd if=/dev/zero of=$SPARE bs=1M count=2 oflag=direct status=none
	mkfs.ext4 -q -F -L precious $OTHER
	before=$(md5sum <$OTHER)
	dmsetup create gate --table "0 4096 linear $SPARE 0"
	settle
	dmsetup suspend gate
	ln -sfn /dev/mapper/gate /tmp/link
	remapctl format --data $DATA --spare /tmp/link >/tmp/out 2>&1 3>&- &
	pid=$!
	wait_for 20 grep -q '^State:.*D' /proc/$pid/status
	ln -sfn $OTHER /tmp/link
	dmsetup resume gate
	wait $pid || status=$?
	blockdev --flushbufs $OTHER
	[[ $(md5sum <$OTHER) == "$before" ]]
	[[ $status == 0 ]] || grep -q "become another device" /tmp/out
	wipefs -q -a -f $OTHER
}

@test "format: a disk is held by what is mounted from its partitions" {
	local loop
	new_file /tmp/disk 32M
	printf '%s\n' 'start=2048,size=32768' | sfdisk -q --label gpt /tmp/disk
	loop=$(make_loop /tmp/disk --partscan)
	wait_for 5 test -b "${loop}p1"
	mkfs.ext4 -q "${loop}p1"
	mount "${loop}p1" $MNT
	refused 1 "$loop: its partition ${loop}p1 is mounted on $MNT" -- \
		format --data $DATA --spare "$loop" --force
	umount $MNT
}

@test "format: logical sectors larger than a block are refused" {
	make_null_blk big 4 blocksize=4096
	refused 1 "/dev/big: has logical sectors of 4096" "--block-size 4096" -- \
		format --data /dev/big --spare $SPARE --block-size 512 --force
	remapctl format --data /dev/big --spare $SPARE --force
	json '.sector_size == 4096' dump --spare $SPARE
	remove_null_blk big
}

@test "format: never writes to the data device" {
	local before
	mkfs.ext4 -q -F $DATA
	before=$(md5sum <$DATA)
	remapctl format --data $DATA --spare $SPARE --force
	[[ $(md5sum <$DATA) == "$before" ]]
}
