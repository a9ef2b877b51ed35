#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# remapctl as its users meet it: wrong input of every command is refused with one line that names
# thing and remedy, and changes nothing; --json keeps its contract; devices are found again, and
# only the right ones.

bats_require_minimum_version 1.5.0
load devices

PATH=$DM_REMAP_TREE/build/bin:$PATH
readonly DATA=/dev/data SPARE=/dev/spare OTHER=/dev/other MNT=/tmp/mnt

setup_file() {
	modprobe dm-mod
	grep -qw '^dm_remap' /proc/modules || insmod "$DM_REMAP_KO"
	make_null_blk data 4
	make_null_blk spare 2
	make_null_blk other 4
	mkdir -p "$MNT"
}

teardown_file() {
	remove_devices
}

teardown() {
	local name

	! mountpoint -q $MNT || umount $MNT
	while read -r name _; do
		[[ $name == No ]] || dmsetup remove --retry "$name"
	done < <(dmsetup ls)
	swapoff -a
	[[ ! -e /dev/loop0 ]] || losetup -D
}

# A fresh spare for $DATA, of which only a file system's UUID can be known.
prepare() {
	wipefs -q -a -f "$DATA"
	mkfs.ext4 -q -F -L home "$DATA"
	remapctl format --data "$DATA" --spare "$SPARE" --force "$@" >/dev/null
}

# refused STATUS TEXT... -- COMMAND...: remapctl fails with STATUS, one line, all TEXTs in it
refused() {
	local status_wanted=$1 texts=() text

	shift
	while [[ $1 != -- ]]; do
		texts+=("$1")
		shift
	done
	shift
	# shellcheck disable=SC2154 # set by run
	run --separate-stderr -"$status_wanted" remapctl "$@" || return
	[[ -z $output ]] || { echo "stdout: $output"; return 1; }
	# shellcheck disable=SC2154 # set by run
	[[ $stderr == "remapctl: "* && $stderr != *$'\n'* ]] ||
		{ echo "stderr: $stderr"; return 1; }
	for text in "${texts[@]}"; do
		[[ $stderr == *"$text"* ]] || { echo "no '$text' in: $stderr"; return 1; }
	done
}

# How often each device was written to, or had something discarded.
writes() {
	local device
	for device in "$DATA" "$SPARE" "$OTHER"; do
		blockdev --flushbufs "$device"
		device=$(readlink -f "$device")
		awk '{ print $5, $12 }' "/sys/class/block/${device##*/}/stat"
	done
}

# The same, and nothing was written to the devices.
refused_unchanged() {
	local before

	before=$(writes)
	[[ $(wc -w <<<"$before") == 6 ]] || { echo "cannot count writes"; return 1; }
	refused "$@" || return
	[[ $(writes) == "$before" ]] || { echo "something was written"; return 1; }
}

json() { # FILTER COMMAND...: jq -e FILTER on the output
	local filter=$1

	shift
	remapctl "$@" --json >/tmp/json || { echo "exit status $?"; return 1; }
	jq -e "$filter" /tmp/json >/dev/null || { echo "not so: $filter"; cat /tmp/json; return 1; }
}

# ---- usage ----

@test "help and version go to stdout and succeed" {
	run --separate-stderr -0 remapctl --help
	[[ -z $stderr && $output == *format*start*create*stop*status*scan* ]]
	run --separate-stderr -0 remapctl --version
	[[ -z $stderr && $output == "remapctl "[0-9]* ]]
	for command in format start create stop status list remap unmap import verify repair dump \
		scan reset; do
		run --separate-stderr -0 remapctl $command --help
		[[ -z $stderr && $output == "Usage: remapctl $command"*--json* ]]
	done
}

@test "an unknown or missing command is wrong usage" {
	refused 2 "a command is missing" "--help" --
	refused 2 "frobnicate: no such command" -- frobnicate
	refused 2 "--frobnicate: no such option" -- --frobnicate
	refused 2 "import: no such command" -- import t --badblocks x
}

