#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# remap-agent: what it sees coming, what it does about it, and what it tells.

bats_require_minimum_version 1.5.0
load agent

setup() {
	[[ -r /sys/kernel/btf/vmlinux ]] || skip "the kernel has no BTF"
	load_module
	rm -rf "$STATE" "$CONFIG" "$LOG" /run/remap-agent
	make_null_blk data 64
	make_null_blk spare 16
}

teardown() {
	touch /tmp/application.end
	udevadm control --start-exec-queue	# or nothing could be taken away
	end_agent
	remove_devices
}

@test "a device that comes is checked, one that goes is forgotten, and the module can go then" {
	agent
	run ! logged "found"
	remapctl create t --data "$DATA" --spare "$SPARE"
	says 20 "t: found: 131072 sectors, state active"
	says 20 "t: checking the replicas of the metadata: the agent has not seen them yet"
	says 20 "t: replicas of the metadata: ok ok ok ok ok"
	[[ $(metric 'dm_remap_replica_state{target="t",state="ok"}') == 5 ]]
	[[ $(metric 'dm_remap_device_ios_total{target="t",device="data",op="read"}') -ge 0 ]]
	dmsetup rename t u
	says 20 "t: is called u now"
	[[ $(metric 'dm_remap_lost_sectors{target="u"}') == 0 ]]
	dmsetup rename u t
	remapctl stop t
	says 20 "is gone"
	wait_for 10 gone
	wait_for 10 rmmod dm-remap
}

@test "a block that is slow is read again, and moved at the third time, while it can be read" {
	configure "[move]" "slow = 100ms" "[scrub]" "interval = 0"
	pattern write "$DATA" 0 131072 7
	slow_disk 80000 8 300
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	agent
	read_sector 80000
	says 60 "t: moved sectors 80000 to 80007"
	cat "$LOG"
	logged "t: a read was slow at sector 80000"
	[[ $(times_logged "t: reading sectors 80000 to 80007: it was slow or hard to read") == 2 ]]
	logged "t: moving sectors 80000 to 80007: block 10000 was slow or hard to read 3 times in"
	[[ $(remapped) == 80000 ]]
	pattern verify "$T" 0 131072 7
	expect lost_sectors 0
	[[ $(metric 'remap_agent_actions_total{target="t",action="move",result="done"}') == 1 ]]
}

@test "after an error its neighbourhood is read, and what is bad there moved" {
	remapctl create t --data "$DATA" --spare "$SPARE"
	agent
	bad data 40000 40007
	bad data 41000 41000
	bad data 60000 60007
	dd if=/dev/zero of="$T" oflag=direct bs=4096 count=1 seek=5000 status=none
	says 30 "t: reading sectors 37952 to 42055: something was wrong there"
	wait_for 60 is_remapped 41000
	says 60 "could not be read, the first is 41000"
	cat "$LOG"
	[[ $(remapped | paste -sd ' ') == "40000 41000" ]]
	expect lost_sectors 1
	says 20 "t: 1 sectors are lost, there were 0"
}

@test "what happens before it has read what was done before is not forgotten" {
	local uuid sector
	configure "[read]" "neighbourhood = 64K"
	remapctl create t --data "$DATA" --spare "$SPARE"
	uuid=$(remapctl status t --json | jq -r '.[0].uuid')
	mkdir "$STATE"
	# a file that is there, but does not answer
	mkfifo "$STATE/$uuid.json"
	agent
	# more than are remembered each by itself
	for ((sector = 40000; sector < 48000; sector += 80)); do
		bad data "$sector" "$sector"
		run ! read_sector "$sector"
	done
	heard() {
		(($(grep -o "[0-9]* failed reads and writes" "$LOG" |
			awk '{ n += $1 } END { print n + 0 }') >= 150))
	}
	wait_for 60 heard
	run ! logged "t: reading sectors"
	: >"$STATE/$uuid.json"
	says 60 "t: reading sectors 39872 to "
	logged "something was wrong there"
	says 60 "something was wrong, and it is not known where"
}

