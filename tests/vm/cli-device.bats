#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# remapctl on devices that are active, or not: status, list, remap, dump, verify, scan, reset;
# --json keeps its contract, errors are one line.

bats_require_minimum_version 1.5.0
# shellcheck disable=SC2034 # cli.bash has them all
readonly DATA=/dev/data SPARE=/dev/spare OTHER=/dev/other MNT=/tmp/mnt
load cli

@test "no device, or one of another kind: each command says so" {
	dmsetup create linear --table "0 2048 linear $OTHER 0"
	for command in stop status list export verify repair reset; do
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

@test "dump, export, verify, repair: what is no spare is refused" {
	for command in dump export verify repair; do
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

@test "scan: of a spare that is damaged, what is not known is null" {
	local at
	prepare
	for at in $(remapctl dump --spare $SPARE --json | jq '.supers[].sector'); do
		printf x | dd of=$SPARE bs=1 seek=$((at * 512 + 3000)) conv=notrunc status=none
	done
	blockdev --flushbufs $SPARE
	run --separate-stderr -1 remapctl scan --json
	jq -e "map(select(.device == \"$SPARE\")) | length == 1 and (.[0] |
		has(\"uuid\") and has(\"label\") and has(\"size_sectors\") and
		has(\"slots_total\") and has(\"slots_used\") and has(\"active\") and
		has(\"name\") and has(\"data_device\") and
		.uuid == null and .slots_total == null and .slots_used == null and
		(.problem | test(\"none is valid\")))" <<<"$output"
	remapctl format --data $DATA --spare $SPARE --force
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
	new_file /tmp/small 400K
	loop=$(make_loop /tmp/small)
	remapctl create t --data $DATA --spare "$loop" --force
	run -1 remapctl remap t 0+400
	json '.[0].state == "exhausted"' status t
	refused 1 "t: is still exhausted, no slot" "remapctl unmap" "remapctl grow" -- reset t
	remapctl unmap t 0
	run -0 remapctl reset t
	[[ $output == active ]]
	remapctl stop t
}

@test "output that cannot be written is a failure" {
	for command in "" format start create stop status list remap unmap import export verify \
		repair dump scan reset; do
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

# With all that uses it: suites before this one have loaded what they needed.
unload() { # MODULE
	local holder
	for holder in "/sys/module/$1/holders"/*; do
		[[ ! -e $holder ]] || unload "${holder##*/}"
	done
	[[ ! -e /sys/module/$1 ]] || rmmod "$1"
}

# modprobe: what the kernel calls to load a module by itself, as it does when it is asked for one.
@test "without device-mapper in the kernel, there are no devices; start loads all it needs" {
	local modprobe
	prepare
	modprobe=$(</proc/sys/kernel/modprobe)
	unload dm_mod
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
