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
	[[ -z ${LOAD:-} ]] || kill "$LOAD" 2>/dev/null || true
	end_agent
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

screen() {
	tmux capture-pane -p
}

# Is that on the screen? A regular expression, for one line
shows() {
	screen | grep -qE -- "$1"
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
	remap-top --once --json "$@"
}

read_all() { # FILE
	dd if="$1" of=/dev/null iflag=direct bs=4096 conv=noerror status=none 2>/dev/null
}

# What a person sees who opens it on a disk that fails; docs/remap-top.svg is made from it.
@test "a failing disk: what is wrong, where, and whether it gets worse stand at the top" {
	local n i where
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
	configure "[scrub]" "interval = 1d" "[read]" "rate = 4G"
	agent
	for n in safe archive; do
		fio --name=$n --filename=/dev/mapper/$n --ioengine=libaio --iodepth=2 --direct=1 \
			--rw=randrw --rwmixread=70 --bs=4k --rate_iops=100 --time_based \
			--runtime=1000 --minimal --continue_on_error=all >/dev/null 3>&- &
		LOAD+=" $!"
	done
	LOAD=${LOAD# }
	top COLORTERM=
	tmux resize-window -x 120 -y 40
	see "the device is well|all 3 devices are well"
	for ((i = 0; i < 8; i++)); do
		bad data $((5000000000 + i * 8)) $((5000000000 + i * 8 + i))
		read_sector $((5000000000 + i * 8)) /dev/mapper/safe || true
	done
	see "1 of 3 devices needs attention: safe: .*lost sectors"
	see "errors now|errors rising"
	see "safe: .* sectors are lost"
	# where: the region of 7812500 sectors with most of them
	see "errors by place: .* near sectors 5000000000 to|errors by place: .* near sectors 499[0-9]"
	# the worst stands first, whatever its name
	screen | grep -A 1 "NAME" | grep -q "^>! safe"
	mkdir -p /run/vm/results
	tmux capture-pane -e -p >/run/vm/results/remap-top.ansi
	screen
	tmux resize-window -x 80 -y 24
	see "q quit"
	screen
	remap-top --once
	once
	end_agent
}
