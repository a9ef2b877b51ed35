#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# tests/bench/scaling.bash [SECONDS]: how dm-linear and dm-remap, with nothing remapped, grow from
# one CPU to two. It starts two machines, one after the other; each runs this script as its guest.
#
# In the guest a writer, then a reader, of 4 KiB on each CPU keeps a null_blk without memory busy,
# through dm-linear and dm-remap in turns; of five runs of SECONDS (5) the fastest counts. Seconds
# of an emulator say little by themselves. That a second CPU brings dm-remap as much as dm-linear
# says that there is no memory for which the CPUs fight.

set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd -P)

load() { # DEVICE KIND: I/Os a second, of all CPUs
	fio --name=load --filename="$1" --rw="$2" --bs=4k --direct=1 --ioengine=psync \
		--numjobs="$(nproc)" --cpus_allowed="0-$(($(nproc) - 1))" \
		--cpus_allowed_policy=split --group_reporting --time_based \
		--runtime="$seconds" --randseed=1 --output-format=json |
		jq '.jobs[0] | .read.iops + .write.iops | round'
}

guest() {
	local kind device size

	DM_REMAP_TREE=$here
	# shellcheck source=/dev/null
	. "$here/tests/vm/devices.bash"
	PATH=$here/build/bin:$PATH
	modprobe dm-mod
	insmod "$DM_REMAP_KO"
	make_null_blk data 65536 memory_backed=0 queue_mode=2 irqmode=0 \
		submit_queues="$(nproc)"
	make_null_blk spare 64
	remapctl create remap --data /dev/data --spare /dev/spare >/dev/null 2>&1
	size=$(blockdev --getsz /dev/data)
	dmsetup create linear --table "0 $size linear /dev/data 0"
	for kind in randwrite randread; do
		for _ in 1 2 3 4 5; do
			for device in linear remap; do
				echo "$(nproc) $kind $device $(load /dev/mapper/$device $kind)"
			done
		done
	done
}

seconds=${1:-5}
if [[ -n ${DM_REMAP_KO:-} ]]; then
	guest
	exit
fi
"$here/tools/setup"
release=$("$here/tools/vm" --find-release "${KERNEL:-6.12}") ||
	{ echo "scaling: no kernel ${KERNEL:-6.12} with headers here (make setup)" >&2; exit 1; }
make -s -C "$here" tools module KVER="$release" >&2
for cpus in 1 2; do
	"$here/tools/vm" -k "$release" --cpus "$cpus" -- \
		"$here/tests/bench/scaling.bash" "$seconds"
done | awk '
	{ if ($4 > best[$1, $2, $3]) best[$1, $2, $3] = $4 }
	END {
		printf "%-10s %-9s %9s %9s %7s\n", "", "", "1 CPU", "2 CPUs", "ratio"
		split("randread randwrite", kind)
		split("linear remap", device)
		for (k = 1; k <= 2; k++)
			for (d = 1; d <= 2; d++) {
				one = best[1, kind[k], device[d]]
				two = best[2, kind[k], device[d]]
				if (!one || !two) exit 1
				printf "%-10s %-9s %9d %9d %7.2f\n", kind[k], device[d], one, two,
					two / one
			}
	}'
