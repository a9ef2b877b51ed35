#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# remap-agent: what it leaves alone, what it holds out against, and how it goes without it.

bats_require_minimum_version 1.5.0
load agent

setup() {
	[[ -r /sys/kernel/btf/vmlinux ]] || skip "the kernel has no BTF"
	load_module
	rm -rf "$STATE" "$CONFIG" "$LOG"
	make_null_blk data 64
	make_null_blk spare 16
}

teardown() {
	touch /tmp/application.end
	udevadm control --start-exec-queue	# or nothing could be taken away
	end_agent
	remove_devices
}

# Memory that a process had at most, in KiB.
peak() { # PID
	awk '/^VmHWM:/ { print $2 }' "/proc/$1/status"
}

@test "a second agent refuses; mistakes in the configuration are named and change nothing" {
	agent
	run -1 remap-agent --config "$CONFIG" --state "$STATE"
	[[ $output == "remap-agent: another remap-agent runs already, as process $AGENT" ]]
	configure "[move]" "strikes = 99" "wimdow = 3s"
	kill -HUP "$AGENT"
	says 20 "the configuration stays as it was"
	logged "$CONFIG:2: strikes = 99: must be from 1 to 8, or 0"
	logged "$CONFIG:3: wimdow: no such setting in [move]"
	configure "[agent]" "metrics = 127.0.0.1:9500"
	kill -HUP "$AGENT"
	says 20 "read the configuration again"
	curl -sf http://127.0.0.1:9500/metrics | grep -q "^# EOF"
	run ! metrics
	end_agent
	configure "[agent]" "metrics = 192.0.2.1:80"
	run -1 remap-agent --config "$CONFIG" --state "$STATE"
	[[ $output == "remap-agent: cannot serve metrics at 192.0.2.1:80: "*"(metrics = "* ]]
	run -1 remap-agent --config "$CONFIG" --state /proc/nowhere
	run -2 remap-agent --frob
}

@test "what it says and how it stands others can read; what they cannot is said once" {
	local run=/run/remap-agent
	rm -rf $run
	configure "[move]" "slow = 100ms"
	remapctl create t --data "$DATA" --spare "$SPARE"
	agent
	bad data 40000 40007
	run ! read_sector 40000
	says 60 "t: 8 sectors are lost"
	says 60 "t: read sectors 0 to 131071"
	# all that the log has of it, in the same words and the same order
	same() {
		[[ $(jq -r 'select(.name == "t") | "remap-agent: t: " + .text' $run/events) == \
			"$(grep '^remap-agent: t: ' "$LOG")" ]]
	}
	wait_for 20 same
	jq -s -e 'any(.what == "error" and .sector == 40000 and .priority == 4)' $run/events
	jq -s -e 'any(.what == "lost" and .priority == 1)' $run/events
	jq -s -e 'any(.what == "scrub" and .result == "done" and .sectors == 131072)' $run/events
	jq -s -e --arg uuid "$(remapctl dump --spare "$SPARE" --json | jq -r .uuid)" \
		'all(.uuid == $uuid)' $run/events
	scrubbed() { jq -e '.telemetry and .targets[0].scrubbed > 1700000000' $run/status.json; }
	wait_for 20 scrubbed
	jq -e '.targets[0] | .name == "t" and .scrubbing == false and
		.replicas == ["ok", "ok", "ok", "ok", "ok"]' $run/status.json
	end_agent
	# somebody else's
	rm $run/events
	mkdir $run/events
	agent
	says 20 "t: replicas of the metadata"
	says 20 "others cannot read what happens: $run/events: Is a directory"
	[[ $(times_logged "others cannot read") == 1 ]]
	end_agent
	rm -rf $run
}

@test "in a dry run it says what it would do" {
	configure "[move]" "slow = 100ms" "[scrub]" "interval = 0"
	slow_disk 80000 8 300
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	agent --dry-run
	read_until_said() { read_sector 80000; logged "t: would move block 10000 (sector 80000)"; }
	wait_for 60 read_until_said
	[[ -z $(remapped) ]]
}

@test "a device that does not answer holds up nobody else" {
	make_null_blk other 64
	make_null_blk third 16
	configure "[read]" "rate = 64M"
	dmsetup create under --table "0 131072 linear $DATA 0"
	dmsetup create spare2 --table "0 32768 linear $SPARE 0"
	settle
	remapctl create u --data /dev/mapper/under --spare /dev/mapper/spare2
	remapctl create t --data /dev/other --spare /dev/third
	dmsetup suspend --noflush --nolockfs spare2
	dmsetup suspend --noflush --nolockfs under
	agent
	says 20 "u: found"
	# it waits for both devices of that one
	says 20 "t: replicas of the metadata: ok ok ok ok ok"
	says 20 "t: read sectors 0 to 131071: all is well"
	[[ $(metric 'dm_remap_scrub_running{target="u"}') == 1 ]]
	run ! logged "u: read sectors"
	run ! logged "u: replicas"
	dmsetup resume under
	dmsetup resume spare2
	says 20 "u: replicas of the metadata: ok ok ok ok ok"
	says 20 "u: read sectors 0 to 131071: all is well"
}

