#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# remap-top, as it is used: in a terminal (tmux), on disks that fail; and what it prints.

bats_require_minimum_version 1.5.0
load agent

setup() {
	[[ -r /sys/kernel/btf/vmlinux ]] || skip "the kernel has no BTF"
	load_module
	rm -rf "$STATE" "$CONFIG" "$LOG" /run/remap-agent
	configure "[scrub]" "interval = 0"
	make_null_blk data 64
	make_null_blk spare 16
	remapctl create t --data "$DATA" --spare "$SPARE"
}

teardown() {
	tmux kill-server 2>/dev/null || true
	# shellcheck disable=SC2086 # a list
	[[ -z ${LOAD:-} ]] || kill $LOAD 2>/dev/null || true
	end_agent
	! mountpoint -q /tmp/slow || umount /tmp/slow
	remove_devices
}

# In a terminal of 80x24: top [VARIABLE=VALUE]... [OPTION]...
top() {
	local vars=()

	while [[ ${1:-} == *=* ]]; do
		vars+=("$1")
		shift
	done
	tmux -f /dev/null new-session -d -x 80 -y 24 \
		"env ${vars[*]} remap-top $*; echo; echo ended with \$?; sleep 1000" 3>&-
	wait_for 60 shows "q quit"
}

# Its server, too: gone before the next one begins
close_top() {
	local server

	server=$(tmux display -p '#{pid}')
	tmux kill-server
	ended() { [[ ! -e /proc/$server ]]; }
	wait_for 10 ended
}

screen() {
	tmux capture-pane -p
}

# Is that on the screen? A regular expression, for one line
shows() {
	local line

	while IFS= read -r line; do
		[[ ! $line =~ $1 ]] || return 0
	done < <(screen)
	return 1
}

# Wait until it is: see TEXT; until it is not: see_no TEXT
see() {
	wait_for 60 shows "$1" || { screen; return 1; }
}

see_no() {
	lacks() { ! shows "$1"; }
	wait_for 60 lacks "$1" || { screen; return 1; }
}

keys() {
	tmux send-keys "$@"
}

once() {
	remap-top --once --json
}

read_all() { # FILE
	dd if="$1" of=/dev/null iflag=direct bs=4096 conv=noerror status=none 2>/dev/null
}

# What a person sees who opens it on a disk that fails; docs/remap-top.svg is made from it.
@test "a failing disk: what is wrong, where, and whether it gets worse stand at the top" {
	takes_long
	local n
	make_null_blk healthy 2000000
	make_null_blk idle 500000
	make_null_blk spare2 64
	make_null_blk spare3 64
	remapctl stop t
	remove_null_blk data
	make_null_blk data 4000000
	remapctl create safe --data "$DATA" --spare "$SPARE" --force
	remapctl create archive --data /dev/healthy --spare /dev/spare2
	remapctl create scratch --data /dev/idle --spare /dev/spare3
	configure "[scrub]" "interval = 1d" "[read]" "rate = 1M" "neighbourhood = 64K"
	agent
	for n in safe archive; do
		fio --name=$n --filename=/dev/mapper/$n --ioengine=libaio --direct=1 --bs=4k \
			--rw=randrw --rwmixread=70 --rate_iops=20 --time_based --runtime=1000 \
			--minimal --continue_on_error=all >/dev/null 3>&- &
		LOAD+=" $!"
	done
	go_bad >/dev/null 2>&1 3>&- &
	LOAD+=" $!"
	says 120 "safe: 4 sectors are lost"
	top
	tmux resize-window -x 120 -y 40
	see "^1 of 3 devices needs attention: safe: [0-9]+ lost sectors, "
	see "trend: (getting worse|going on|easing off): "
	see "safe: .* sectors are lost"
	# where: a region has 8,000,000 sectors here
	see "errors by place: .* in sectors 5000000002 to 5008000001"
	see "errors (now|rising|easing) [(][0-9]+ in "
	# the worst stands first, whatever its name
	screen | grep -A 1 "NAME" | grep -q "^>!safe"
	mkdir -p /run/vm/results
	tmux capture-pane -e -p >/run/vm/results/remap-top.ansi
	screen
	tmux resize-window -x 80 -y 24
	see "q quit"
	see "errors by place: .* in sectors 5000000002"
	screen
	# the same in a line
	run -0 remap-top --once
	echo "$output"
	[[ ${lines[0]} == *"  1 of 3 devices needs attention: safe: "*" lost sectors, "* ]]
	# who has not looked before knows it by the agent's log
	[[ $output == *"safe: getting worse: "* ]]
	end_agent
}

