#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What remapctl says of a wrong command line, and of files that are none of its own: no device is
# needed for that. What it does with devices is in tests/vm/cli-*.bats.

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	PATH=$PWD/build/bin:$PATH
}

# refused STATUS TEXT ARGUMENT...: one line, with TEXT in it, and nothing else
refused() {
	local status_wanted=$1 text=$2
	shift 2
	run --separate-stderr "-$status_wanted" remapctl "$@"
	[[ -z $output && $stderr == "remapctl: "* && $stderr != *$'\n'* &&
		$stderr == *"$text"* ]] ||
		{ echo "stdout: $output"; echo "stderr: $stderr"; return 1; }
}

@test "the option that is wrong is blamed, wherever it stands" {
	refused 2 ": -x: unknown option (" format -x --data a --spare b
	refused 2 ": -jx: unknown option (" export -jx --spare b
	refused 2 ": --bogus=3: unknown option (" format --dat a --bogus=3 --spare b
	refused 2 ": --bogus: unknown option (" format NAME --bogus --data a --spare b
	refused 2 ": --force=yes: takes no value (" format --force=yes --data a --spare b
	refused 2 ": --s: several options begin like that (" verify --s x --json
	refused 2 ": --spare: its value is missing (" verify t --json --spare
	refused 2 ": --sp: its value is missing (" verify --sp
	refused 2 ": -L: its value is missing (" format -d a -sb -L
	refused 2 ": -jL: its value is missing (" format -d -x -s -y -jL
}

@test "what looks like a wrong option but is a value, or comes behind --, is not blamed" {
	refused 2 ": -x: unknown option (" format --data --bogus -L-L -x --spare b
	refused 2 ": -x: one argument too many (" start t --spare b -- -x
	refused 2 ": --spare is missing (" start --json -- -x
}

@test "all options for the kernel are listed where one is not known" {
	local key
	for key in verify on_read_error burst window force spare_size; do
		refused 2 "$key=" start t --spare b --option nosuch=1
		remapctl start --help | grep -q "$key="
	done
}

@test "the block size of a list may be written with a K, and its rule is said" {
	local size rule="not a multiple of 512 up to 1073741824"
	for size in 0 1000 1 4KB K 1048577K 1073742336 -512; do
		refused 2 "--list-block-size $size: $rule" import nosuch --badblocks x \
			"--list-block-size=$size"
	done
	# gets as far as the device that there is not
	for size in 512 4096 4K 4k 1048576K; do
		refused 1 "" import nosuch --badblocks x --list-block-size $size
	done
}

@test "of what is no spare, commands are named that work: none takes away what may be there" {
	local file=$BATS_TEST_TMPDIR/file
	truncate -s 4M "$file"
	refused 1 "remapctl repair --spare $file --search" dump --spare "$file"
	# what mends comes before what begins anew
	[[ $stderr == *"repair --spare"*"import --table"*"remapctl format"* ]]
}

@test "a table with the line ends of Windows is refused with the remedy" {
	printf '# The table\r\ndm_remap_table=1\r\n' >"$BATS_TEST_TMPDIR/table"
	refused 1 "table, line 1: has line ends of Windows (dos2unix " import --spare /nowhere \
		--table "$BATS_TEST_TMPDIR/table"
}
