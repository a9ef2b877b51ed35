#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# remapctl start, create and stop: devices are found again, and only the right ones; what is refused
# changes nothing.

bats_require_minimum_version 1.5.0
# shellcheck disable=SC2034 # cli.bash has them all
readonly DATA=/dev/data SPARE=/dev/spare OTHER=/dev/other MNT=/tmp/mnt
load cli

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
	refused_unchanged 1 "$OTHER: not a dm-remap spare (remapctl repair --spare $OTHER " \
		"--search" "remapctl import --table" "remapctl format" -- \
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
	# the copy that counts is the first one by now: its zone is left the older one, no other
	# zone has suffered
	run --separate-stderr -1 remapctl verify --spare $SPARE --json
	[[ $(jq -c '[.replicas[].state]' <<<"$output") == '["stale","ok","ok","ok","ok"]' ]]
	refused 1 "carries a partition table (dos) at byte 510" -- start t --spare $SPARE
	remapctl start t --spare $SPARE --force
	remapctl verify t
	remapctl stop t
	blockdev --rereadpt $SPARE
	remapctl start t --spare $SPARE
}

@test "start: what looks like a file system in a slot in use is the user's own" {
	prepare
	# a reiserfs superblock, at 64 KiB, where libblkid looks for it and the first slot is
	new_file /tmp/reiser 4096
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
	# one for what was recorded, one for the table block that came into use
	json '.generation == 3 and (.data_fsuuid | length == 36)' dump --spare $SPARE
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
	json ".generation == 3 and .data_wwn != \"$wwn\"" dump --spare $SPARE
	remapctl verify --spare $SPARE
	json ".data_device == \"${disks[1]}\"" start t --spare $SPARE
	remapctl stop t

	# nothing of what was recorded is left
	wipefs -q -a -f "${disks[0]}"
	refused_unchanged 1 "${disks[0]}: nothing says that it is the disk" "--force" -- \
		start t --spare $SPARE --data "${disks[0]}" --new-identity
	remapctl start t --spare $SPARE --data "${disks[0]}" --new-identity --force
	remapctl stop t
	json ".generation == 4 and .data_wwn == \"$wwn\"" dump --spare $SPARE
	# where nothing is new, nothing is written
	remapctl start t --spare $SPARE --data "${disks[0]}" --new-identity
	remapctl stop t
	json ".generation == 4" dump --spare $SPARE
	settle
	wait_for 10 modprobe -r scsi_debug
}

@test "start: of a disk that is another one, all is shown that it goes by" {
	local long fsuuid=()
	long=$(printf 'x%.0s' {1..110})
	wipefs -q -a -f $DATA $OTHER
	mkfs.ext4 -q -F $DATA
	mkfs.ext4 -q -F $OTHER
	dmsetup create one --uuid "$long-one" --table "0 8192 linear $DATA 0"
	dmsetup create two --uuid "$long-two" --table "0 8192 linear $OTHER 0"
	settle
	remapctl format --data /dev/mapper/one --spare $SPARE --force
	for disk in $DATA $OTHER; do
		fsuuid+=("$(blkid -p -o value -s UUID "$disk")")
	done
	refused 1 "its WWN differs: recorded WWN dm.$long-one, file system UUID ${fsuuid[0]}; " \
		"; found WWN dm.$long-two, file system UUID ${fsuuid[1]} (--new-identity" -- \
		start t --spare $SPARE --data /dev/mapper/two
	refused 1 "recorded WWN dm.$long-one, file system UUID ${fsuuid[0]}; " \
		"; found WWN dm.$long-two, file system UUID ${fsuuid[1]} (--force takes it)" -- \
		start t --spare $SPARE --data /dev/mapper/two --new-identity
}

@test "start: a spare that has grown starts, one that has shrunk is refused" {
	local loop
	new_file /tmp/spare 4M
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
	new_file /tmp/disk 32M
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

# As in an initramfs. There is nobody to wait for then, which libdevmapper never calls ready.
@test "start and stop: without udev they do not wait for it" {
	prepare
	export DM_DISABLE_UDEV=1
	timeout 100 remapctl start t --data $DATA --spare $SPARE
	timeout 100 remapctl stop t
}
