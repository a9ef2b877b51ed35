#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The five copies of the metadata: any four can be destroyed (promise 3), a start mends them, and
# verify sees what is wrong. The spare: null_blk, its zones overwritten while the target is stopped
# or behind its back.

bats_require_minimum_version 1.5.0
load remap

setup_file() {
	load_module
	make_null_blk data 64
	make_null_blk spare 16
	remapctl create t --data "$DATA" --spare "$SPARE"
	pattern write "$T" 0 131072 1 2048
	bad data 4000 4007
	bad data 70000 70003
	pattern write "$T" 4000 8 2
	pattern write "$T" 70000 1 2		# leaves 70001 to 70003 lost
	remapctl remap t 100000+4096
}

teardown_file() {
	remapctl stop t
	remove_null_blk data
	remove_null_blk spare
}

check_all() {
	pattern verify "$T" 0 4000 1
	pattern verify "$T" 4000 8 2
	pattern verify "$T" 4008 65992 1
	pattern verify "$T" 70000 1 2
	pattern lost "$T" 70001 3
	pattern verify "$T" 70004 61068 1
	expect slots_used 514
	expect lost_sectors 3
}

# Overwrite zone N of the spare with something.
destroy() { # N SOURCE
	local at
	mapfile -t at < <(zones)
	overwrite "${at[$1]}" "${at[5]}" "$2"
}

overwrite() { # OFFSET BYTES SOURCE
	dd if="$3" of="$SPARE" bs=64K oflag=seek_bytes,direct iflag=fullblock conv=notrunc \
		seek="$1" count=$(($2 / 65536)) status=none
}

@test "each single zone is enough; start mends the four others" {
	local keep z at

	mapfile -t at < <(zones)
	for keep in 0 1 2 3 4; do
		remapctl stop t
		for z in 0 1 2 3 4; do
			((z == keep)) || overwrite "${at[z]}" "${at[5]}" /dev/urandom
		done
		remapctl start t --data "$DATA" --spare "$SPARE"
		check_all
		[[ $(replicas t) == "ok ok ok ok ok" ]]
		[[ $(replicas --spare "$SPARE") == "ok ok ok ok ok" ]]
	done
}