@test "blocks get slow, need retries, die: without the agent they are lost" {
	takes_long
	failing_disk
	grep -q reading /tmp/application.failed
	run -1 pattern verify "$T" 0 100000 3
	# one that needed retries may have needed two, and so have been moved without the agent
	(($(field lost_sectors) >= 16))
}

# The ring holds 14,000 events: most of these are dropped, and counted.
@test "a storm of a million errors: bounded memory, few words, and every error is counted once" {
	takes_long
	local missed seen i million=$((1 << 20))
	# nobody but fio reads
	configure "[scrub]" "interval = 0" "[read]" "neighbourhood = 0"
	remapctl create t --data "$DATA" --spare "$SPARE"
	agent
	says 20 "t: replicas of the metadata"
	# not at once: 6.1 keeps a long list that it gets in one piece in the wrong order
	for ((i = 0; i < 131072; i += 512)); do
		bad data "$i" $((i + 511))
	done
	# each is to be a request of its own
	echo 2 >"/sys/block/$(node_of data)/queue/nomerges"
	for ((i = 0; i < million; i += 131072)); do
		run fio --name=storm --filename="$DATA" --ioengine=libaio --iodepth=64 \
			--direct=1 --rw=read --bs=512 --size=64m --continue_on_error=all --minimal
	done
	all_seen() {
		missed=$(metric remap_agent_ios_missed_total)
		seen=$(metric 'dm_remap_device_errors_total{target="t",device="data"}')
		echo "seen $seen, missed $missed"
		((seen + missed >= million))
	}
	wait_for 60 all_seen
	((seen <= million))
	# all of it is bad, which is no reason to move any of it
	run ! read_sector 0
	wait_for 60 logged "t: state is paused"
	cat "$LOG"
	metrics | grep dropped
	echo "peak: $(peak "$AGENT") KiB, $(grep -c . "$LOG") lines"
	(($(peak "$AGENT") < 32768))
	(($(grep -c . "$LOG") < 100))
	for ((i = 0; i < 131072; i += 512)); do
		good data "$i" $((i + 511))
	done
	remapctl reset t
	says 20 "t: state is active again"
}

@test "64 devices: each is watched and checked, in bounded memory" {
	takes_long
	local i
	many_devices
	agent
	all_checked() { [[ $(times_logged "replicas of the metadata: ok ok ok ok ok") == 64 ]]; }
	wait_for 120 all_checked
	[[ $(metrics | grep -c '^dm_remap_device_ios_total{.*op="read"}') == 128 ]]
	run ! logged "not watched"
	echo "peak: $(peak "$AGENT") KiB, $(metrics | wc -c) bytes of metrics"
	(($(peak "$AGENT") < 65536))
	for ((i = 0; i < 64; i++)); do
		dmsetup remove --retry --noudevsync "t$i"
	done
	all_gone() { [[ $(times_logged "is gone") == 64 ]]; }
	wait_for 60 all_gone
	wait_for 10 gone
}

