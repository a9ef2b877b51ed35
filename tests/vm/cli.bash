# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the cli suites share: three disks, a teardown that leaves nothing active, and words to say
# what remapctl refuses, prints and leaves alone.

load devices

PATH=$DM_REMAP_TREE/build/bin:$PATH

# DATA, SPARE, OTHER: the disks, and MNT, a folder to mount on, are what the suite says.

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

	! mountpoint -q "$MNT" || umount "$MNT"
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
