#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# remap-agent as a service: what it needs, what it tells systemd, the journal and Prometheus, and
# what it does without BPF.

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
	end_agent
	[[ -z ${OTHER:-} ]] || kill "$OTHER" 2>/dev/null || true
	remove_devices
}

@test "the capabilities of its unit are all that it needs" {
	local caps
	caps=$(sed -n 's/^CapabilityBoundingSet=CAP_//p' \
		"$DM_REMAP_TREE/user/agent/remap-agent.service.in")
	caps=${caps,,}
	AGENT_BY=(setpriv --no-new-privs --inh-caps=-all --bounding-set "-all,+${caps// cap_/,+}")
	# nor is it given more of anything else than its manual says
	sed 's|@SBINDIR@|/usr/sbin|' "$DM_REMAP_TREE/user/agent/remap-agent.service.in" \
		>/tmp/remap-agent.service
	systemd-analyze security --offline=true --threshold=34 /tmp/remap-agent.service
	configure "[move]" "slow = 100ms"
	slow_disk 80000 8 300
	remapctl create t --data /dev/mapper/under --spare "$SPARE"
	agent
	# 17, 21, 34, 38, 39 of linux/capability.h
	grep -qx "CapEff:	000000c400220000" "/proc/$AGENT/status"
	run ! logged "telemetry"
	says 30 "t: replicas of the metadata: ok ok ok ok ok"
	read_until_moved() { read_sector 80000; is_remapped 80000; }
	wait_for 60 read_until_moved
	says 60 "t: read sectors 0 to 131071: all is well"
	saved() { jq -e '.version == 1 and .moved_today == 1' "$STATE"/*.json; }
	wait_for 20 saved
}

@test "systemd is told when it is ready, that it lives, and when it ends" {
	cat >/tmp/listen.py <<-'END'
		import os, socket
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind("/tmp/notify")
		log = open("/tmp/notified", "w", buffering=1)
		while True:
		    log.write(s.recv(4096).decode() + "\n")
	END
	rm -f /tmp/notify /tmp/notified
	python3 /tmp/listen.py 3>&- &
	OTHER=$!
	wait_for 20 test -S /tmp/notify
	AGENT_BY=(env NOTIFY_SOCKET=/tmp/notify WATCHDOG_USEC=2000000)
	agent
	lives() { [[ $(grep -c '^WATCHDOG=1' /tmp/notified) -ge 3 ]]; }
	wait_for 30 lives
	grep -qx READY=1 /tmp/notified
	kill -HUP "$AGENT"
	wait_for 20 grep -qx RELOADING=1 /tmp/notified
	again() { [[ $(grep -c '^READY=1' /tmp/notified) == 2 ]]; }
	wait_for 20 again
	end_agent
	grep -qx STOPPING=1 /tmp/notified
}

@test "the journal gets fields" {
	local entry stream
	mkdir -p /run/systemd/journal
	/lib/systemd/systemd-journald 3>&- &
	OTHER=$!
	wait_for 20 test -S /run/systemd/journal/socket
	remapctl create t --data "$DATA" --spare "$SPARE"
	configure "[scrub]" "interval = 0"
	# standard error is the journal, as systemd tells it
	: >"$LOG"
	stream=$(stat -L -c %d:%i "$LOG")
	JOURNAL_STREAM=$stream remap-agent --config "$CONFIG" --state "$STATE" 2>>"$LOG" 3>&- &
	AGENT=$!
	journal() {
		journalctl -o json --no-pager SYSLOG_IDENTIFIER=remap-agent | jq -c "select($1)"
	}
	checked() { [[ -n $(journal '.REMAP_ACTION == "check" and .REMAP_RESULT == "done"') ]]; }
	wait_for 60 checked
	[[ $(journal '.REMAP_ACTION == "check" and .REMAP_RESULT == "begun"' | jq -r .MESSAGE) == \
		"t: checking the replicas of the metadata: the agent has not seen them yet" ]]
	entry=$(journal '.REMAP_ACTION == "check" and .REMAP_RESULT == "done"')
	echo "$entry"
	[[ $(jq -r '"\(.REMAP_NAME) \(.PRIORITY) \(.MESSAGE)"' <<<"$entry") == \
		"t 6 t: replicas of the metadata: ok ok ok ok ok" ]]
	[[ $(jq -r .REMAP_UUID <<<"$entry") == \
		"$(remapctl dump --spare "$SPARE" --json | jq -r .uuid)" ]]
	bad data 40000 40007
	run ! read_sector 40000
	lost() { [[ -n $(journal '.REMAP_EVENT == "lost" and .PRIORITY == "1"') ]]; }
	wait_for 30 lost
	near() { [[ -n $(journal '.REMAP_ACTION == "read" and .REMAP_SECTOR == "37952"') ]]; }
	wait_for 30 near
	[[ ! -s $LOG ]]
}

@test "Prometheus takes all of its metrics" {
	remapctl create t --data "$DATA" --spare "$SPARE"
	agent
	dd if="$T" of=/dev/null iflag=direct bs=4096 count=100 status=none
	cat >/tmp/prometheus.yml <<-END
		global: { scrape_interval: 1s }
		scrape_configs:
		- job_name: remap
		  static_configs: [ { targets: [ "127.0.0.1:9477" ] } ]
	END
	prometheus --config.file=/tmp/prometheus.yml --storage.tsdb.path=/tmp/prometheus \
		--web.listen-address=127.0.0.1:9090 >/tmp/prometheus.log 2>&1 3>&- &
	OTHER=$!
	query() {
		curl -sfG --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query |
			jq -r '.data.result[0].value[1]'
	}
	up() { [[ $(query 'up{job="remap"}') == 1 ]]; }
	wait_for 120 up || { cat /tmp/prometheus.log; return 1; }
	[[ $(query 'dm_remap_state{target="t",dm_remap_state="active"}') == 1 ]]
	[[ $(query 'dm_remap_slots{target="t",kind="used"}') == 0 ]]
	(($(query 'dm_remap_device_ios_total{target="t",device="data",op="read"}') >= 100))
	query 'histogram_quantile(0.5,
		dm_remap_device_latency_seconds_bucket{device="data",op="read"})' |
		grep -qE '^[0-9.e-]+$'
	# every sample that is served has arrived
	[[ $(query 'scrape_samples_scraped{job="remap"}') == $(metrics | grep -vc '^#') ]]
}

@test "without BTF it says so, and goes on with what device-mapper tells" {
	# nor in the other places where libbpf looks for it
	# shellcheck disable=SC2016 # the inner shell expands it
	AGENT_BY=(unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf &&
		mount -t tmpfs none /lib/modules && exec "$@"' sh)
	remapctl create t --data "$DATA" --spare "$SPARE"
	configure "[read]" "rate = 1G"
	agent
	cat "$LOG"
	logged "no telemetry: cannot load the BPF programs: the kernel has no BTF"
	metrics | grep -qx "remap_agent_telemetry 0"
	says 60 "t: read sectors 0 to 131071: all is well"
	[[ $(times_logged "t: replicas of the metadata: ok ok ok ok ok") == 1 ]]
	bad data 40000 40007
	dd if=/dev/zero of="$T" oflag=direct bs=4096 count=1 seek=5000 status=none
	again() { [[ $(times_logged "t: replicas of the metadata: ok ok ok ok ok") == 2 ]]; }
	wait_for 60 again
}

# No disk here has counts that can be made to rise, so smartctl is one that reads them from a file.
@test "when a disk counts more bad sectors than it did, its surface is read" {
	mkdir -p /tmp/bin
	printf '#!/bin/sh\necho "$@" >>/tmp/smart-asked\ncat /tmp/smart.json\n' >/tmp/bin/smartctl
	chmod +x /tmp/bin/smartctl
	PATH=/tmp/bin:$PATH
	configure "[read]" "rate = 1G"
	echo '{"scsi_grown_defect_list":3}' >/tmp/smart.json
	remapctl create t --data "$DATA" --spare "$SPARE"
	agent
	says 60 "t: read sectors 0 to 131071: all is well"
	knows() { [[ $(metric 'dm_remap_smart_bad_sectors{target="t"}') == "$1" ]]; }
	wait_for 20 knows 3
	grep -q -- "^--nocheck=standby --json --attributes /dev/$(node_of data)$" /tmp/smart-asked
	end_agent
	# the rise is seen though it came while there was no agent
	echo '{"scsi_grown_defect_list":5}' >/tmp/smart.json
	agent
	says 20 "t: the disk itself counts more bad sectors than before (SMART)"
	wait_for 20 knows 5
	says 60 "t: read sectors 0 to 131071: all is well"
}