# A disk on which one block after the other goes bad, on /dev/mapper/safe
go_bad() {
	local at

	for ((at = 5000001000; ; at += 8192)); do
		bad data "$at" $((at + 3))
		read_sector "$at" /dev/mapper/safe || true
	done
}

@test "keys, and terminals from too small to large" {
	top
	see "^> +t +active +0 +0 +0 +0 +5/5"
	see "errors by place: none"
	keys m
	see "worst latency by place"
	keys m m
	see "remapped blocks by place: none"
	keys t
	see "t last interval"
	see "since start +1.0us"
	keys s
	see "sort: STATE"
	keys S r
	see "sort: -attention"
	keys Right
	see_no "NAME +STATE"
	keys Left
	see "NAME +STATE"
	keys d 5 Enter
	see "every 5s"
	keys +
	see "every 10s"
	keys - - - - -
	see "every 0.31[23]s"
	keys p
	see PAUSED
	keys Space
	see_no PAUSED
	keys h
	see "remap-top: keys"
	keys x
	see "NAME +STATE"
	tmux resize-window -x 230 -y 70
	see "d99.9 +PASSED"
	see "p99 in queue, device"
	[[ $(screen | tail -n 1) == " q quit"* ]]
	tmux resize-window -x 39 -y 9
	see "39x9 is too small"
	tmux resize-window -x 40 -y 10
	see "q quit"
	see "^> +t +active"
	tmux resize-window -x 80 -y 24
	see "NAME +STATE +LOST"
	keys q
	see "ended with 0"
	tmux display -p '#{alternate_on} #{cursor_flag}' | grep -qx "0 1"
}

@test "without colours, in ASCII; a signal leaves the terminal as it was" {
	local pid plain
	bad data 800 807
	top
	read_sector 800 || true
	see "needs attention: t: 8 lost sectors"
	# red, and bars that are no letters
	tmux capture-pane -e -p | grep -q $'\e\[[0-9;]*31m'
	screen | grep -q "[▄▅▆]"
	keys q
	see "ended with 0"
	close_top
	top NO_COLOR=1 --ascii
	see "^>!t +active +8"
	plain=$(tmux capture-pane -e -p)
	run ! grep -q $'\e\[[0-9;]*[349][0-7]m' <<<"$plain"
	run ! grep -qP '[^\x00-\x7f]' <<<"$plain"
	pid=$(pgrep -x remap-top)
	kill -TERM "$pid"
	see "ended with 0"
	tmux display -p '#{alternate_on} #{cursor_flag}' | grep -qx "0 1"
}

@test "what it cannot do is said in a line, with the remedy" {
	run -1 remap-top </dev/null
	[[ $output == "remap-top: standard input is no terminal (--once prints what"* ]]
	run -1 script -qec "env TERM=dumb remap-top" /dev/null
	[[ $output == "remap-top: a terminal of type dumb has no screen (set TERM, or "* ]]
	run -1 script -qec "env TERM=nonsense remap-top" /dev/null
	[[ $output == "remap-top: terminal type nonsense is not known (set TERM, or "* ]]
	run -1 setpriv --reuid 65534 --clear-groups remap-top --once
	[[ $output == "remap-top: not permitted (run as root)" ]]
	run -2 remap-top --interval 0
	[[ $output == "remap-top: --interval 0: not a number of seconds from 0.1 to 3600 "* ]]
	run -2 remap-top --count 3
	run -2 remap-top --frob
	run -2 remap-top t
	run -1 bash -c 'remap-top --once >/dev/full'
	[[ $output == "remap-top: cannot write the output" ]]
}

