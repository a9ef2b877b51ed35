#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The hot path writes to no memory that CPUs share, as read off the compiled module: an I/O that is
# not remapped costs the same however many CPUs send some. See stores.py for how it is read.

bats_require_minimum_version 1.5.0

stores() { # SERIES FUNCTION...
	local release

	release=$(tools/vm --find-release "$1")
	make -s --no-print-directory module KVER="$release"
	tests/host/stores.py "build/$release/dm-remap.ko" "${@:2}"
}

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	[[ $(uname -m) == x86_64 ]] || skip "reads x86-64 code, this is $(uname -m)"
}

@test "what every I/O runs through writes to its own memory and its CPU's" {
	local series ran=0

	for series in 6.1 6.12; do
		tools/vm --find-release "$series" || continue
		run -0 stores "$series" remap_map map_blocks map_block map_to_slot remap_end_io \
			end_io_counted:none
		ran=$((ran + 1))
	done
	((ran))
}

@test "and where something shared is written, it is found" {
	local series=6.12

	run -1 stores "$series" end_io_failed
	[[ $output == *"end_io_failed: "*"lock inc"* ]]
	run -1 stores "$series" remap_relocator_take
	run -1 stores "$series" end_io_rare
	[[ $output == *"cmpxchg"* ]]
	run -1 stores "$series" no_such_function
	[[ $output == *"has no function no_such_function" ]]
}