@test "a target that is a part of its device: its own sectors are read, moved and told of" {
	make_null_blk other 16
	remapctl format --data "$DATA" --spare "$SPARE"
	printf '%s\n' "0 8192 linear /dev/other 0" "8192 131072 remap $DATA 0 $SPARE 0" \
		"139264 8192 linear /dev/other 8192" | dmsetup create t
	bad data 120000 120003
	bad other 8 15
	configure "[scrub]" "interval = 30d" "[read]" "rate = 1G"
	agent
	says 60 "t: read sectors 0 to 131071: 8 could not be read, the first is 120000"
	is_remapped 120000
	logged "t: replicas of the metadata: ok ok ok ok ok"
	bad data 40000 40000
	run ! read_sector 48192
	says 60 "t: reading sectors 37952 to 420"
	[[ $(remapped) == $'40000\n120000' ]]
	run ! logged "gave up"
	dmsetup remove --retry t
	says 20 "is gone"
	remove_null_blk other
}

@test "replicas that are damaged are repaired; where that does not help a person is told" {
	local start size uuid bad program=/tmp/program
	cat >"$program" <<-'END'
		#!/bin/sh
		env="$REMAP_EVENT $REMAP_NAME $REMAP_UUID $REMAP_SEVERITY $REMAP_MESSAGE"
		echo "$# $1 $2 $3 | $env" >>/tmp/told
	END
	chmod +x "$program"
	rm -f /tmp/told
	configure "[scrub]" "interval = 0" "[agent]" "program = $program"
	remapctl create t --data "$DATA" --spare "$SPARE"
	read -r -a start < <(zones | paste -sd ' ')
	size=${start[5]}
	agent
	says 20 "t: replicas of the metadata: ok ok ok ok ok"
	dd if=/dev/urandom of="$SPARE" oflag=direct bs=4096 count=$((size / 4096)) \
		seek=$((start[2] / 4096)) status=none
	# whatever moves is a reason to look
	remapctl remap t 800
	says 30 "t: replicas of the metadata: ok ok corrupt ok ok"
	says 20 "t: repaired the replicas of the metadata"
	repaired() { [[ $(times_logged "t: replicas of the metadata: ok ok ok ok ok") -ge 2 ]]; }
	wait_for 20 repaired
	[[ $(replicas t) == "ok ok ok ok ok" ]]
	[[ ! -e /tmp/told ]]
	bad spare $((start[3] / 512)) $(((start[3] + size) / 512 - 1))
	remapctl remap t 1600
	says 60 "t: replicas of the metadata are not whole, and repair does not help"
	wait_for 20 test -s /tmp/told
	cat /tmp/told
	uuid=$(remapctl dump --spare "$SPARE" --json | jq -r .uuid)
	bad="replicas of the metadata are not whole"
	grep -q "^3 replicas t $bad, .* | replicas t $uuid alert $bad" /tmp/told
	[[ $(metric 'dm_remap_replica_state{target="t",state="unreadable"}') == 1 ]]
	[[ $(metric 'remap_agent_events_total{target="t",event="replicas"}') == 1 ]]
	good spare $((start[3] / 512)) $(((start[3] + size) / 512 - 1))
	remapctl remap t 2400
	says 60 "t: all five replicas of the metadata are whole again"
	[[ $(replicas t) == "ok ok ok ok ok" ]]
}

