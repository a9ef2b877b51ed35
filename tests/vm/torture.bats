#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Random I/O, while everything happens that may happen to a disk, a spare and a target. The program
# torture knows of each sector what a read may return; see there. Each case is a profile of faults
# and a seed. In the end the target is stopped, four of the five copies of the metadata are
# destroyed, and every sector must be as it was.
#
# By hand, for as long as one likes: make torture SECONDS=3600 [SEED=n] [PROFILE=p] [KERNELS=6.12].
# What is said after a failure makes the same operations and faults again, if not at the same times.

# bats file_tags=two-cpus
bats_require_minimum_version 1.5.0
load remap

setup() {
	load_module
	make_null_blk data 64 discard=1
	make_null_blk spare 32
}

# What is worth keeping is said at once: only a test that fails shows it.
teardown() {
	start_udev
	if [[ -e $BATS_TEST_TMPDIR/log ]]; then
		dmsetup status t || true
		tail -n 25 "$BATS_TEST_TMPDIR/log"
		cp "$BATS_TEST_TMPDIR/log" "/run/vm/results/torture-$BATS_TEST_NUMBER.log"
	fi
	remove_devices
}

# run_torture PROFILE SEED [OPTION]...
run_torture() {
	local profile=$1 seed=$2 disk=$DATA other=$SPARE keep z at sectors disks=()

	shift 2
	case "$profile $*" in
	*" --zeroes "*) mapfile -t disks < <(make_nvme "$DATA" "$SPARE") ;;
	"transient "* | "lifecycle "* | "all "*) disks=("$DATA" "$SPARE") ;;
	esac
	if ((${#disks[@]})); then
		disk=/dev/mapper/under other=/dev/mapper/sunder
		dmsetup create under --table "0 $(blockdev --getsz "$DATA") linear ${disks[0]} 0"
		dmsetup create sunder --table "0 $(blockdev --getsz "$SPARE") linear ${disks[1]} 0"
	fi
	remapctl create t --data "$disk" --spare "$other"
	mapfile -t at < <(zones "$other")
	sectors=$(printf '%s\n' "${at[@]}" | awk '{ print $1 / 512 }' | paste -sd ,)
	# each table that is replaced would have udev look at all disks again
	settle
	stop_udev
	torture --seed "$seed" --profile "$profile" --log "$BATS_TEST_TMPDIR/log" \
		--save "$BATS_TEST_TMPDIR/state" --zones "$sectors" "$@" ||
		{ echo "again: make torture PROFILE=$profile SEED=$seed OPS=..."; return 1; }
	start_udev

	# of the zones that were hit, one may be kept: the faults are over, and it must be mended
	remapctl repair t
	[[ $(replicas t) == "ok ok ok ok ok" ]]
	remapctl stop t
	keep=$((seed % 5))
	for z in 0 1 2 3 4; do
		((z == keep)) || dd if=/dev/urandom of="$SPARE" bs=64K oflag=seek_bytes,direct \
			iflag=fullblock conv=notrunc seek="${at[z]}" count=$((at[5] / 65536)) \
			status=none
	done
	remapctl start t --data "$disk" --spare "$other"
	torture --profile "$profile" --check "$BATS_TEST_TMPDIR/state"
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

# Unless told what to do by hand.
case_of_suite() { # PROFILE SEED OPS [OPTION]...
	[[ -z ${TORTURE:-} ]] || skip "by hand"
	run_torture "$1" "$2" "${@:4}" --ops "$3"
}

@test "bad blocks come and go on the data device: no write fails, no sector is lost for another" {
	case_of_suite data-faults 1 2500
}

@test "slots and metadata go bad: only what was in a bad place is lost" {
	case_of_suite spare-faults 2 2500
}

@test "the data device refuses writes for moments, or is slow: nothing is lost" {
	case_of_suite transient 3 1500
}

@test "suspended, replaced, killed in the middle of a commit: what was acknowledged is there" {
	case_of_suite lifecycle 4 2000
}

@test "all of that" {
	case_of_suite all 5 2500
}

# As requests of their own, which null_blk does not know.
@test "bad blocks come and go while every other write is one of zeroes" {
	has_nvme || skip "no nvme-loop, which can be asked for zeroes and refuse"
	case_of_suite data-faults 6 2000 --zeroes
	(($(<"/sys/block/$(node_of mapper/t)/queue/write_zeroes_max_bytes") > 0))
}

@test "by hand" {
	[[ -n ${TORTURE:-} ]] || skip "make torture"
	# shellcheck disable=SC2086 # words
	run_torture $TORTURE
}
