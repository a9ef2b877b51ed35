#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# tools/vm cannot take a broken guest for a good one. Runs on the host; each test is one boot.

bats_require_minimum_version 1.5.0

vm() {
	"$BATS_TEST_DIRNAME/../../tools/vm" --cpus 1 --memory 512M "$@"
}

@test "arguments, output and exit status come through unchanged" {
	# shellcheck disable=SC2016 # expanded in the guest
	run --separate-stderr -3 vm -- sh -c 'echo "$1"; echo err >&2; exit 3' sh "it's  \$one"
	[ "$output" = "it's  \$one" ]
	# shellcheck disable=SC2154 # set by run
	[ "$stderr" = err ]
}

@test "a kernel warning fails a command that succeeds" {
	run -123 vm -- sh -c 'echo "<4>WARNING: CPU: 0 PID: 1 at nowhere.c:1" >/dev/kmsg'
	[[ $output == *"kernel of the guest"*"complains"*"at nowhere.c:1"* ]]
}

# Have the guest's kernel log a race as KCSAN tells it, with our worker far above one of the two.
race_in_guest() { # TITLE CALLER
	local file=$BATS_TEST_DIRNAME/../../build/race line

	printf -v line '=%.0s' {1..66}
	printf '%s\n' "$line" "BUG: KCSAN: data-race in $1" "" \
		"read to 0xffff888102c22300 of 8 bytes by task 151 on cpu 1:" " g0+0x42/0xe0" "" \
		"read-write (marked) to 0xffff888102c22300 of 8 bytes by task 163 on cpu 1:" \
		" f"{0..11}"+0x1/0x2" " $2" " ret_from_fork+0x31/0x50" "$line" >"$file"
	# shellcheck disable=SC2016 # expanded in the guest
	vm -- sh -c 'while read -r line; do echo "<4>$line" >/dev/kmsg; done <"$1"' sh "$file"
}

@test "a data race is ours if we are in a stack of it, but for those that are known" {
	local ours="worker+0xf4d/0x1b00 [dm_remap]" known="_find_next_zero_bit / sbitmap_find_bit"

	run -123 race_in_guest "f0 / g0" "$ours"
	[[ $output == *"kernel of the guest"*"complains"*"data-race in f0 / g0"* ]]
	run -0 race_in_guest "f0 / g0" "worker+0xf4d/0x1b00 [xfs]"
	[[ $output == *"not ours: 1 KCSAN: data-race in f0 / g0"* ]]
	run -0 race_in_guest "$known" "$ours"
	[[ $output == *"not ours: 1 KCSAN: data-race in $known"* ]]
	run -123 race_in_guest "$known / remap_map" "$ours"
}

@test "a panic is a failure and shows the console" {
	run -125 vm -- sh -c 'echo c >/proc/sysrq-trigger; sleep 60'
	[[ $output == *died*"sysrq triggered crash"* ]]
}

@test "a command that does not end is a failure and shows the console" {
	run -124 vm --timeout 3 -- sleep 1000
	[[ $output == *"not done after 3 s"*"no end after 3 s"* ]]
}

@test "an unknown kernel is an error" {
	run -125 vm -k 2.4 -- true
	[[ $output == *"no kernel '2.4'"* ]]
}
