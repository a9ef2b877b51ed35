#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What remapctl shows of a device as a whole: report, the page; map, the surface in the terminal;
# and how far long operations are. How the page does in a browser: tests/host/report.bats.

bats_require_minimum_version 1.5.0
load agent

setup() {
	export TERM=xterm LC_ALL=C.UTF-8
	load_module
	rm -rf /run/remap-agent		# of an agent that another suite has run
	make_null_blk data 16
	make_null_blk spare 16
	cd "$BATS_TEST_TMPDIR" || return
}

teardown() {
	end_agent
	cd / || return
	! mountpoint -q "$BATS_TEST_TMPDIR/full" || umount "$BATS_TEST_TMPDIR/full"
	remove_devices
}

# Three places: a dense one, a block by itself, and one with sectors lost.
damaged() { # CREATE-OPTION...
	remapctl create t --data "$DATA" --spare "$SPARE" "$@" >/dev/null
	remapctl remap t 1000+80 7000 >/dev/null
	bad data 12003 12004
	run ! read_sector 12000
	expect slots_used 12
	expect lost_sectors 2
}

page() { # FILE: what page.py makes of it, in page.json
	python3 -IS "$DM_REMAP_TREE/tests/page.py" "$1" >page.json
}

shows() { # FILTER: of page.json
	jq -e "$1" page.json >/dev/null ||
		{ echo "not so: $1"; jq 'del(.data)' page.json; return 1; }
}

@test "a report has each remapped block and each lost sector, as list has them" {
	local label="</script><b>\"&'ä€🙂]]>"
	damaged --label "$label"
	remapctl report t -o page.html >out
	[[ $(<out) == page.html ]]
	page page.html
	remapctl list t --json >list.json
	jq -e -s '.[0].surface == .[1] and (.[0].places | sort) == (.[1] | sort)' page.json \
		list.json
	jq -e -s '.[0].blocks == .[1] and .[0].data.blocks == .[1]' page.json list.json
	jq -e '[.[].lost[]] == [12003, 12004]' list.json
	shows '.text | contains("Data is lost: 2 sectors")'
	shows '.text | contains("sectors 12000-12007: 1 block remapped, 2 sectors lost")'
	shows '.text | contains("Not known, as nobody keeps a record: remap-agent has not run")'
	shows '.text | contains("Not known: remap-agent, which measures, does not run")'
	shows '[.hovers[] | select(contains("2 sectors lost"))] | length == 1'
	shows '.data.verdict.level == "bad" and .data.surface.places_total == 3'
	# what stands on the disk is text
	label=$label jq -e '.data.label == env.label and (.text | contains(env.label))' page.json
	# what --json prints is what the page is made of, but for the time
	remapctl report t --json >report.json
	jq -e -s '(.[0].data | del(.made)) == (.[1] | del(.made))' page.json report.json
	[[ ! -d /run/vm/results ]] || cp page.html /run/vm/results/
}

@test "what is wrong with the spare or the state is in its first sentence" {
	damaged
	remapctl unmap t 1000+80
	dd if=/dev/zero of="$SPARE" bs=64K count=1 oflag=direct conv=notrunc status=none
	remapctl report t -o page.html
	grep -q "1 of 5 copies of the metadata is not whole (remapctl repair t)" page.html
	grep -qE "^<li class='wrong'>. 0: corrupt</li>" page.html
	remapctl repair t
	remapctl stop t
	blockdev --setro "$SPARE"
	remapctl start t --data "$DATA" --spare "$SPARE"
	remapctl report t -o page.html
	blockdev --setrw "$SPARE"
	grep -q "<section class='verdict stopped" page.html
	grep -q "dm-remap protects this disk no more." page.html
	grep -q "The device is read-only" page.html
}

@test "a page replaces another as a whole, or not at all" {
	damaged
	echo old >page.html
	chmod 640 page.html
	ln -s page.html link.html
	remapctl report t -o link.html
	[[ -L link.html && $(stat -c %a page.html) == 640 && $(tail -n 1 page.html) == *"</html>" ]]
	(umask 027 && remapctl report t -o new.html)
	[[ $(stat -c %a new.html) == 640 ]]
	# no room for it
	mkdir full
	mount -t tmpfs -o size=16k tmpfs full
	echo old >full/page.html
	run --separate-stderr -1 remapctl report t -o full/page.html
	[[ -z $output && $stderr == "remapctl: cannot write full/page.html: No space left"* ]]
	[[ $(<full/page.html) == old && $(ls full) == page.html ]]
	run --separate-stderr -1 remapctl report t -o none/page.html
	[[ $stderr == "remapctl: cannot write none/page.html: No such file"* ]]
	run --separate-stderr -1 remapctl report t -o /dev/null
	[[ $stderr == *"not a regular file"* && -c /dev/null ]]
	run -1 bash -c "remapctl report t -o - >/dev/full"
	echo old >page.html
	run --separate-stderr -1 remapctl report nobody -o page.html
	[[ $(<page.html) == old && $stderr == "remapctl: nobody: "* ]]
}

