#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The kernel's types that the BPF programs read: a field that moved is found by the loader, one that
# became something else only here.

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
}

@test "fields that the BPF programs read are in the kernels, with their types" {
	run -0 tools/vmlinux-check
	[[ $output == *" fields are as vmlinux/vmlinux.h has them"* ]]
}

@test "a field of another type, or none, is found" {
	sed 's/u64 start_time_ns;/u32 start_time_ns;/' vmlinux/vmlinux.h >"$BATS_TEST_TMPDIR/type.h"
	run -1 tools/vmlinux-check "$BATS_TEST_TMPDIR/type.h"
	[[ $output == *"struct request: start_time_ns"* ]]
	sed 's/bi_opf;/bi_rw;/' vmlinux/vmlinux.h >"$BATS_TEST_TMPDIR/name.h"
	run -1 tools/vmlinux-check "$BATS_TEST_TMPDIR/name.h"
	[[ $output == *"no member named 'bi_rw' in 'struct bio'"* ]]
}
