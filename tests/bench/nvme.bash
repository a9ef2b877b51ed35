#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# tests/bench/nvme.bash DATA SPARE [SECONDS]: the disk itself, dm-linear and dm-remap side by side
# on real hardware, by fio and, where it is there, perf. What is on both devices is lost. As root,
# with the module loaded and build/bin/remapctl built. Each load runs so many seconds (10) on each
# device, in turns; figures are of one run, so repeat them.

set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd -P)
PATH=$here/build/bin:$PATH

die() {
	echo "nvme: $*" >&2
	exit 1
}

(($# == 2 || $# == 3)) || die "wants DATA SPARE [SECONDS]; both lose their contents"
data=$1 spare=$2 seconds=${3:-10}
[[ -b $data && -b $spare ]] || die "$data and $spare must be block devices"
((EUID == 0)) || die "must be root"
for program in fio jq dmsetup remapctl; do
	type -P "$program" >/dev/null || die "$program is missing"
done
grep -q '^dm_remap ' /proc/modules || die "the module is not loaded: modprobe dm-remap"
perf=""
! perf stat -x, -a -e instructions true 2>&1 | grep -q '^[0-9]' || perf=yes

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	dmsetup remove --retry bench-linear 2>/dev/null || true
	remapctl stop bench-remap 2>/dev/null || true
}
trap cleanup EXIT

# Print I/Os a second, mean and 99th percentile latency in us, and for each I/O instructions, cycles
# and cache misses of the whole machine.
load() { # NAME DEVICE KIND SIZE DEPTH
	local run=(fio --name=load --filename="$2" --rw="$3" --bs="$4" --iodepth="$5" --direct=1
		--ioengine=libaio --time_based --runtime="$seconds" --randseed=1
		--output-format=json)
	local out counts=""

	out=$(mktemp)
	if [[ -n $perf ]]; then
		counts=$(perf stat -x, -a -e instructions,cycles,cache-misses -- \
			"${run[@]}" --output="$out" 2>&1 >/dev/null | cut -d, -f1 | paste -sd ' ')
	else
		"${run[@]}" --output="$out"
	fi
	jq -r --arg name "$1" --arg load "$3 $4 x$5" --arg counts "$counts" '
		.jobs[0] | (if .read.total_ios > 0 then .read else .write end) |
		[$name, $load, (.iops | round), (.clat_ns.mean / 1000 | round),
		 ((.clat_ns.percentile["99.000000"] // 0) / 1000 | round)] +
		(.total_ios as $n | $counts | split(" ") | map(tonumber / $n | round)) |
		@tsv' "$out"
	rm -f "$out"
}

# Each on top of the disk itself, one at a time.
each() { # KIND SIZE DEPTH
	load disk "$data" "$@"
	dmsetup create bench-linear --table "0 $sectors linear $data 0"
	load linear /dev/mapper/bench-linear "$@"
	dmsetup remove --retry bench-linear
	remapctl start bench-remap --data "$data" --spare "$spare" >/dev/null
	load remap /dev/mapper/bench-remap "$@"
	remapctl stop bench-remap
}

rounds() {
	each randread 4k 1
	each randwrite 4k 1
	each randread 4k 32
	each randwrite 4k 32
	each read 1M 8
	each write 1M 8
}

sectors=$(blockdev --getsz "$data")
remapctl format --data "$data" --spare "$spare" --force
printf 'device\tload\tIOPS\tmean us\t99%% us%s\n' \
	"${perf:+$'\tinstructions\tcycles\tcache misses'}"
rounds
echo "with 1000 remaps:"
remapctl start bench-remap --data "$data" --spare "$spare" >/dev/null
for ((i = 0; i < 1000; i++)); do
	echo $((sectors * i / 8000))
done | remapctl import bench-remap --badblocks - --list-block-size 4096 >/dev/null
remapctl stop bench-remap
rounds
