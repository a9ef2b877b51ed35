#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Memory runs out, for the target alone: the kernel's fault injection refuses what is asked for
# below one of the module's own functions. The recovery path has set aside what it needs, or waits
# for it: no write is lost or refused for want of memory. Needs a kernel of tools/debug-kernel.

bats_require_minimum_version 1.5.0
load remap

readonly FAULTS=(/sys/kernel/debug/failslab /sys/kernel/debug/fail_page_alloc)

setup() {
	local d

	for d in "${FAULTS[@]}"; do
		[[ -e $d/require-start ]] || skip "this kernel has no ${d##*/} with a stack filter"
	done
	load_module
	make_null_blk data 64
	make_null_blk spare 4
	# null_blk has its pages from the start: it is not the one whose memory is to fail
	dd if=/dev/zero of="$DATA" bs=1M count=64 oflag=direct status=none
	dd if=/dev/zero of="$SPARE" bs=1M count=4 oflag=direct status=none
	# nor are the answers that it could withhold
	for d in /sys/kernel/config/nullb/*/*_inject; do
		[[ -e $d/require-start ]] || continue
		echo 1 >"$d/require-start"
		echo 2 >"$d/require-end"
	done
	remapctl create t --data "$DATA" --spare "$SPARE"
	aim
}

teardown() {
	relent
	dmsetup remove --retry t 2>/dev/null || true
	remove_null_blk data
	remove_null_blk spare
}

# Set FAULTS to one VALUE of an ATTRIBUTE.
faults() { # ATTRIBUTE VALUE
	local d

	for d in "${FAULTS[@]}"; do
		[[ ! -e $d/$1 ]] || echo "$2" >"$d/$1" || return
	done
}

# Only what has a function of the module among its callers, but of all that, whatever it may wait.
aim() {
	local first last

	read -r first last < <(awk '
		$NF == "[dm_remap]" && $2 ~ /[tT]/ { print $1 }' /proc/kallsyms | sort |
		sed -n '1p;$p' | xargs)
	[[ -n $last ]]
	faults probability 0
	faults interval 1
	faults verbose 0
	faults task-filter N
	faults ignore-gfp-wait N
	faults ignore-gfp-highmem N
	faults min-order 0
	faults stacktrace-depth 32
	faults require-start "0x$first"
	faults require-end "0x$last"
}

# From now on each request for memory fails with this chance, in percent.
fail_memory() { # PERCENT
	faults times -1
	faults probability "$1"
}

relent() {
	faults probability 0
	faults times 0
}

# Make the device with the Nth request for memory failing. Return: 0 if the device came to be.
make_with_fault() { # N TABLE
	faults times 1
	TABLE=$2 bash -c 'echo '"$1"' >/proc/self/fail-nth &&
		exec dmsetup create t --table "$TABLE"'
}

# Was there an Nth request?
fault_was_met() {
	[[ $(cat "${FAULTS[@]/%//times}") == *0* ]]
}

@test "a device for which there is no memory is refused and leaves nothing behind" {
	local line n refused=0 made=0 unmet=0
	pattern write "$T" 0 8192 1 2048
	bad data 4000 4000
	pattern write "$T" 4000 8 2
	line=$(dmsetup table t)
	remapctl stop t
	# the first ones one by one, then, where they are many of a kind, some of them
	for ((n = 1; n < 4000; n += 1 + n / 8)); do
		if ! make_with_fault "$n" "$line"; then
			refused=$((refused + 1))
			run ! dmsetup info t
		else
			made=$((made + 1))
			pattern verify "$T" 4000 8 2
			dmsetup remove --retry t
		fi
		# the kernel counts all that can be made to fail, copies to user space among it:
		# that the Nth was none of ours does not mean that there was none
		unmet=$((unmet + 1))
		! fault_was_met || unmet=0
	done
	relent
	echo "refused $refused times, made $made times; the last $unmet met no fault"
	((refused > 10 && made > 0 && unmet > 0))
	remapctl start t --data "$DATA" --spare "$SPARE"
	pattern verify "$T" 0 4000 1
	pattern verify "$T" 4000 8 2
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

# bats test_tags=two-cpus
@test "writes to bad blocks are acknowledged and kept while memory fails" {
	local i
	pattern write "$T" 0 131072 1 2048
	for i in {0..49}; do
		bad data $((4000 + 1000 * i)) $((4000 + 1000 * i + i % 5))
	done
	fail_memory 50
	pattern write "$T" 3000 60000 2 1024
	relent
	expect relocations 50
	expect lost_sectors 0
	expect state active
	pattern verify "$T" 0 3000 1
	pattern verify "$T" 3000 60000 2
	pattern verify "$T" 63000 68072 1
	restart
	pattern verify "$T" 3000 60000 2
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

# bats test_tags=two-cpus
@test "remap and unmap under load lose nothing while memory fails" {
	local fio round
	fio --name=job --minimal --output=/tmp/fio --filename="$T" --size=32M --rw=randwrite \
		--bs=4k --ioengine=libaio --direct=1 --iodepth=8 --io_size=8M --verify=crc32c \
		--do_verify=1 --verify_fatal=1 --randrepeat=1 &
	fio=$!
	fail_memory 50
	for ((round = 0; round < 5; round++)); do
		remapctl remap t $((round * 3000))+2000
		remapctl unmap t $((round * 3000))+1500
	done
	relent
	wait "$fio" || { cat /tmp/fio; false; }
	expect state active
	expect lost_sectors 0
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}