@test "the surface is read, found bad blocks are moved, and kill -9 loses nothing of it" {
	local at
	configure "[read]" "rate = 1M"
	remapctl create t --data "$DATA" --spare "$SPARE"
	bad data 120000 120003
	agent
	says 20 "t: reading sectors 0 to 131071: it is time to"
	saved() { (($(cat "$STATE"/*.json | jq '.scrub_at // 0') + 0 > 0)); }
	wait_for 60 saved
	at=$(jq .scrub_at "$STATE"/*.json)
	metric 'dm_remap_scrub_running{target="t"}' | grep -qx 1
	# the device can be stopped nevertheless
	remapctl stop t
	says 20 "is gone"
	remapctl start t --data "$DATA" --spare "$SPARE"
	resumed() { grep -q "t: reading sectors [1-9][0-9]* to 131071: going on" "$LOG"; }
	wait_for 20 resumed
	kill -9 "$AGENT"
	wait "$AGENT" || true
	# its children went with it
	alone() { ! pgrep -x remap-agent; }
	wait_for 10 alone
	configure "[read]" "rate = 1G"
	agent
	wait_for 20 resumed
	(($(sed -n 's/.*reading sectors \([0-9]*\) to 131071: going on.*/\1/p' "$LOG") >= at))
	says 60 "t: read sectors "
	cat "$LOG"
	grep -q "t: read sectors .* to 131071: 8 could not be read, the first is 120000" "$LOG"
	is_remapped 120000
	expect lost_sectors 4
	(($(metric 'dm_remap_scrubbed_timestamp_seconds{target="t"}') > 1700000000))
	end_agent
	# not once more; what is left to do of a neighbourhood it may go on with
	agent
	says 20 "t: replicas of the metadata"
	run ! logged "it is time to"
}

@test "blocks get slow, need retries, die: with the agent nothing is lost" {
	configure "[move]" "slow = 600ms" "[scrub]" "interval = 0"
	agent
	failing_disk
	cat "$LOG"
	[[ ! -s /tmp/application.failed ]]
	pattern verify "$T" 0 100000 3
	[[ $(remapped | paste -sd ' ') == "80000 80008 90000" ]]
	expect lost_sectors 0
	expect io_errors 0
	(($(field reads_recovered) >= 1))
}

# The last thing that was saved by itself may be ten seconds old.
@test "what is under way and what is still to be done are saved when it is told to end" {
	local at
	configure "[read]" "rate = 1M"
	remapctl create t --data "$DATA" --spare "$SPARE"
	agent
	says 20 "t: reading sectors 0 to 131071: it is time to"
	further() { (($(metric 'dm_remap_scrub_sectors{target="t"}') > $1)); }
	wait_for 60 further 0
	at=$(metric 'dm_remap_scrub_sectors{target="t"}')
	wait_for 60 further "$at"
	at=$(metric 'dm_remap_scrub_sectors{target="t"}')
	bad data 40000 40007
	dd if=/dev/zero of="$T" oflag=direct bs=4096 count=1 seek=5000 status=none
	says 20 "t: reading sectors 37952 to 42055: something was wrong there"
	end_agent
	run ! logged "not all saved"
	cat "$STATE"/*.json
	jq -e --argjson at "$at" '.scrub_at >= $at and .scrub_for == "time" and
		.to_read[0][0] >= 37952 and .to_read[0][1] == 42056' "$STATE"/*.json
	# what is read goes on at another rate as soon as it is told
	agent
	says 20 "to 131071: going on where it stopped"
	configure "[read]" "rate = 1G"
	kill -HUP "$AGENT"
	says 60 "to 131071: all is well"
	says 20 "to 42055: all is well"
}

# It is stopped, so that the signal and the event wait for it together.
@test "what has happened is not forgotten when it is told to end before it has heard of it" {
	remapctl create t --data "$DATA" --spare "$SPARE"
	agent
	says 20 "t: replicas of the metadata: ok ok ok ok ok"
	kill -STOP "$AGENT"
	bad data 40000 40007
	dd if=/dev/zero of="$T" oflag=direct bs=4096 count=1 seek=5000 status=none
	kill "$AGENT"
	kill -CONT "$AGENT"
	end_agent
	cat "$LOG" "$STATE"/*.json
	jq -e '.to_read[0] == [37952, 42056]' "$STATE"/*.json
}
