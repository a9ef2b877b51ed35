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