@test "devices come and go, agents come, die and come back" {
	load() {
		fio --name=load --filename="$T" --ioengine=libaio --direct=1 --rw=randread \
			--bs=4k --rate_iops=100 --time_based --runtime=1000 --minimal \
			>/dev/null 3>&- &
		LOAD=$!
	}
	top
	see "1 device  telemetry: own  no agent runs"
	see "^> +t +active"
	remapctl stop t
	see "no remap devices"
	see "t: is gone"
	# it keeps no module from going
	wait_for 20 rmmod dm-remap
	load_module
	remapctl start t --data "$DATA" --spare "$SPARE"
	see "^> +t +active"
	see "t: found: 131072 sectors, state active"
	agent
	see "1 device  telemetry: remap-agent's"
	# what it had loaded itself is gone
	alone() {
		bpftool prog show -j | jq -e 'map(select(.name == "rq_complete")) | length == 1'
	}
	wait_for 20 alone
	load
	see "^ read +[1-9][0-9]* "
	kill -9 "$AGENT"
	wait "$AGENT" || true
	AGENT=
	see "telemetry: own  no agent runs"
	see "remap-agent has ended: nothing is moved ahead of time"
	see "^ read +[1-9][0-9]* "
	agent
	see "1 device  telemetry: remap-agent's"
	see "^ read +[1-9][0-9]* "
	# one that starts anew at once has new maps under the same names
	kill -9 "$AGENT"
	wait "$AGENT" || true
	agent
	kill "$LOAD"
	see "^ read +0 "
	load
	see "^ read +[1-9][0-9]* "
}