@test "no zone is whole, but of each metadata block one copy is left" {
	local at z i tables

	remapctl stop t
	mapfile -t at < <(zones)
	tables=$(remapctl dump --spare "$SPARE" --json | jq .tables_used)
	((tables >= 3))
	# block i (the superblock, then the tables; both copies of each) survives in zone i % 5 only
	for z in 0 1 2 3 4; do
		for ((i = 0; i <= tables; i++)); do
			((i % 5 == z)) || dd if=/dev/zero of="$SPARE" bs=8K count=1 conv=notrunc \
				oflag=seek_bytes,direct seek=$((at[z] + i * 8192)) status=none
		done
	done
	remapctl start t --data "$DATA" --spare "$SPARE"
	check_all
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

@test "verify tells corrupt replicas from good ones, online and offline; repair mends them" {
	destroy 3 /dev/urandom
	run -1 remapctl verify t
	[[ $(replicas t) == "ok ok ok corrupt ok" ]]
	[[ $(replicas --spare "$SPARE") == "ok ok ok corrupt ok" ]]
	expect replicas_ok 4
	remapctl repair t
	[[ $(replicas t) == "ok ok ok ok ok" ]]
	expect replicas_ok 5
}

@test "a stale replica is told, and mended by start" {
	local at

	mapfile -t at < <(zones)
	dd if="$SPARE" of=/tmp/old bs=64K iflag=skip_bytes,direct skip="${at[2]}" \
		count=$((at[5] / 65536)) status=none
	remapctl remap t 90000+8
	dd if=/tmp/old of="$SPARE" bs=64K oflag=seek_bytes,direct conv=notrunc seek="${at[2]}" \
		status=none
	[[ $(replicas t) == "ok ok stale ok ok" ]]
	restart
	[[ $(replicas t) == "ok ok ok ok ok" ]]
	remapctl unmap t 90000+8
	check_all
}

@test "a reader written from docs/format.md alone finds the same as dump" {
	dd if="$SPARE" of=/tmp/image bs=1M iflag=direct status=none
	remapctl dump --spare /tmp/image --json >/tmp/ours
	python3 "$BATS_TEST_DIRNAME/reader.py" /tmp/image >/tmp/theirs
	[ "$(jq '.entries | length' /tmp/theirs)" -ge 514 ]
	diff <(jq -S --argjson keys "$(jq -c keys_unsorted /tmp/theirs)" \
		'with_entries(select(.key | IN($keys[])))' /tmp/ours) <(jq -S . /tmp/theirs)
}

# A superblock that its reader writes, as the page has it: for blocks of 4 KiB above 4 TiB there are
# no more numbers for slots. One that says anything else than remapctl computes is damaged.
@test "that reader lays out a spare as remapctl does, however large it is" {
	local sizes

	for sizes in 2048 8600000000 10737418240 "4294967296 8589934592 10737418240"; do
		rm -f /tmp/huge
		# shellcheck disable=SC2086	# several
		PYTHONPATH=$BATS_TEST_DIRNAME python3 - /tmp/huge $sizes <<-'PY'
			import struct, sys
			from reader import BLOCK, MAGIC, bands_of, crc32c
			sizes = [int(a) for a in sys.argv[2:]]
			bands = bands_of({"block_size": 4096}, sizes)
			block = bytearray(BLOCK)
			struct.pack_into("<16sIIQ16s", block, 0, MAGIC, 0, 1, 1, b"huge")
			struct.pack_into("<IIQQQ5Q", block, 80, 4096, 512, 1 << 40, sizes[-1],
			                 bands[0]["zone"], *bands[0]["start"])
			struct.pack_into("<II", block, 152, sum(b["slots"] for b in bands),
			                 sum(b["tables"] for b in bands))
			struct.pack_into("<Q", block, 184, len(bands) > 1)
			struct.pack_into("<I", block, 712, len(bands) - 1)
			struct.pack_into(f"<{len(bands) - 1}Q", block, 720, *sizes[:-1])
			struct.pack_into("<I", block, 16, crc32c(block))
			with open(sys.argv[1], "wb") as image:
			    image.truncate(sizes[-1] * 512)
			    image.seek(BLOCK)	# generation 1
			    image.write(block)
		PY
		remapctl dump --spare /tmp/huge
	done
	rm /tmp/huge
}

# Set a word of every superblock on the spare, and make the checksums right again.
set_word() { # OFFSET VALUE
	PYTHONPATH=$BATS_TEST_DIRNAME python3 - /tmp/whole /tmp/changed "$@" <<-'PY'
		import struct, sys
		from reader import BLOCK, MAGIC, crc32c
		image = bytearray(open(sys.argv[1], "rb").read())
		changed = 0
		for at in range(0, len(image), BLOCK):
		    if image[at:at + 16] != MAGIC:
		        continue
		    struct.pack_into("<Q", image, at + int(sys.argv[3]), int(sys.argv[4], 0))
		    struct.pack_into("<I", image, at + 16, 0)
		    struct.pack_into("<I", image, at + 16, crc32c(image[at:at + BLOCK]))
		    changed += 1
		assert changed >= 5
		open(sys.argv[2], "wb").write(image)
	PY
	dd if=/tmp/changed of="$SPARE" bs=1M oflag=direct conv=notrunc status=none
}

@test "features that are not known: incompat refuses, ro-compat reads, compat does not matter" {
	remapctl stop t
	dd if="$SPARE" of=/tmp/whole bs=1M iflag=direct status=none

	set_word 184 0x8000000000000000
	run -1 --separate-stderr remapctl start t --data "$DATA" --spare "$SPARE"
	[[ $stderr == *"features"* ]]
	run -1 dmsetup create t --table "0 131072 remap $DATA 0 $SPARE 0"
	cmp /tmp/changed "$SPARE"

	set_word 176 2
	dmsetup create t --table "0 131072 remap $DATA 0 $SPARE 0"
	expect state readonly
	check_all
	run -1 remapctl remap t 90000+8
	run -1 remapctl repair t
	remapctl stop t
	cmp /tmp/changed "$SPARE"

	set_word 168 4
	remapctl start t --data "$DATA" --spare "$SPARE"
	expect state active
	check_all
	remapctl stop t
	dd if=/tmp/whole of="$SPARE" bs=1M oflag=direct conv=notrunc status=none
	remapctl start t --data "$DATA" --spare "$SPARE"
}

# Where a page is smaller than a logical sector, older kernels read by a null pointer.
@test "logical sectors larger than a page are refused" {
	remapctl stop t
	dd if="$SPARE" of=/tmp/own bs=1M iflag=direct status=none
	remapctl format --data "$DATA" --spare "$SPARE" --block-size 16384 --force
	dd if="$SPARE" of=/tmp/whole bs=1M iflag=direct status=none
	set_word 80 $((16384 | 16384 << 32))
	[[ $(remapctl dump --spare "$SPARE" --json | jq .sector_size) == 16384 ]]
	run -1 dmsetup create t --table "0 131072 remap $DATA 0 $SPARE 0"
	dmesg | tail -n 20 | grep "for logical sectors of 16384 bytes, a page has 4096"
	cmp /tmp/changed "$SPARE"
	dd if=/tmp/own of="$SPARE" bs=1M oflag=direct conv=notrunc status=none
	remapctl start t --data "$DATA" --spare "$SPARE"
	check_all
}

@test "all five destroyed: start refuses, and the disk is untouched" {
	local z

	dd if="$SPARE" of=/tmp/whole bs=1M iflag=direct status=none
	remapctl stop t
	for z in 4 3 2 1; do destroy "$z" /dev/zero; done
	dd if=/dev/zero of="$SPARE" bs=1M count=1 oflag=direct conv=notrunc status=none
	run -1 remapctl start t --data "$DATA" --spare "$SPARE"
	run dmsetup info t
	((status != 0))
	pattern verify "$DATA" 0 4000 1
	dd if=/tmp/whole of="$SPARE" bs=1M oflag=direct conv=notrunc status=none
	remapctl start t --data "$DATA" --spare "$SPARE"
	check_all
}

@test "a table block with no valid copy: start refuses and says which slots" {
	local at z

	dd if="$SPARE" of=/tmp/whole bs=1M iflag=direct status=none
	remapctl stop t
	mapfile -t at < <(zones)
	for z in 0 1 2 3 4; do
		dd if=/dev/zero of="$SPARE" bs=8K count=1 conv=notrunc oflag=seek_bytes,direct \
			seek=$((at[z] + 16384)) status=none
	done
	run -1 --separate-stderr remapctl start t --data "$DATA" --spare "$SPARE"
	[[ $stderr == *"slots 254 to 507"* ]]
	dd if=/tmp/whole of="$SPARE" bs=1M oflag=direct conv=notrunc status=none
	remapctl start t --data "$DATA" --spare "$SPARE"
	check_all
}

# A table of the spare in which writes to zones 2 to 4 fail; what they hold can still be read.
three_zones_read_only() {
	local at from=0 z zone size

	mapfile -t at < <(zones)
	size=$((at[5] / 512))
	for z in 2 3 4; do
		zone=$((at[z] / 512))
		echo "$from $((zone - from)) linear $SPARE $from"
		echo "$zone $size flakey $SPARE $zone 0 1000 1 error_writes"
		from=$((zone + size))
	done
	((from == 32768)) || echo "$from $((32768 - from)) linear $SPARE $from"
}

@test "what two zones know and three know otherwise is read, and not written until that is mended" {
	local at z

	modprobe dm-flakey
	remapctl remap t 90000+8
	mapfile -t at < <(zones)
	for z in 2 3 4; do
		dd if="$SPARE" of="/tmp/old$z" bs=64K iflag=skip_bytes,direct skip="${at[z]}" \
			count=$((at[5] / 65536)) status=none
	done
	remapctl unmap t 90000+8
	remapctl remap t 95000+8
	pattern write "$T" 95000 8 3
	remapctl stop t
	for z in 2 3 4; do overwrite "${at[z]}" "${at[5]}" "/tmp/old$z"; done

	three_zones_read_only | dmsetup create sick
	remapctl start t --data "$DATA" --spare /dev/mapper/sick
	expect state failed
	pattern verify "$T" 95000 8 3
	pattern verify "$T" 90000 8 1
	run ! pattern write "$T" 95000 8 4
	run ! pattern write "$T" 90000 8 4
	# of these all five say the same
	pattern write "$T" 100000 8 1
	pattern write "$T" 50000 8 1
	run -1 remapctl reset t
	run ! pattern write "$T" 95000 8 4

	dmsetup reload sick --table "0 32768 linear $SPARE 0"
	dmsetup suspend sick && dmsetup resume sick
	remapctl repair t
	remapctl reset t
	expect state active
	pattern write "$T" 95000 8 4
	pattern write "$T" 90000 8 4
	[[ $(replicas t) == "ok ok ok ok ok" ]]
	remapctl stop t
	dmsetup remove sick
	remapctl start t --data "$DATA" --spare "$SPARE"
	pattern verify "$T" 95000 8 4
	pattern verify "$T" 90000 8 4
	remapctl unmap t 95000+8
	pattern write "$T" 95000 8 1
	pattern write "$T" 90000 8 1
	check_all
}

# Give the entry of a sector one sequence number, and all others another.
set_seq() { # SECTOR SEQ OTHERS
	PYTHONPATH=$BATS_TEST_DIRNAME python3 - /tmp/whole /tmp/changed "$@" <<-'PY'
		import struct, sys
		from reader import BLOCK, ENTRIES, MAGIC, crc32c
		image = bytearray(open(sys.argv[1], "rb").read())
		uuid = image[32:48]
		sector, seq, others = (int(a, 0) for a in sys.argv[3:])
		changed = 0
		for at in range(0, len(image), BLOCK):
		    block = image[at:at + BLOCK]
		    unsealed = block[:4] + bytes(4) + block[8:]
		    stored, = struct.unpack_from("<I", block, 4)
		    if block[:4] != b"RMBT" or crc32c(unsealed, crc32c(uuid)) != stored:
		        continue
		    for e in range(32, 32 + 16 * ENTRIES, 16):
		        low, high, state = struct.unpack_from("<IHB", block, e)
		        if state == 1:
		            mine = (low | high << 32) == sector // 8
		            struct.pack_into("<I", block, e + 12, seq if mine else others)
		            changed += mine
		    struct.pack_into("<I", block, 4, 0)
		    struct.pack_into("<I", block, 4, crc32c(block, crc32c(uuid)))
		    image[at:at + BLOCK] = block
		assert changed >= 5
		open(sys.argv[2], "wb").write(image)
	PY
	dd if=/tmp/changed of="$SPARE" bs=1M oflag=direct conv=notrunc status=none
}

# Of two entries for a block, which a crash may leave, the later one counts; the numbers go round.
@test "a block that moves has the later number, however many were given since it moved last" {
	local slot entry='.entries[] | select(.state == "mapped" and .sector == 4000)'

	remapctl stop t
	dd if="$SPARE" of=/tmp/whole bs=1M iflag=direct status=none
	set_seq 4000 5 0x80000004
	remapctl start t --data "$DATA" --spare "$SPARE"
	check_all
	slot=$(remapctl dump --spare "$SPARE" --json | jq "$entry | .slot_sector")
	bad spare "$slot" "$slot"
	pattern write "$T" 4000 8 2
	remapctl dump --spare "$SPARE" --json | jq -c "$entry"
	[[ $(remapctl dump --spare "$SPARE" --json | jq "$entry | .slot_sector") != "$slot" ]]
	# in serial arithmetic 0x80000005, the next one, is not later than 5
	[[ $(remapctl dump --spare "$SPARE" --json | jq "$entry | .seq") == 6 ]]
	good spare "$slot" "$slot"
	remapctl stop t
	dd if=/tmp/whole of="$SPARE" bs=1M oflag=direct conv=notrunc status=none
	remapctl start t --data "$DATA" --spare "$SPARE"
	check_all
}
