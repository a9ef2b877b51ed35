# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# remap-agent for the suites about it: started on a configuration, its log, its figures.

load remap

AGENT_BY=()
readonly LOG=/tmp/agent.log CONFIG=/tmp/agent.conf STATE=/tmp/agent-state

# Sections and settings: configure "[move]" "strikes = 3"...
configure() {
	printf '%s\n' "$@" >"$CONFIG"
}

# agent [OPTION]...: start it by the program AGENT_BY, if there is one, and wait until it is ready
agent() {
	[[ -e $CONFIG ]] || configure "[scrub]" "interval = 0"
	: >"$LOG"
	"${AGENT_BY[@]}" remap-agent --config "$CONFIG" --state "$STATE" "$@" 2>"$LOG" 3>&- &
	AGENT=$!
	wait_for 60 logged "ready" || { cat "$LOG"; return 1; }
}

end_agent() {
	[[ -n ${AGENT:-} ]] || return 0
	kill "$AGENT" 2>/dev/null || true
	wait "$AGENT" || { echo "the agent ended with status $?"; cat "$LOG"; return 1; }
	AGENT=
}

# Has it said that? TEXT is a part of a line
logged() {
	grep -qF -- "$1" "$LOG"
}

# How often?
times_logged() {
	grep -cF -- "$1" "$LOG" || true
}

# Wait until it has said so: says SECONDS TEXT
says() {
	wait_for "$1" logged "$2" || { cat "$LOG"; return 1; }
}

# No device is in the metrics
gone() {
	! metrics | grep -q target=
}

metrics() {
	curl -sf http://127.0.0.1:9477/metrics
}

# The value of a sample, by the beginning of its line: metric 'NAME{LABELS}'
metric() {
	metrics | grep -F -- "$1 " | sed 's/.* //'
}

# Remapped sectors, one line each
remapped() {
	remapctl list t --json | jq -r '.[].sector'
}

is_remapped() { # SECTOR
	remapped | grep -qx "$1"
}

# The data device "under" is the disk, but for the sectors from FIRST on, of which each read takes
# MS and each write none: slow_disk FIRST SECTORS MS
slow_disk() {
	local size
	size=$(blockdev --getsz "$DATA")
	modprobe dm-delay
	dmsetup create under --table "0 $size linear $DATA 0"
	settle
	make_slow "$@"
}

make_slow() {
	local size
	size=$(blockdev --getsz "$DATA")
	dmsetup suspend --noudevsync under
	dmsetup load under --table "0 $1 linear $DATA 0
$1 $2 delay $DATA $1 $3 $DATA $1 0
$(($1 + $2)) $((size - $1 - $2)) linear $DATA $(($1 + $2))"
	dmsetup resume --noudevsync under
}

make_fast() {
	dmsetup suspend --noudevsync under
	dmsetup load under --table "0 $(blockdev --getsz "$DATA") linear $DATA 0"
	dmsetup resume --noudevsync under
}

read_sector() { # SECTOR [FILE]
	dd if="${2:-$T}" of=/dev/null iflag=direct bs=4096 count=1 skip=$(($1 / 8)) status=none
}

# A disk of which some blocks get slow, others have to be read again, and all of these die then.
failing_disk() {
	local i
	dmsetup create under --table "0 131072 linear $DATA 0"
	settle
	remapctl create t --data /dev/mapper/under --spare "$SPARE" --option on_read_error=relocate
	pattern write "$T" 0 131072 3
	udevadm control --stop-exec-queue	# it would want to read, too
	modprobe dm-delay
	make_slow 80000 16 300
	for i in 1 2 3; do
		read_sector 80000
		read_sector 80008
		needs_retries 90000
		make_slow 80000 16 300
		pause_between_strikes
	done
	# the agent, if there is one, has had three strikes of each by now
	for i in 80000 80008 90000; do
		[[ -z ${AGENT:-} ]] || wait_for 30 is_remapped "$i"
	done
	make_fast
	bad data 80000 80015
	bad data 90000 90007
	udevadm control --start-exec-queue
}

# Five seconds after the last strike the next one counts.
pause_between_strikes() {
	wait_for 20 later_than $((SECONDS + 5))
}

later_than() {
	((SECONDS > $1))
}

# The read fails, and the disk is well when it is tried again: see read.bats.
needs_retries() { # SECTOR
	! is_remapped "$1" || return 0
	dmsetup suspend --noudevsync under
	dmsetup load under --table "0 131072 delay $DATA 0 60000"
	dmsetup resume --noudevsync under
	bad data "$1" $(($1 + 7))
	pattern verify "$T" "$1" 8 3 3>&- &
	wait_for 30 in_flight mapper/t
	dmsetup load under --table "0 131072 linear $DATA 0"
	dmsetup suspend --noudevsync --nolockfs under
	good data "$1" $(($1 + 7))
	dmsetup resume --noudevsync under
	wait $!
}

# 64 remap devices, t0 to t63, of 1 MiB each, on pieces of "data" and partitions of a new "spare"
many_devices() {
	local i table part first
	remove_null_blk spare
	make_null_blk spare 160
	{
		echo "label: gpt"
		for ((i = 0; i < 64; i++)); do
			echo "size=2MiB"
		done
	} | sfdisk -q "$SPARE"
	settle
	dmsetup create piece --table "0 2048 linear $DATA 0"
	settle
	first=$(partition spare 1)
	remapctl format --data /dev/mapper/piece --spare "$first"
	dmsetup remove --retry piece
	for ((i = 0; i < 64; i++)); do
		part=$(partition spare $((i + 1)))
		((i == 0)) || dd if="$first" of="$part" bs=1M oflag=direct status=none
		table="0 2048 remap $DATA $((i * 2048)) $part 0"
		dmsetup create --noudevsync "t$i" --table "$table"
	done
	settle
}
