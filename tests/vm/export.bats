#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The table as text, away from the spare and back: with it even five destroyed copies of the
# metadata cost nothing (promise 3 says four). And verify, block by block. The spare: null_blk, its
# metadata overwritten while the target is stopped or behind its back.

bats_require_minimum_version 1.5.0
load remap

setup_file() {
	load_module
	make_null_blk data 16
	make_null_blk spare 16
	make_null_blk other 20
	remapctl create t --data "$DATA" --spare "$SPARE" --label 'a %b'
	pattern write "$T" 0 32768 1 2048
	bad data 4000 4007
	bad data 20000 20003
	pattern write "$T" 4000 8 2
	pattern write "$T" 20000 1 2		# leaves 20001 to 20003 lost
	remapctl remap t 24000+4096
	remapctl export t >/tmp/table
	remapctl stop t
	dd if="$SPARE" of=/tmp/whole bs=1M iflag=direct status=none
}

teardown_file() {
	remove_devices
}

check_all() {
	pattern verify "$T" 0 4000 1
	pattern verify "$T" 4000 8 2
	pattern verify "$T" 4008 15992 1
	pattern verify "$T" 20000 1 2
	pattern lost "$T" 20001 3
	pattern verify "$T" 20004 12764 1
	expect slots_used 514
	expect lost_sectors 3
}

# Whatever the test before has left. Nothing of the data device changes in any of them.
setup() {
	[[ ! -b $T ]] || remapctl stop t
	dd if=/tmp/whole of="$SPARE" bs=1M oflag=direct status=none
	remapctl start t --data "$DATA" --spare "$SPARE"
}

destroy_all() { # DEVICE
	local at z

	mapfile -t at < <(zones)
	for z in 0 1 2 3 4; do
		dd if=/dev/urandom of="$1" bs=64K oflag=seek_bytes,direct conv=notrunc status=none \
			iflag=fullblock seek="${at[z]}" count=$((at[5] / 65536))
	done
}

writes() {
	blockdev --flushbufs "$SPARE" "$DATA"
	awk '{ print $5, $12 }' "$(stat_of spare)" "$(stat_of data)"
}

# import OPTION... fails, in one line that has TEXT in it, and writes nothing
refused() { # STATUS TEXT OPTION...
	local status_wanted=$1 text=$2 before
	shift 2
	before=$(writes)
	[[ $(wc -w <<<"$before") == 4 ]] || { echo "cannot count writes"; return 1; }
	run --separate-stderr "-$status_wanted" remapctl import "$@"
	if [[ $stderr != "remapctl: "*"$text"* || $stderr == *$'\n'* || -n $output ]]; then
		echo "stdout: $output" && echo "stderr: $stderr" && return 1
	fi
	[[ $(writes) == "$before" ]] || { echo "something was written"; return 1; }
}

@test "export: the same of a device that is active, of its spare and of one that is not" {
	remapctl export --spare "$SPARE" >/tmp/active
	diff /tmp/table /tmp/active
	remapctl stop t
	remapctl export --spare "$SPARE" >/tmp/stopped
	diff /tmp/table /tmp/stopped
	diff /tmp/table <(remapctl export --spare "$SPARE" --search)
	diff /tmp/table <(remapctl export --spare "$SPARE" --json | jq -j .table)
	# what dump and a reader that knows nothing but docs/format.md see as well
	dd if="$SPARE" of=/tmp/image bs=1M iflag=direct status=none
	diff <(python3 "$BATS_TEST_DIRNAME/reader.py" /tmp/image |
		jq -r '.entries[] | "\(.slot) \(.sector) \(.seq) \(.slot_sector)"') \
		<(awk '$2 == "mapped" { print $1, $3, $5, $6 }' /tmp/table)
	grep -qx 'label=a%20%25b' /tmp/table
	grep -qx 'entries=514' /tmp/table
}