# Of 100,000 the page is as large as of these: tests/unit/test_report.c
@test "more blocks than one can look at are counted, and those with lost sectors named" {
	remapctl create t --data "$DATA" --spare "$SPARE" --block-size 512
	bad data 3000 3002
	remapctl remap t 1000+4000
	expect slots_used 4000
	remapctl report t -o page.html
	(($(stat -c %s page.html) < 200000))
	page page.html
	shows '.data.surface | [.regions[].blocks] | add == 4000'
	shows '.data.blocks_listed == "lost" and ([.blocks[].lost[]] == [3000, 3001, 3002])'
	shows '.surface == .blocks and .places == .blocks'
	shows '.hovers | length == 126 and all(test("[0-9]+ blocks? remapped, [03] sectors lost"))'
	remapctl map t --json | jq -e '[.regions[].blocks] | add == 4000'
}

# The cells of a map, row after row, without the numbers in front
cells() {
	sed -nE 's/^ *[0-9]+ ([^ ]+)$/\1/p' "$1" | tr -d '\n'
}

@test "a map has in its cells what list has" {
	local want
	damaged
	remapctl map t >map.txt
	cat map.txt
	[[ $(head -n 1 map.txt) == "t, 16 MiB: each cell is 16 KiB" ]]
	# a region is 32 sectors, from 32 n + 1 on: blocks at 1000 to 1079 and at 7000, 12003 lost
	remapctl list t --json >list.json
	want=$(jq -r '. as $list | [range(1024) as $i |
		[$list[] | select(((.sector - 1) / 32 | floor) == $i)] |
		if any(.[]; .lost != []) then "X" elif length > 0 then "▪" else "·" end] | add' \
		list.json)
	[[ $want == *▪▪▪*▪*X* ]]
	[[ $(cells map.txt) == "$want" ]]
	[[ $(sed -n '/^sectors/p' map.txt) == "sectors 12000-12007: 1 block remapped, 2 sectors lost
sectors 1000-1079: 10 blocks remapped, nothing lost
sectors 7000-7007: 1 block remapped, nothing lost" ]]
	grep -q "Errors and slow I/Os are not known: remap-agent" map.txt
	run ! grep -q $'\033' map.txt
	remapctl map t --json >map.json
	jq -e '[.regions[] | [.region, .blocks, .lost]] ==
		[[31, 4, 0], [32, 4, 0], [33, 2, 0], [218, 1, 0], [374, 1, 2]]' map.json
	jq -e '.measured == false and .places_total == 3 and .size_sectors == 32768' map.json
	remapctl stop t
	remapctl create t --data "$DATA" --spare "$SPARE" --force --block-size 512
	remapctl map t | grep -q "^Nothing is remapped"
	# from 16 blocks on they are many
	remapctl remap t 33+15 65+16
	remapctl map t | grep -q "^ *0 ·▪■·"
}

@test "a map is as wide as the screen, and as plain as it has to be" {
	local width
	damaged
	for width in 20:16 80:64 133:64 134:128; do
		COLUMNS=${width%:*} remapctl map t >map.txt
		[[ $(sed -nE 's/^ *0 ([^ ]+)$/\1/p' map.txt | wc -m) == $((${width#*:} + 1)) ]]
		[[ $(cells map.txt | wc -m) == 1024 ]]
	done
	LC_ALL=C remapctl map t >map.txt
	run ! grep -q '[^ -~]' map.txt
	cells map.txt | grep -qx '[.]*ooo[.]*o[.]*X[.]*'
	in_terminal "stty cols 100; remapctl map t" >map.txt
	grep -q $'\033''\[0;1;31mX' map.txt
	in_terminal "stty cols 100; NO_COLOR=1 remapctl map t" >map.txt
	run ! grep -q $'\033' map.txt
	TERM=dumb in_terminal "remapctl map t" >map.txt
	run ! grep -q $'\033' map.txt
}

in_terminal() { # COMMAND: in a terminal of its own
	script -qec "$1" /dev/null </dev/null
}

# The spare takes its time over each write, and so over each batch of 256 blocks.
slow_spare() {
	modprobe dm-delay
	dmsetup create slow --table "0 $(blockdev --getsz "$SPARE") delay $SPARE 0 0 $SPARE 0 60"
	settle
}

# What was shown was taken away, and what is left is what comes without a terminal.
cleared() { # FILE TEXT
	grep -qE $'\r'"$2"$'\033''\[K' "$1" || { cat -v "$1"; return 1; }
	# the last that is done to the line, before anything else is said, is to empty it
	tr -d '\n' <"$1" | grep -qE $'\033''\[K'$'\r'$'\033''\[K[^'$'\033'']*$' ||
		{ cat -v "$1"; return 1; }
}

@test "long operations say how far they are, on a terminal" {
	slow_spare
	remapctl create t --data "$DATA" --spare /dev/mapper/slow --block-size 512
	in_terminal "remapctl remap t 0+2000" >remap
	cleared remap 'remap: [0-9]+ %, [0-9]+ of 2000, [0-9]+ blocks/s, [0-9]+:[0-9]+ left'
	grep -qE '2000 +2000' remap
	seq 10000 11999 >list
	in_terminal "remapctl import t --badblocks list --list-block-size 512" >import
	cleared import 'import: [0-9]+ %, [0-9]+ of 2000, [0-9]+ blocks/s, [0-9]+:[0-9]+ left'
	grep -q 'Moved: *2000' import
	in_terminal "remapctl repair t" >repair
	cleared repair 'repair: the kernel is at it, and does not say how far it is'
	grep -q '4  *ok' repair
	in_terminal "remapctl verify t" >verify
	cleared verify 'verify: the kernel reads all replicas, and does not say how far it is'
	# the first that fails is told, the others go on; neither is written over the other
	bad data 1500 1500
	in_terminal "remapctl unmap t 0+2000" >error || true
	cleared error 'unmap: [0-9]+ %, [0-9]+ of 2000, .* left'
	tr '\r' '\n' <error | grep -q $'^\033''\[Kremapctl: t: cannot unmap 1280 256: '
	expect slots_used 2001
	# where nobody looks, they say nothing
	run --separate-stderr remapctl remap t 20000+1000
	[[ -z $stderr && $output == *1000* ]]
	in_terminal "remapctl remap t 22000+1000 --json" >json
	tr -d '\r' <json | jq -e '.ranges[0].moved == 1000'
	TERM=dumb in_terminal "remapctl remap t 24000+1000" >dumb.txt
	run ! grep -q $'\033' dumb.txt
	in_terminal "remapctl repair t 2>/dev/null" >repair
	run ! grep -q $'\033' repair
}

@test "with an agent it is known how long the disk takes, what happened, and how far a scrub is" {
	local at
	[[ -r /sys/kernel/btf/vmlinux ]] || skip "the kernel has no BTF"
	damaged
	rm -rf "$STATE" /run/remap-agent
	configure "[scrub]" "interval = 30d" "[read]" "rate = 256K"
	remapctl status t --json | jq -e '.[0] | has("scrub") and .scrub == null and
		has("scrubbed") and .scrubbed == null'
	agent
	scrubs() {
		remapctl status t --json >status.json
		jq -e '.[0].scrub | .sector > 1000 and .seconds_left > 0' status.json >/dev/null
	}
	wait_for 60 scrubs
	at=$(jq '.[0].scrub.sector' status.json)
	remapctl status t >status.txt
	grep -E '^t: remap-agent reads the surface, .*, [0-9]+ %, [0-9:]+ left$' status.txt
	[[ $(sed -n 's/.*, is at sector \([0-9]*\) of 32768, .*/\1/p' status.txt) -ge $at ]]
	bad data 30000 30000
	run ! read_sector 30000
	read_sector 31000
	noted() {
		remapctl report t --json >report.json
		jq -e '[.events.list[].kind] | contains(["error", "lost"])' report.json >/dev/null
	}
	wait_for 30 noted
	jq -e '.events.trend.way == "new" and .verdict.worse and .agent.alive' report.json
	jq -e '.latency.errors > 0 and any(.latency.ops[]; .op == "read" and .ios > 0)' report.json
	remapctl report t -o page.html
	page page.html
	shows '.latency > 0 and (.text | contains("and the disk is getting worse"))'
	shows '.ids | contains(["time", "latency"])'
	shows '.hovers | any(test("[1-9][0-9]* I/Os? failed"))'
	[[ ! -d /run/vm/results ]] || cp page.html /run/vm/results/agent.html
	remapctl map t --json | jq -e '.measured and any(.regions[]; .errors > 0 and .blocks > 0)'
	remapctl map t | grep -q 'I/O failed'
	# killed, it leaves its figures behind, which are not taken for new ones
	kill -KILL "$AGENT"
	wait "$AGENT" || true
	AGENT=
	remapctl report t --json | jq -e '.agent.alive == false and
		(.verdict.trend | contains("No remap-agent runs now"))'
	remapctl status t --json | jq -e '.[0].scrub == null'
}