@test "an unknown option of each command is wrong usage" {
	for command in format start create stop status list remap unmap import verify repair dump \
		scan reset; do
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
	refused_unchanged 1 "$SPARE: the data device is a dm-remap spare itself" "swapped" -- \
		format --data $SPARE --spare $DATA
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
	truncate -s 300K /tmp/small
	local loop need
	loop=$(make_loop /tmp/small)
	refused 1 "$loop: too small" "has 300 KiB, needs at least " -- format --data $DATA \
		--spare "$loop" --force
	need=${stderr##*at least }
	need=${need%% *}
	losetup -d "$loop"
	truncate -s $((need - 1))K /tmp/small
	loop=$(make_loop /tmp/small)
	refused 1 "too small" -- format --data $DATA --spare "$loop"
	losetup -d "$loop"
	truncate -s "$need"K /tmp/small
	loop=$(make_loop /tmp/small)
	remapctl format --data $DATA --spare "$loop"
	json '.slots_total >= 1' dump --spare "$loop"
}

@test "format: overlapping partitions are refused, distinct ones of a disk give a warning" {
	local loop
	truncate -s 32M /tmp/disk
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
	truncate -s 16M /tmp/file
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
	truncate -s 32M /tmp/disk
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

# ---- start, create, stop ----

@test "start: wrong names and options are wrong usage" {
	local before
	prepare
	before=$(md5sum <"$SPARE")
	for name in a/b . .. control 'a b' $'a\tb' ö "$(printf 'x%.0s' {1..128})"; do
		refused 2 "not a device name" -- start "$name" --spare $SPARE
	done
	refused 2 "not a device name" -- create a/b --data $DATA --spare $SPARE --force
	for option in verify verify= verify=2 verify=x burst=-1 burst=4294967296 nosuch=1 =1 \
		force=yes; do
		refused 2 "--option $option" -- start t --spare $SPARE --option $option
	done
	refused 2 "--option verify=2" -- create t --data $DATA --spare $SPARE --force -o verify=2
	refused 2 "--option verify given twice" -- start t --spare $SPARE \
		-o verify=0 -o verify=1
	[[ $(md5sum <"$SPARE") == "$before" ]]
}

@test "start: a device that is no spare is refused" {
	wipefs -q -a -f $OTHER
	dd if=/dev/zero of=$OTHER bs=1M count=4 oflag=direct status=none
	refused_unchanged 1 "$OTHER: not a dm-remap spare (remapctl format" -- \
		start t --spare $OTHER --data $DATA
}

@test "start: prints the path, finds the data device by its file system, takes options" {
	prepare
	run --separate-stderr -0 remapctl start t --spare $SPARE --option verify=0 -o burst=7
	[[ $output == /dev/mapper/t && -z $stderr && -b /dev/mapper/t ]]
	[[ $(dmsetup table t) == *"verify 0"*"burst 7"* ]]
	[[ $(dmsetup info -c --noheadings -o uuid t) == REMAP-* ]]
}

@test "start: names in use and spares in use are refused" {
	prepare
	dmsetup create t --table "0 2048 linear $OTHER 0"
	refused_unchanged 1 "t: a device of this name exists" -- start t --spare $SPARE
	refused_unchanged 1 "t: a device of this name exists" -- create t --spare $SPARE \
		--data $DATA --force
	dmsetup remove --retry t
	remapctl start t --spare $SPARE
	refused 1 "$SPARE: already active as t" -- start u --spare $SPARE
	refused 1 "in use by device-mapper device t" -- format --data $OTHER --spare $SPARE --force
	refused 1 "$SPARE: active as t (use remapctl repair t)" -- repair --spare $SPARE
}

@test "start: a spare that something else was put on needs force" {
	prepare
	mkfs.ext4 -q -F -L new $SPARE
	refused_unchanged 1 "$SPARE: is a spare, but now carries an ext4 file system, label new" \
		"--force" -- start t --spare $SPARE
	refused_unchanged 1 "label new and the metadata of a dm-remap spare" -- \
		format --data $DATA --spare $SPARE
	remapctl start t --spare $SPARE --force
	remapctl verify t
}

@test "start: a spare given another use needs force, however little of it that wrote" {
	prepare
	mkswap -q -L swappy $SPARE 2>/dev/null || mkswap -L swappy $SPARE
	# the superblock that counts is the second copy: to verify, all is as it should be
	remapctl verify --spare $SPARE
	refused_unchanged 1 "$SPARE: is a spare, but now carries a swap signature, label swappy" \
		"at byte 4086 (--force wipes its signature, remapctl format" -- \
		start t --spare $SPARE
	remapctl start t --spare $SPARE --force
	remapctl stop t
	remapctl start t --spare $SPARE
	remapctl stop t

	echo ',,' | sfdisk -q --label dos --wipe never $SPARE
	settle
	remapctl verify --spare $SPARE
	refused 1 "carries a partition table (dos) at byte 510" -- start t --spare $SPARE
	remapctl start t --spare $SPARE --force
	remapctl stop t
	blockdev --rereadpt $SPARE
	remapctl start t --spare $SPARE
}

@test "start: what looks like a file system in a slot in use is the user's own" {
	prepare
	# a reiserfs superblock, at 64 KiB, where libblkid looks for it and the first slot is
	truncate -s 4096 /tmp/reiser
	printf '\1' | dd of=/tmp/reiser bs=1 seek=13 conv=notrunc status=none
	printf '\20' | dd of=/tmp/reiser bs=1 seek=45 conv=notrunc status=none
	printf 'ReIsEr2Fs' | dd of=/tmp/reiser bs=1 seek=52 conv=notrunc status=none
	remapctl start t --spare $SPARE
	dd if=/tmp/reiser of=/dev/mapper/t bs=4096 seek=100 oflag=direct status=none
	remapctl remap t 800
	remapctl stop t
	json '.entries | length == 1 and .[0].slot_sector == 128' dump --spare $SPARE
	[[ $(blkid -p -o value -s TYPE $SPARE) == reiserfs ]]
	remapctl start t --spare $SPARE
	remapctl unmap t 800
	remapctl stop t
	# in a free slot it is not to be told whose it is
	refused_unchanged 1 "carries a reiserfs file system at byte 65588" -- start t --spare $SPARE
	remapctl start t --spare $SPARE --force
}

@test "start: bad sectors of the spare are no sign of another use" {
	prepare
	blockdev --flushbufs $SPARE
	echo "+0-31" >"$NULLB/spare/badblocks"
	run --separate-stderr remapctl start t --spare $SPARE
	echo "-0-31" >"$NULLB/spare/badblocks"
	[[ $status == 0 && $stderr == "remapctl: warning: $SPARE: cannot be read to look for"* ]]
}

@test "start: a data device that is mounted is refused" {
	prepare
	mount $DATA $MNT
	refused 1 "$DATA: mounted on $MNT" -- start t --spare $SPARE --data $DATA
	umount $MNT
}

@test "start: a data device of another size is refused even with force" {
	prepare
	make_null_blk short 3
	refused 1 "/dev/short: has 6144 sectors" "for a disk with 8192" -- \
		start t --spare $SPARE --data /dev/short --force
	remove_null_blk short
}

@test "start: another file system needs force, which records the new one" {
	prepare
	mkfs.ext4 -q -F $DATA
	refused_unchanged 1 "may not be the disk" "--force takes it" -- \
		start t --spare $SPARE --data $DATA
	refused_unchanged 1 "data device: none with 8192 sectors" "--data" -- start t --spare $SPARE
	remapctl start t --spare $SPARE --data $DATA --force
	remapctl stop t
	remapctl start t --spare $SPARE
}

@test "start: where nothing was recorded, what is known now is" {
	wipefs -q -a -f $DATA
	run --separate-stderr -0 remapctl format --data $DATA --spare $SPARE --force
	[[ $stderr == *"warning: $DATA has neither WWN, serial number nor UUID"* ]]
	refused_unchanged 1 "nothing was recorded" "--data" -- start t --spare $SPARE
	mkfs.ext4 -q -F $DATA
	remapctl start t --spare $SPARE --data $DATA
	remapctl stop t
	json '.generation == 2 and (.data_fsuuid | length == 36)' dump --spare $SPARE
	remapctl start t --spare $SPARE
}

@test "start: two devices that fit are ambiguous" {
	prepare
	dd if=$DATA of=$OTHER bs=1M oflag=direct status=none
	refused_unchanged 1 "/dev/" "both have file system UUID" "--data" -- start t --spare $SPARE
	remapctl start t --spare $SPARE --data $DATA
	wipefs -q -a -f $OTHER
}

@test "start: WWN and serial number find the disk, and no other is taken in its place" {
	local disks
	mapfile -t disks < <(make_scsi_debug 4 num_tgts=2)
	remapctl format --data "${disks[0]}" --spare $SPARE --force
	json '(.data_wwn | startswith("naa.")) and (.data_serial | length > 0)' dump --spare $SPARE
	refused 1 "${disks[1]}: is not the disk" "WWN differs" -- \
		start t --spare $SPARE --data "${disks[1]}" --force
	json ".data_device == \"${disks[0]}\"" start t --spare $SPARE
	remapctl stop t
	# a new file system does not make it another disk
	mkfs.ext4 -q -F "${disks[0]}"
	remapctl start t --spare $SPARE --data "${disks[0]}"
	remapctl stop t
	settle
	wait_for 10 modprobe -r scsi_debug
	refused 1 "data device: none with 8192 sectors and WWN naa." -- start t --spare $SPARE
}

# The disks of scsi_debug have different names, but the same contents: one disk, moved.
@test "start: --new-identity takes a disk that was moved to another adapter, and records it" {
	local disks wwn
	mapfile -t disks < <(make_scsi_debug 4 num_tgts=2)
	mkfs.ext4 -q -F "${disks[0]}"
	remapctl format --data "${disks[0]}" --spare $SPARE --force
	wwn=$(remapctl dump --spare $SPARE --json | jq -r .data_wwn)
	refused 2 "--data is missing" -- start t --spare $SPARE --new-identity
	refused_unchanged 1 "${disks[1]}: is not the disk" "WWN differs" "--new-identity" -- \
		start t --spare $SPARE --data "${disks[1]}"
	make_null_blk short 3
	refused_unchanged 1 "/dev/short: has 6144 sectors" -- start t --spare $SPARE \
		--data /dev/short --new-identity --force
	remove_null_blk short
	remapctl start t --spare $SPARE --data "${disks[1]}" --new-identity
	remapctl stop t
	json ".generation == 2 and .data_wwn != \"$wwn\"" dump --spare $SPARE
	remapctl verify --spare $SPARE
	json ".data_device == \"${disks[1]}\"" start t --spare $SPARE
	remapctl stop t

	# nothing of what was recorded is left
	wipefs -q -a -f "${disks[0]}"
	refused_unchanged 1 "${disks[0]}: nothing says that it is the disk" "--force" -- \
		start t --spare $SPARE --data "${disks[0]}" --new-identity
	remapctl start t --spare $SPARE --data "${disks[0]}" --new-identity --force
	remapctl stop t
	json ".generation == 3 and .data_wwn == \"$wwn\"" dump --spare $SPARE
	# where nothing is new, nothing is written
	remapctl start t --spare $SPARE --data "${disks[0]}" --new-identity
	remapctl stop t
	json ".generation == 3" dump --spare $SPARE
	settle
	wait_for 10 modprobe -r scsi_debug
}

@test "start: a spare that has grown starts, one that has shrunk is refused" {
	local loop
	truncate -s 4M /tmp/spare
	loop=$(make_loop /tmp/spare)
	mkfs.ext4 -q -F $DATA
	remapctl format --data $DATA --spare "$loop"
	truncate -s 5M /tmp/spare
	losetup -c "$loop"
	remapctl start t --spare "$loop"
	[[ $(dmsetup table t) == *"spare_size 8192"* ]]
	remapctl verify t
	remapctl stop t
	dd if=/dev/zero of="$loop" bs=64K count=1 oflag=direct status=none
	refused 1 "--search" -- dump --spare "$loop"
	json '.spare_sectors == 8192' dump --spare "$loop" --search
	remapctl repair --spare "$loop" --search
	remapctl verify --spare "$loop"
	truncate -s 3M /tmp/spare
	losetup -c "$loop"
	refused 1 "restore its size" -- start t --spare "$loop"
}

@test "create: formats and starts at once" {
	wipefs -q -a -f $DATA $SPARE
	dd if=/dev/zero of=$SPARE bs=1M count=2 oflag=direct status=none
	run --separate-stderr -0 remapctl create t --data $DATA --spare $SPARE --label both
	[[ $output == /dev/mapper/t ]]
	json '.label == "both"' dump --spare $SPARE
	remapctl stop t
	refused_unchanged 1 "label both (--force" -- create t --data $DATA --spare $SPARE
	json '.name == "t" and .path == "/dev/mapper/t" and .block_size == 1024' \
		create t --data $DATA --spare $SPARE --force --block-size 1K
}

@test "create: says once that spare and data share a disk" {
	local loop
	truncate -s 32M /tmp/disk
	printf '%s\n' 'start=2048,size=32768' 'start=36864,size=16384' |
		sfdisk -q --label gpt /tmp/disk
	loop=$(make_loop /tmp/disk --partscan)
	wait_for 5 test -b "${loop}p2"
	run --separate-stderr -0 remapctl create t --data "${loop}p1" --spare "${loop}p2" --force
	[[ $stderr == *"warning: ${loop}p2 shares a disk with ${loop}p1"* ]]
	[[ $(grep -c shares <<<"$stderr") == 1 ]]
	remapctl stop t
	# start by itself says so, too
	run --separate-stderr -0 remapctl start t --spare "${loop}p2"
	[[ $(grep -c shares <<<"$stderr") == 1 ]]
}

@test "stop: says who has the device open" {
	prepare
	remapctl start t --spare $SPARE
	mount /dev/mapper/t $MNT
	refused 1 "t: mounted on $MNT (unmount it first)" -- stop t
	umount $MNT
	sleep 1000 3</dev/mapper/t &
	local pid=$!
	refused 1 "t: opened by process $pid (sleep)" -- stop t
	kill $pid
	wait $pid || true
	run --separate-stderr -0 remapctl stop /dev/mapper/t
	[[ -z $output && -z $stderr && ! -e /dev/mapper/t ]]
}

# ---- what works on an active device ----

@test "no device, or one of another kind: each command says so" {
	dmsetup create linear --table "0 2048 linear $OTHER 0"
	for command in stop status list verify repair reset; do
		refused 1 "nosuch: no such device (remapctl status" -- $command nosuch
		refused 1 "linear: not a remap device" -- $command linear
		refused 1 "a/b: not a device name" -- $command a/b
	done
	for command in remap unmap; do
		refused 1 "nosuch: no such device" -- $command nosuch 0
		refused 1 "linear: not a remap device" -- $command linear 0
	done
	[[ $(dmsetup table linear) == "0 2048 linear "* ]]
}

@test "status: nothing for no device" {
	run --separate-stderr -0 remapctl status
	[[ -z $output && -z $stderr ]]
	run --separate-stderr -0 remapctl status --json
	[[ $(jq -c . <<<"$output") == "[]" ]]
}

@test "status: one odd device does not cost the others" {
	local odd='a b\x20c' all
	prepare
	remapctl start t --spare $SPARE
	# neither escaped nor not, to libdevmapper
	dmsetup create --manglename none --notable "$odd"
	run --separate-stderr remapctl status
	all="$status $stderr"
	run remapctl status --json
	dmsetup remove --manglename none "$odd"
	[[ $all == "0 " && $status == 0 && $output == *'"name": "t"'* ]]

	# what a start that was killed at the wrong time leaves
	dmsetup create --notable --uuid REMAP-01020304-0506-4708-890a-0b0c0d0e0f10 half
	run --separate-stderr -0 remapctl status
	[[ $stderr == "remapctl: warning: half: has no table"*"dmsetup remove half"* ]]
	[[ $(wc -l <<<"$stderr") == 1 && ${#lines[@]} == 2 && ${lines[1]} == "t "* ]]
	refused 1 "half: has no table" -- status half
}

@test "status: --json has what scripts rely on, for all devices or for one" {
	prepare
	remapctl start t --spare $SPARE
	for name in "" t; do
		# shellcheck disable=SC2086 # no argument where empty
		json 'length == 1 and (.[0] |
			.name == "t" and .state == "active" and .block_size == 4096 and
			.slots_total > 0 and .slots_used == 0 and .slots_bad == 0 and
			.lost_sectors == 0 and .replicas_ok == 5 and .replicas_total == 5 and
			.relocations == 0 and .reads_recovered == 0 and .io_errors == 0 and
			.size_sectors == 8192 and (.uuid | length == 36))' status $name
	done
	[[ $(readlink -f $DATA) == $(remapctl status --json | jq -r '.[0].data_device') ]]
	[[ $(readlink -f $SPARE) == $(remapctl status --json | jq -r '.[0].spare_device') ]]
}

@test "status: text has a title and a line for each device, in columns" {
	prepare
	remapctl start t --spare $SPARE
	run -0 remapctl status
	[[ ${#lines[@]} == 2 && ${lines[0]} == NAME*STATE*DATA*SPARE*USED* &&
		${lines[1]} == "t "*active* ]]
	# what is under STATE begins where STATE does
	local before=${lines[0]%%STATE*}
	[[ ${lines[1]:${#before}:6} == active ]]
}

@test "remap, unmap: wrong ranges are refused before anything moves" {
	prepare
	remapctl start t --spare $SPARE
	for range in x -1 1+ +1 1+0 1-2 1++1 1+1+1 0x 1.5 18446744073709551616 '' ' 1'; do
		refused 2 "not SECTOR or SECTOR+COUNT" -- remap t -- 0 "$range"
	done
	refused 2 "not SECTOR or SECTOR+COUNT" -- unmap t 0 x
	for range in 8192 8191+2 0+8193 18446744073709551615 1+18446744073709551615; do
		refused 1 "t: sectors $range are beyond its end (it has 8192" -- remap t 0 $range
	done
	refused 1 "beyond its end" -- unmap t 0 8192
	json '.[0].slots_used == 0 and .[0].relocations == 0' status t
}

@test "remap, list, unmap: move the blocks that are touched, and say so" {
	prepare
	remapctl start t --spare $SPARE
	json '[.ranges[] | [.sector, .count, .moved, .remapped]] ==
		[[100, 1, 1, 1], [7, 2, 2, 2], [96, 8, 0, 1], [8191, 1, 1, 1]]' \
		remap t 100 7+2 96+8 0x1fff
	json 'map(.sector) == [0, 8, 96, 8184] and all(.count == 8 and .lost == []) and
		(map(.slot) | unique | length == 4)' list t
	run -0 remapctl list t
	[[ ${#lines[@]} == 5 && ${lines[0]} == *SECTOR*COUNT*SLOT*LOST* ]]
	json '[.ranges[] | [.moved, .remapped]] == [[2, 0], [0, 0]]' unmap t 8+100 50
	json 'map(.sector) == [0, 8184]' list t
}

@test "dump: shows the entries and where their contents are" {
	prepare --label shown
	remapctl start t --spare $SPARE
	echo hello | dd of=/dev/mapper/t bs=4096 seek=3 conv=sync oflag=direct status=none
	remapctl remap t 24
	remapctl stop t
	json '.label == "shown" and .block_size == 4096 and (.zones | length == 5) and
		.zones[0].sector == 0 and .slots_used == 1 and (.entries | length == 1) and
		(.entries[0] | .state == "mapped" and .sector == 24 and .count == 8)' \
		dump --spare $SPARE
	local at
	at=$(remapctl dump --spare $SPARE --json | jq '.entries[0].slot_sector')
	[[ $(dd if=$SPARE skip="$at" count=1 iflag=direct status=none | head -c 5) == hello ]]
	run -0 remapctl dump --spare $SPARE
	[[ $output == *"Label:"*shown*SLOT-SECTOR*mapped* ]]
}

@test "dump, list: memory does not grow with what is printed" {
	make_null_blk wide 8
	make_null_blk deep 10
	remapctl create t --data /dev/wide --spare /dev/deep --block-size 512 --force -o burst=0
	remapctl remap t 0+12000
	for command in "list t" "dump --spare /dev/deep"; do
		# shellcheck disable=SC2086 # words
		(ulimit -v 20000 && remapctl $command | tail -n 1 >/tmp/last &&
			[[ ${PIPESTATUS[0]} == 0 ]])
		[[ $(</tmp/last) == *11999* ]]
		# shellcheck disable=SC2086
		(ulimit -v 20000 && remapctl $command --json >/tmp/json)
		jq -e '(.entries? // .) | length == 12000 and .[7].sector == 7' /tmp/json
	done
	remapctl stop t
	remove_null_blk wide
	remove_null_blk deep
}

@test "verify, repair: an active device's replicas, by message" {
	prepare
	remapctl start t --spare $SPARE
	json '[.replicas[] | [.index, .state]] ==
		[[0, "ok"], [1, "ok"], [2, "ok"], [3, "ok"], [4, "ok"]]' verify t
	local zone
	zone=$(remapctl dump --spare $SPARE --json | jq '.zones[2].sector')
	dd if=/dev/urandom of=$SPARE seek="$zone" count=128 oflag=direct status=none
	run --separate-stderr -1 remapctl verify t --json
	[[ $stderr == "remapctl: t: 1 of 5 replicas are not ok (remapctl repair"* ]]
	jq -e '[.replicas[].state] == ["ok", "ok", "corrupt", "ok", "ok"]' <<<"$output"
	run -0 remapctl repair t
	run -0 remapctl verify t
	[[ ${#lines[@]} == 6 ]]
}

@test "verify, repair: a spare that is not active, four of five zones gone" {
	prepare --label survivor
	local zone
	for zone in $(remapctl dump --spare $SPARE --json | jq '.zones[0, 1, 2, 4].sector'); do
		dd if=/dev/urandom of=$SPARE seek="$zone" count=128 oflag=direct status=none
	done
	run --separate-stderr -1 remapctl verify --spare $SPARE --json
	[[ $stderr == "remapctl: $SPARE: 4 of 5 replicas are not ok (remapctl repair"* ]]
	jq -e '[.replicas[].state] == ["corrupt", "corrupt", "corrupt", "ok", "corrupt"]' \
		<<<"$output"
	run -0 remapctl repair --spare $SPARE
	run -0 remapctl verify --spare $SPARE
	json '.label == "survivor"' dump --spare $SPARE
}

@test "dump, verify, repair: what is no spare is refused" {
	for command in dump verify repair; do
		refused 1 "/nowhere: No such file" -- $command --spare /nowhere
		refused_unchanged 1 "$OTHER: not a dm-remap spare" -- $command --spare $OTHER
	done
}

@test "scan: finds spares, active or not, and their disks" {
	prepare --label found
	json 'length == 1 and (.[0] | .label == "found" and .active == false and .name == null and
		.slots_used == 0 and .size_sectors == 8192)' scan
	[[ $(readlink -f $DATA) == $(remapctl scan --json | jq -r '.[0].data_device') ]]
	remapctl start t --spare $SPARE
	remapctl remap t 0
	json '.[0] | .active == true and .name == "t" and .slots_used == 1' scan
	remapctl stop t
	wipefs -q -a -f $DATA
	json '.[0].data_device == null' scan
}

@test "reset: answers with the state" {
	prepare
	remapctl start t --spare $SPARE
	run -0 remapctl reset t
	[[ $output == active ]]
	json '.name == "t" and .state == "active"' reset t
}

@test "reset: on an exhausted device says how to get free slots" {
	local loop
	truncate -s 400K /tmp/small
	loop=$(make_loop /tmp/small)
	remapctl create t --data $DATA --spare "$loop" --force
	run -1 remapctl remap t 0+400
	json '.[0].state == "exhausted"' status t
	refused 1 "t: is still exhausted, no slot" "remapctl unmap" "larger spare" -- reset t
	remapctl unmap t 0
	run -0 remapctl reset t
	[[ $output == active ]]
	remapctl stop t
}

@test "output that cannot be written is a failure" {
	for command in "" format start create stop status list remap unmap verify repair dump scan \
		reset; do
		run --separate-stderr -1 bash -c "remapctl $command --help >/dev/full"
		[[ $stderr == "remapctl: cannot write the output" ]]
	done
}

@test "without the module, start names the remedy" {
	prepare
	rmmod dm_remap
	run --separate-stderr remapctl start t --spare $SPARE
	insmod "$DM_REMAP_KO" 2>/dev/null || true
	# where the module is installed, modprobe has found it
	[[ $status == 0 || ($status == 1 && $stderr == *"run modprobe dm-remap"*) ]]
}

# modprobe: what the kernel calls to load a module by itself, as it does when it is asked for one.
@test "without device-mapper in the kernel, there are no devices; start loads all it needs" {
	local modprobe
	prepare
	modprobe=$(</proc/sys/kernel/modprobe)
	rmmod dm_remap dm_mod
	echo /bin/false >/proc/sys/kernel/modprobe
	run --separate-stderr remapctl status
	echo "$status:$output$stderr" >/tmp/all
	run --separate-stderr remapctl status --json
	echo "$status:$output$stderr" >>/tmp/all
	run --separate-stderr remapctl status t
	echo "$status:$output$stderr" >>/tmp/all
	mkdir -p /tmp/bin
	printf '#!/bin/sh\n%s dm-mod && insmod %s\n' "$modprobe" "$DM_REMAP_KO" >/tmp/bin/modprobe
	chmod +x /tmp/bin/modprobe
	PATH=/tmp/bin:$PATH run --separate-stderr remapctl start t --spare $SPARE
	echo "$modprobe" >/proc/sys/kernel/modprobe
	[[ $(</tmp/all) == $'0:\n0:[\n]\n1:remapctl: t: no such device '* ]]
	[[ $status == 0 && $output == /dev/mapper/t ]]
}

@test "without permission, the remedy is to be root" {
	run --separate-stderr -1 setpriv --reuid=65534 --clear-groups remapctl scan
	[[ -z $output && $stderr == *"run as root"* ]]
	run --separate-stderr -1 setpriv --reuid=65534 --clear-groups remapctl status
	[[ $stderr == *"run as root"* ]]
	run --separate-stderr -1 setpriv --reuid=65534 --clear-groups remapctl dump --spare $SPARE
	[[ $stderr == *"$SPARE: Permission denied (run as root)"* ]]
}