@test "counts are fio's, and on the screen, as text and as JSON they are the same" {
	local fio ours json text row
	remapctl stop t
	remove_null_blk data
	make_null_blk data 64 irqmode=0
	remapctl start t --data "$DATA" --spare "$SPARE"
	settle
	# by itself: each interval's counts, and their sum
	remap-top --json --interval 0.5 >/tmp/top.json 3>&- &
	LOAD=$!
	wait_for 60 test -s /tmp/top.json
	fio=$(fio --name=a --filename="$T" --ioengine=libaio --iodepth=4 --direct=1 --randseed=1 \
		--rw=randrw --bsrange=4k-64k --size=64m --number_ios=3000 --output-format=json |
		jq -r '.jobs[0] | "\(.read.total_ios) \(.read.io_bytes) \(.write.total_ios)"')
	sums() {
		ours=$(jq -s -r '[.[].devices[0].io] | [(map(.read.ios) | add),
			(map(.read.bytes) | add), (map(.write.ios) | add)] | join(" ")' \
			/tmp/top.json)
		[[ $ours == "$fio" ]]
	}
	wait_for 30 sums || { echo "fio: $fio; ours: $ours"; return 1; }
	kill "$LOAD"
	wait "$LOAD" || true
	LOAD=
	[[ $(tail -n 1 /tmp/top.json | jq -r '.devices[0].io | [.read.since_start.ios,
		.read.since_start.bytes, .write.since_start.ios] | join(" ")') == "$fio" ]]
	# the agent's
	agent
	bad data 40000 40007
	read_sector 40000 || true
	pattern write "$T" 0 16384 3
	settle
	says 60 "t: read sectors"
	top
	json=$(once | jq -c '.devices[0]')
	jq -c 'del(.surface)' <<<"$json"
	[[ $(jq -r '"\(.counted_by) \(.lost_sectors) \(.health)"' <<<"$json") == \
		"telemetry 8 bad" ]]
	# the region of 128 sectors that it is in
	[[ $(jq -c '.surface.errors | map(.[0])' <<<"$json") == "[312]" ]]
	[[ $(jq -c .surface.remaps <<<"$json") == "[[312,1]]" ]]
	see "errors by place: [0-9]+ in 1 region, most .* in sectors 39937 to 40064"
	row=$(jq -r "$(cat <<-'END'
		def ns: [[., "ns"], [./1000, "us"], [./1000000, "ms"], [./1000000000, "s"]] |
			map(select(.[0] < 999.5 or .[1] == "s"))[0] |
			if .[1] != "ns" and .[0] < 9.95 then
				((.[0] * 10 + 0.5 | floor) / 10 | tostring |
				if test("\\.") then . else . + ".0" end) + .[1]
			else (.[0] + 0.5 | floor | tostring) + .[1] end;
		.io.write.since_start | "\(.ios) +\(.latency.p50_ns | ns) +\(.latency.p99_ns | ns)"
	END
	)" <<<"$json")
	echo "$row"
	see "^ write .* $row"
	text=$(remap-top --once)
	echo "$text"
	errors=$(jq .errors <<<"$json")
	grep -qE "^! t +active +8 +$errors " <<<"$text"
	see "^>!t +active +8 +$errors "
	# the agent may say something in between
	same_headline() {
		[[ $(remap-top --once | head -n 1) == *"  $(once | jq -r .headline)" ]]
	}
	wait_for 30 same_headline
	# so much was recorded, and so many objects were asked for
	[[ $(remap-top --json -n 2 --interval 0.2 | jq -s length) == 2 ]]
	[[ $(remap-top --batch -n 2 --interval 0.2 | grep -c NAME) == 2 ]]
	end_agent
}

@test "ended while it writes into a file: no half report is left there" {
	local dir=/tmp/slow status=0
	# each write of a report, of which there are several, waits for the disk
	make_null_blk slow 16 irqmode=2 completion_nsec=100000000
	mkfs.ext4 -q -O ^has_journal /dev/slow
	mkdir "$dir"
	mount -o sync /dev/slow "$dir"
	remap-top --json --interval 0.1 >"$dir/top.json" 3>&- &
	LOAD=$!
	wait_for 60 test -s "$dir/top.json"
	kill "$LOAD"
	wait "$LOAD" || status=$?
	LOAD=
	((status == 128 + 15))
	jq -s -e 'length >= 1 and all(.[]; .devices[0].name == "t")' "$dir/top.json"
	umount "$dir"
}

@test "without BTF it shows what there is, and says what is missing and why" {
	# shellcheck disable=SC2016 # the inner shell expands it
	local without=(unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf &&
		mount -t tmpfs none /lib/modules && exec "$@"' sh)
	fio --name=load --filename="$T" --ioengine=libaio --direct=1 --rw=randread --bs=4k \
		--rate_iops=200 --time_based --runtime=1000 --minimal >/dev/null 3>&- &
	LOAD=$!
	run -0 "${without[@]}" remap-top --once --json
	jq -e '.telemetry == "none" and (.missing | test("the kernel has no BTF")) and
		(.devices[0] | .counted_by == "diskstats" and .state == "active" and
		.io.read.per_second > 0 and .io.read.latency == null)' <<<"$output"
	run -0 "${without[@]}" remap-top --once
	[[ $output == *"missing: no latencies, and no errors that were healed, nor where: "* ]]
	[[ $output == *"cannot load the BPF programs: the kernel has no BTF"* ]]
	kill "$LOAD"
	LOAD=
}

@test "64 devices: what a refresh costs" {
	takes_long
	local few many per
	remapctl stop t
	many_devices
	agent
	all_checked() { (($(grep -c ': replicas of the metadata: ok' "$LOG") == 64)); }
	wait_for 300 all_checked
	top
	see "64 devices"
	see "all 64 devices are well"
	keys End
	see "^> t9 "
	close_top
	calls() {
		strace -f -c -o /tmp/calls remap-top --batch --interval 0.1 --count "$1" >/dev/null
		awk '$NF == "total" { print $4 }' /tmp/calls
	}
	cpu_ms() {
		local TIMEFORMAT="%U %S"
		{ time remap-top --batch --interval 0.1 --count "$1" >/dev/null; } 2>&1 |
			awk '{ print int(($1 + $2) * 1000) }'
	}
	few=$(calls 2)
	many=$(calls 12)
	per=$(((many - few) / 10))
	head -n 12 /tmp/calls
	# most of them are libdevmapper's, for table and status of each device
	((per > 64 && per < 64 * 10))
	few=$(cpu_ms 2)
	many=$(cpu_ms 12)
	echo "# a refresh with 64 devices: $per system calls, $(((many - few) / 10)) ms of a" \
		"CPU, which is emulated without KVM" >&3
	end_agent
}
