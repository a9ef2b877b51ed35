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

# The disk "under": two blocks are slow, and one is $1: "flaky", which is dm-flakey or well, or
# "held", the same after a minute.
sick() {
	dmsetup load under --table "0 80000 linear $DATA 0
80000 16 delay $DATA 80000 900 $DATA 80000 0
80016 9984 linear $DATA 80016
90000 8 $([[ $1 == held ]] && echo "delay /dev/mapper/flaky 0 60000" ||
		echo "linear /dev/mapper/flaky 0")
90008 41064 linear $DATA 90008"
}

# "flaky", which is block 90000, fails from now on, or is well: flaky down|up
flaky() {
	dmsetup suspend --noudevsync flaky
	case $1 in
	down) dmsetup load flaky --table "0 8 flakey $DATA 90000 0 1000" ;;
	up) dmsetup load flaky --table "0 8 linear $DATA 90000" ;;
	esac
	dmsetup resume --noudevsync flaky
}

is_held() {
	dmsetup status --noflush under | grep -q "^90000 8 delay [1-9]"
}

# A read of block 90000 fails, and succeeds when the target tries it again.
needs_retries() {
	local reader
	! is_remapped 90000 || return 0
	sick held
	dmsetup suspend --noudevsync under
	dmsetup resume --noudevsync under
	flaky down
	read_sector 90000 3>&- &
	reader=$!
	wait_for 30 is_held
	# what was held goes on and fails; what is tried then waits until the disk is well
	sick flaky
	dmsetup suspend --noudevsync --nolockfs under
	flaky up
	dmsetup resume --noudevsync under
	wait "$reader"
}

# The sick blocks, and some beside them.
around_them() {
	dd if="$T" iflag=direct bs=4096 skip=9996 count=10 status=none
	dd if="$T" iflag=direct bs=4096 skip=11246 count=10 status=none
}

# What somebody does all the while: reads what was there before, block by block, and writes and
# reads something else. What went wrong is in the file "failed".
application() {
	local round=0
	rm -f /tmp/application.*
	around_them >/tmp/application.was
	: >/tmp/application.failed
	while [[ ! -e /tmp/application.end ]]; do
		around_them | cmp - /tmp/application.was ||
			echo "reading" >>/tmp/application.failed
		round=$((round + 1))
		{ pattern write "$T" 100000 256 "$round" &&
			pattern verify "$T" 100000 256 "$round"; } ||
			echo "writing" >>/tmp/application.failed
		echo "$round" >/tmp/application.round
		mv /tmp/application.round /tmp/application.rounds
	done
}

rounds_beyond() { # ROUND
	(($(</tmp/application.rounds) > $1))
}

end_application() {
	touch /tmp/application.end
	wait "$APPLICATION" || true
	[[ $(</tmp/application.rounds) -gt 0 ]]
}

# A disk of which some blocks get slow, another has to be read again, and all of these die then,
# while somebody uses it.
failing_disk() {
	local i
	modprobe -a dm-delay dm-flakey
	dmsetup create flaky --table "0 8 linear $DATA 90000"
	dmsetup create under --table "0 131072 linear $DATA 0"
	settle
	remapctl create t --data /dev/mapper/under --spare "$SPARE" --option on_read_error=relocate
	# in small pieces: of one that is slow, on a slow machine, the agent reads every block
	pattern write "$T" 0 131072 3 256
	udevadm control --stop-exec-queue	# it would want to read, too
	application 3>&- &
	APPLICATION=$!
	wait_for 120 test -s /tmp/application.rounds
	sick flaky
	dmsetup suspend --noudevsync under
	dmsetup resume --noudevsync under
	for i in 1 2 3; do
		needs_retries
		pause_between_strikes
	done
	# the agent, if there is one, has had three strikes of each by now
	for i in 80000 80008 90000; do
		[[ -z ${AGENT:-} ]] || wait_for 120 is_remapped "$i" || { cat "$LOG"; return 1; }
	done
	make_fast
	bad data 80000 80015
	bad data 90000 90007
	# one round may be half done
	wait_for 120 rounds_beyond $(($(</tmp/application.rounds) + 1))
	end_application
	udevadm control --start-exec-queue
	dmsetup remove --retry flaky
}

# Five seconds after the last strike the next one counts.
pause_between_strikes() {
	wait_for 20 later_than $((SECONDS + 5))
}

later_than() {
	((SECONDS > $1))
}

# 64 remap devices, t0 to t63, of 1 MiB each, on pieces of "data" and of a new "spare": where a
# spare ends, only the next one tells.
many_devices() {
	local i
	remove_null_blk spare
	make_null_blk spare 128
	dmsetup create piece --table "0 2048 linear $DATA 0"
	dmsetup create slots --table "0 4096 linear $SPARE 0"
	settle
	remapctl format --data /dev/mapper/piece --spare /dev/mapper/slots
	dmsetup remove --retry piece
	dmsetup remove --retry slots
	for ((i = 1; i < 64; i *= 2)); do	# each time what is there once more
		dd if="$SPARE" of="$SPARE" bs=2M oflag=direct seek="$i" count="$i" status=none
	done
	for ((i = 0; i < 64; i++)); do
		dmsetup create --noudevsync "t$i" \
			--table "0 2048 remap $DATA $((i * 2048)) $SPARE $((i * 4096))"
	done
	settle
}