@test "where its state cannot be saved it says so once, and saves it when it can" {
	mkdir "$STATE"
	mount -t tmpfs -o size=64k none "$STATE"
	run dd if=/dev/zero of="$STATE/full" bs=4096
	configure "[read]" "rate = 1G"
	remapctl create t --data "$DATA" --spare "$SPARE"
	agent
	says 20 "t: cannot save what was done: "
	logged "/t.json.new: No space left on device" || logged ".json.new: No space left on device"
	says 60 "t: read sectors 0 to 131071: all is well"
	remapctl remap t 800
	checked_again() { [[ $(times_logged "t: replicas of the metadata: ok") == 2 ]]; }
	wait_for 60 checked_again
	[[ $(times_logged "cannot save") == 1 ]]
	run ! ls "$STATE"/*.json
	rm "$STATE/full"
	says 90 "t: what was done is saved again"
	jq -e '.scrubbed > 1700000000' "$STATE"/*.json
	end_agent
	umount "$STATE"
}

@test "the clock may be set to and fro" {
	local before
	configure "[read]" "rate = 1G"
	remapctl create t --data "$DATA" --spare "$SPARE"
	agent
	says 60 "t: read sectors 0 to 131071: all is well"
	checked() { [[ $(times_logged "t: replicas of the metadata: ok") == "$1" ]]; }
	wait_for 20 checked 1
	before=$(date +%s)
	# neither is it time to do anything, nor does what happens go unseen
	date -s "@$((before + 20 * 86400))"
	remapctl remap t 800
	wait_for 60 checked 2
	date -s "@$((before - 20 * 86400))"
	remapctl remap t 1600
	wait_for 60 checked 3
	[[ $(times_logged "t: reading sectors") == 1 ]]
	# as far as can be known it was just now
	end_agent
	date -s "@$((before - 40 * 86400))"
	agent
	wait_for 20 checked 1
	run ! logged "t: reading sectors"
	date -s "@$before"
}

# What the status line alone tells is seen in between.
@test "a trickle of errors keeps it from nothing, and nothing happening wakes it little" {
	local woken began
	configure "[scrub]" "interval = 0" "[read]" "neighbourhood = 0"
	remapctl create t --data "$DATA" --spare "$SPARE" --option on_read_error=pass
	agent
	says 20 "t: replicas of the metadata"
	switches() { awk '/^voluntary/ { print $2 }' "/proc/$AGENT/status"; }
	read -r began _ </proc/uptime
	woken=$(switches)
	wait_for 30 later_than $((SECONDS + 12))
	read -r now _ </proc/uptime
	echo "$(($(switches) - woken)) times in $began to $now s"
	(($(switches) - woken < 5 * (${now%.*} - ${began%.*})))
	bad data 40000 40007
	trickle() {
		dd if="$T" of=/dev/null iflag=direct bs=4096 count=1 skip=5000 status=none || true
		(($(metric 'dm_remap_io_errors_total{target="t"}') > 0))
	}
	wait_for 30 trickle
}

@test "names of all kinds: in the metrics, and where a check by name is not possible" {
	local table
	remapctl create t --data "$DATA" --spare "$SPARE"
	table=$(dmsetup table t)
	remapctl stop t
	# a check at the target needs the name; its spare cannot be the one of that uuid
	dmsetup create --manglename none 'o"dd' --uuid 'dm-remap-a"b\c' --table "$table"
	configure "[scrub]" "interval = 0"
	agent
	says 20 ": could not check the replicas of the metadata"
	metrics | grep '^dm_remap_target_info'
	python3 - <<-'END'
		import re, urllib.request
		text = urllib.request.urlopen("http://127.0.0.1:9477/metrics").read().decode()
		label = r'[a-z_]+="(?:[^"\\\n]|\\[n"\\])*"'
		sample = re.compile(r'[a-z_]+(?:\{%s(?:,%s)*\})? [0-9.e+-]+$' % (label, label))
		for line in text.splitlines():
		    assert line.startswith("#") or sample.match(line), line
	END
	# that is no reason to repair anything, or to wake anybody
	run ! logged "repair"
	dmsetup remove --retry --manglename none 'o"dd'
}

@test "who connects and says nothing keeps nobody from the metrics" {
	agent
	python3 - <<-'END'
		import socket, urllib.request
		silent = [socket.create_connection(("127.0.0.1", 9477)) for _ in range(64)]
		text = urllib.request.urlopen("http://127.0.0.1:9477/metrics", timeout=60).read()
		assert text.endswith(b"# EOF\n")
	END
}

@test "of each device that cannot be asked it is said once why it is not looked after" {
	dmsetup create left1 --notable --uuid REMAP-1
	dmsetup create left2 --notable --uuid REMAP-2
	agent
	says 30 "not looked after: left1: has no table"
	says 30 "not looked after: left2: has no table"
	remapctl create t --data "$DATA" --spare "$SPARE"
	says 20 "t: found"
	dmsetup rename t u
	says 20 "t: is called u now"
	[[ $(times_logged "not looked after") == 2 ]]
	dmsetup remove --retry left1
	dmsetup remove --retry left2
	dmsetup rename u t
	says 20 "u: is called t now"
}

@test "a spare that has grown is watched where it has" {
	dmsetup create under --table "0 16384 linear $SPARE 0"
	settle
	remapctl create t --data "$DATA" --spare /dev/mapper/under
	agent
	says 20 "t: replicas of the metadata: ok ok ok ok ok"
	# nobody else reads it
	settle
	udevadm control --stop-exec-queue
	dmsetup suspend --noudevsync under
	dmsetup load under --table "0 32768 linear $SPARE 0"
	dmsetup resume --noudevsync under
	reads() { metric 'dm_remap_device_ios_total{target="t",device="spare",op="read"}'; }
	seen() {
		local before
		before=$(reads)
		read_sector 24000 /dev/mapper/under
		(($(reads) > before))
	}
	wait_for 30 seen
}