@test "export: of a spare of which little is left, and what is missing is said" {
	local at z i

	remapctl stop t
	mapfile -t at < <(zones)
	# block i (the superblock, then the tables; both copies of each) survives in zone i % 5 only
	for z in 0 1 2 3 4; do
		for i in 0 1 2 3; do
			((i % 5 == z)) || dd if=/dev/zero of="$SPARE" bs=8K count=1 conv=notrunc \
				oflag=seek_bytes,direct seek=$((at[z] + i * 8192)) status=none
		done
	done
	remapctl export --spare "$SPARE" >/tmp/damaged
	diff /tmp/table /tmp/damaged
	# of slots 254 to 507 nothing is known any more
	dd if=/dev/zero of="$SPARE" bs=8K count=1 conv=notrunc oflag=seek_bytes,direct \
		seek=$((at[2] + 16384)) status=none
	run -1 --separate-stderr remapctl export --spare "$SPARE"
	[[ $stderr == *"1 table blocks have no valid copy left"* ]]
	echo "$output" >/tmp/half
	grep -qx lost_tables=1 /tmp/half
	grep -qx entries=260 /tmp/half
	refused 1 "/tmp/half: 1 table blocks had no valid copy" --spare "$SPARE" --table /tmp/half
	# the table from before brings it back: what is known still is the same
	remapctl import --spare "$SPARE" --table /tmp/table
	remapctl start t --data "$DATA" --spare "$SPARE"
	check_all
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

@test "import: all five copies destroyed, and nothing is lost" {
	local before

	remapctl stop t
	destroy_all "$SPARE"
	run -1 remapctl start t --data "$DATA" --spare "$SPARE"
	before=$(writes)
	remapctl import --spare "$SPARE" --table /tmp/table --dry-run --json >/tmp/plan
	jq -e '.restored == false and .slots_used == 514 and .lost_sectors == 3' /tmp/plan
	[[ $(writes) == "$before" ]]

	remapctl import --spare "$SPARE" --table - --json </tmp/table >/tmp/done
	jq -e '.restored == true and .slots_used == 514 and .label == "a %b"' /tmp/done
	[[ $(replicas --spare "$SPARE") == "ok ok ok ok ok" ]]
	diff <(grep -v -e generation -e crc32c /tmp/table) \
		<(remapctl export --spare "$SPARE" | grep -v -e generation -e crc32c)
	remapctl start t --spare "$SPARE" --data "$DATA"
	check_all
	# it goes on as a spare should
	remapctl remap t 30000+800
	expect slots_used 614
	restart
	expect slots_used 614
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

@test "import: onto a copy on a larger device" {
	remapctl stop t
	dd if="$SPARE" of=/dev/other bs=1M oflag=direct status=none
	destroy_all /dev/other
	run -0 --separate-stderr remapctl import --spare /dev/other --table /tmp/table
	[[ $stderr == "remapctl: warning: /dev/other: has 40960 sectors, of which 32768"* ]]
	[[ $stderr == *--search* ]]
	remapctl start t --data "$DATA" --spare /dev/other
	check_all
}

@test "import: no spare of another, no signature, nothing newer is written over without force" {
	local -a to=(--spare "$SPARE" --table /tmp/table)

	refused 1 "$SPARE: active as t" "${to[@]}" --force
	refused 1 "$DATA: in use" --spare "$DATA" --table /tmp/table --force
	remapctl remap t 30000+16		# newer than the text
	remapctl stop t
	refused 1 "says something else of 2 slots, and is newer" "${to[@]}"
	remapctl export --spare "$SPARE" >/tmp/newer
	remapctl import "${to[@]}" --force
	remapctl import "${to[@]}"		# the same once more costs nothing
	# what is older has older contents in its slots
	refused 1 "says something else of 2 slots, and is older" --spare "$SPARE" --table /tmp/newer
	remapctl start t --data "$DATA" --spare "$SPARE"
	check_all
	remapctl stop t

	remapctl format --data "$DATA" --spare "$SPARE" --force
	refused 1 "$SPARE: is another dm-remap spare, uuid " "${to[@]}"
	destroy_all "$SPARE"
	mkswap -q "$SPARE" 2>/dev/null || mkswap "$SPARE"
	refused 1 "$SPARE: carries a swap signature (--force" "${to[@]}"
	remapctl import "${to[@]}" --force
	[[ -z $(blkid -p -o value -s TYPE "$SPARE") ]]
	remapctl start t --data "$DATA" --spare "$SPARE"
	check_all
}

@test "import: what is cut off, of another size or not to be used is refused, force or not" {
	local -a to=(--spare "$SPARE" --force --table)

	remapctl stop t
	head -n 300 /tmp/table >/tmp/cut
	refused 1 "/tmp/cut: ends without a checksum" "${to[@]}" /tmp/cut
	head -c -1 /tmp/table >/tmp/cut
	refused 1 "/tmp/cut, line $(wc -l </tmp/table): ends in the middle" "${to[@]}" /tmp/cut
	sed '300d' /tmp/table >/tmp/cut
	refused 1 "513 entries before it, not 514" "${to[@]}" /tmp/cut
	sed 's/^label=.*/label=c/' /tmp/table >/tmp/cut
	refused 1 "wrong checksum" "${to[@]}" /tmp/cut
	refused 1 "/tmp/none: No such file" "${to[@]}" /tmp/none
	refused 1 "/tmp: Is a directory" "${to[@]}" /tmp
	make_null_blk small 12
	refused 1 "/dev/small: too small for this table: has 24576 sectors, the spare had 32768" \
		--spare /dev/small --table /tmp/table --force
	make_null_blk coarse 16 blocksize=4096
	refused 1 "/dev/coarse: has logical sectors of 4096 bytes" --spare /dev/coarse \
		--table /tmp/table --force
	remove_null_blk small
	remove_null_blk coarse
	blockdev --setro "$SPARE"
	refused 1 "$SPARE: read-only" "${to[@]}" /tmp/table
	blockdev --setrw "$SPARE"
	dmsetup create holder --table "0 2048 linear $SPARE 0"
	refused 1 "$SPARE: in use by device-mapper device holder" "${to[@]}" /tmp/table
	dmsetup remove --retry holder
}

# edited KEY=VALUE...: the table with these, and a checksum that is right
edited() {
	python3 - "$@" <<-'PY'
		import re, sys
		text = open("/tmp/table").read().rsplit("crc32c=", 1)[0]
		for key, value in (arg.split("=") for arg in sys.argv[1:]):
		    text, n = re.subn(f"(?m)^{key}=.*$", f"{key}={value}", text)
		    assert n == 1
		crc = 0xffffffff
		for byte in text.encode():
		    crc ^= byte
		    for _ in range(8):
		        crc = crc >> 1 ^ 0x82f63b78 * (crc & 1)
		print(f"{text}crc32c={crc ^ 0xffffffff:#010x}")
	PY
}

@test "import: a text that cannot be restored costs nothing, force or not, and a dry run says so" {
	local -a on=(--spare "$SPARE" --force --table /tmp/edited)
	local highest=$((0x7ffeffffffffffff))	# that is read: nothing can be written above it

	remapctl stop t
	edited label=b >/tmp/edited		# that it is not refused for its checksum
	remapctl import "${on[@]}" --dry-run
	destroy_all "$SPARE"
	mkswap -q "$SPARE" 2>/dev/null || mkswap "$SPARE"
	edited ro_compat=1 >/tmp/edited
	refused 1 "/tmp/edited: $SPARE: uses features that forbid" "${on[@]}" --dry-run
	refused 1 "/tmp/edited: $SPARE: uses features that forbid" "${on[@]}"
	edited generation=$highest >/tmp/edited
	refused 1 "/tmp/edited: superblock: " "${on[@]}" --dry-run
	refused 1 "/tmp/edited: superblock: " "${on[@]}"
	edited table_generation=$highest >/tmp/edited
	refused 1 "/tmp/edited: table block 0: " "${on[@]}" --dry-run
	refused 1 "/tmp/edited: table block 0: " "${on[@]}"
	[[ $(blkid -p -o value -s TYPE "$SPARE") == swap ]]
}

@test "import: the data device is not taken for its spare" {
	remapctl stop t
	dd if=/dev/zero of=/dev/other bs=1M count=20 oflag=direct status=none
	mkfs.ext4 -q -F /dev/other
	remapctl format --data /dev/other --spare "$SPARE" --force
	remapctl export --spare "$SPARE" >/tmp/other
	refused 1 "/dev/other: is the data device of this spare" --spare /dev/other \
		--table /tmp/other --force
	[[ $(blkid -p -o value -s TYPE /dev/other) == ext4 ]]
}

# The states of one metadata block in its replicas, and how many are not ok in all: ONLINE OFFLINE
states() { # BLOCK
	local where

	for where in "t" "--spare $SPARE"; do
		# shellcheck disable=SC2086 # words
		remapctl verify $where --blocks --json 2>/dev/null | jq -r --argjson block "$1" \
			'(.blocks[] | select(.block == $block) | .states | join(" ")),
			(.blocks | map(select(.states | unique != ["ok"])) | length)'
	done | paste -sd ,
}

@test "verify --blocks: which block of which replica is not ok, online and offline" {
	local at

	remapctl verify t --blocks --json >/tmp/json
	jq -e '.blocks | length >= 4 and .[0].block == "super" and .[2].block == 1 and
		all(.states == ["ok", "ok", "ok", "ok", "ok"]) and all(.sectors | length == 5) and
		all(.generation > 0)' /tmp/json
	diff <(jq -S . /tmp/json) <(remapctl verify --spare "$SPARE" --blocks --json |
		jq -S 'del(.lost_tables, .replicas[].bad_blocks)')
	run -0 remapctl verify t --blocks
	[[ $output == *"metadata blocks, 0 of them not ok in all replicas" ]]

	# table block 1 in replica 3: nothing of it
	at=$(jq '.blocks[2].sectors[3]' /tmp/json)
	dd if=/dev/zero of="$SPARE" bs=8K count=1 oflag=direct,seek_bytes conv=notrunc status=none \
		seek=$(((at & ~15) * 512))
	[[ $(states 1) == "ok ok ok corrupt ok,1,ok ok ok corrupt ok,1" ]]
	run -1 --separate-stderr remapctl verify t --blocks
	[[ ${lines[-1]} =~ ^" "+1" "+[0-9]+" "+ok,ok,ok,corrupt,ok" "+([0-9]+,){3}$at, ]]
	[[ ${lines[1]} == *" 0  ok" && ${lines[4]} == *" 3  corrupt" ]]
	[[ $stderr == "remapctl: t: 1 of 5 replicas are not ok"* ]]
	# the superblock in replica 1: sectors that cannot be read
	at=$(jq '.blocks[0].sectors[1]' /tmp/json)
	bad spare "$at" $((at + 7))
	[[ $(states '"super"') == "ok unreadable ok ok ok,2,ok unreadable ok ok ok,2" ]]
	good spare "$at" $((at + 7))
	remapctl repair t
	# table block 2 in replica 4: an older one
	at=$(jq '.blocks[3].sectors[4]' /tmp/json)
	dd if="$SPARE" of=/tmp/old bs=8K count=1 iflag=direct,skip_bytes status=none \
		skip=$(((at & ~15) * 512))
	remapctl remap t 30000+8
	dd if=/tmp/old of="$SPARE" bs=8K count=1 oflag=direct,seek_bytes conv=notrunc status=none \
		seek=$(((at & ~15) * 512))
	[[ $(states 2) == "ok ok ok ok stale,1,ok ok ok ok stale,1" ]]
	remapctl repair t
	[[ $(states 2) == "ok ok ok ok ok,0,ok ok ok ok ok,0" ]]
	run -2 remapctl dump --spare "$SPARE" --blocks
}

@test "dump: each copy of each block of metadata is where it says, and of that generation" {
	dd if="$SPARE" of=/tmp/image bs=1M iflag=direct status=none
	remapctl dump --spare "$SPARE" --json >/tmp/json
	python3 - /tmp/image /tmp/json <<-'PY'
		import json, sys
		image, dump = open(sys.argv[1], "rb").read(), json.load(open(sys.argv[2]))
		valid = 0
		for block in dump["table_blocks"]:
		    for places, generations in zip(block["sectors"], block["generations"]):
		        for sector, generation in zip(places, generations):
		            at = image[512 * sector:]
		            if generation:
		                assert at[:4] == b"RMBT"
		                assert int.from_bytes(at[8:12], "little") == block["index"]
		                assert int.from_bytes(at[16:24], "little") == generation
		                valid += 1
		assert valid >= 5 * dump["tables_used"] == 5 * len(dump["table_blocks"])
		assert len(dump["supers"]) == 10
		for s in dump["supers"]:
		    if s["check"] == "valid":
		        at = image[512 * s["sector"]:]
		        assert int.from_bytes(at[24:32], "little") == s["generation"]
		        assert s["label"] == "a %b" and s["tables_used"] <= dump["tables_used"]
		assert sum(s.get("generation") == dump["generation"] for s in dump["supers"]) == 5
	PY
}
