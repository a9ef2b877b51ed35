#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The example in docs/format.md is a spare: remapctl reads it, and so does a reader that knows
# nothing but that page.

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	remapctl=build/bin/remapctl
	image=$BATS_TEST_TMPDIR/spare
	truncate -s 1M "$image"
	python3 - docs/format.md "$image" <<-'PY'
		import re, sys
		with open(sys.argv[1]) as page, open(sys.argv[2], "r+b") as image:
		    lines = re.findall(r"(?m)^    ([0-9a-f]{8})  ((?:[0-9a-f]{2} {1,2}){8,16})",
		                       page.read())
		    assert len(lines) >= 20, len(lines)
		    for at, line in lines:
		        image.seek(int(at, 16))
		        image.write(bytes.fromhex(line))
	PY
	# the other zones, as the page says where they are
	for sector in 384 896 1408 1920; do
		dd if="$image" of="$image" bs=512 count=128 seek="$sector" conv=notrunc status=none
	done
}

# What both readers say, without what only one of them can know
compare() {
	local ours theirs keys
	ours=$("$remapctl" dump --spare "$image" --json) || return
	theirs=$(python3 tests/vm/reader.py "$image") || return
	keys=$(jq -c keys_unsorted <<<"$theirs")
	diff <(jq -S --argjson keys "$keys" 'with_entries(select(.key | IN($keys[])))' <<<"$ours") \
		<(jq -S . <<<"$theirs")
}

@test "the example of the format's documentation is what remapctl reads" {
	compare
	[ "$("$remapctl" dump --spare "$image" --json | jq -c '[.entries[] | .sector, .lost]')" = \
		'[4000,[],null,[],4616,[4619]]' ]
}

@test "both readers agree on a spare of which one zone is left, and one old copy" {
	for sector in 0 384 896 1408; do
		dd if=/dev/urandom of="$image" bs=512 count=128 seek="$sector" conv=notrunc \
			status=none
	done
	compare
	# the newest copy of the table is gone
	dd if=/dev/zero of="$image" bs=512 count=8 seek=$((1920 + 16)) conv=notrunc status=none
	compare
	[ "$("$remapctl" dump --spare "$image" --json | jq '.entries | length')" = 0 ]
}
