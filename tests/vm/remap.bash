# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the data path suites share: a remap device named "t" over a null_blk disk "data" and a
# null_blk spare "spare", and the words to ask about it.

load devices

PATH=$DM_REMAP_TREE/build/bin:$DM_REMAP_TREE/build/tests:$PATH
readonly T=/dev/mapper/t DATA=/dev/data SPARE=/dev/spare

load_module() {
	grep -qw '^dm_remap' /proc/modules && return
	modprobe dm-mod
	insmod "$DM_REMAP_KO"
}

# Bad sectors, by first and last, come and go while a null_blk device is in use. In pieces, for
# before 6.8 the kernel puts those of more than 512 in the wrong order, and finds but some of them.
bad() { # DEVICE FIRST LAST
	local first last

	for ((first = $2; first <= $3; first = last + 1)); do
		last=$((first + 511 < $3 ? first + 511 : $3))
		echo "+$first-$last" >"/sys/kernel/config/nullb/$1/badblocks"
	done
}

good() { # DEVICE FIRST LAST
	echo "-$2-$3" >"/sys/kernel/config/nullb/$1/badblocks"
}

# A field of the status: see "status --json" in remapctl(8).
field() { # NAME
	remapctl status t --json | jq -r ".[0].$1"
}

expect() { # FIELD VALUE
	local is
	is=$(field "$1")
	[[ $is == "$2" ]] || { echo "$1 is $is, expected $2"; remapctl status t; return 1; }
}

# Count what a command does to a field: changes FIELD BY COMMAND...
changes() {
	local what=$1 by=$2 before after
	shift 2
	before=$(field "$what")
	"$@" || return
	after=$(field "$what")
	[[ $before =~ ^[0-9]+$ && $after =~ ^[0-9]+$ ]] || { echo "$what: ?"; return 1; }
	((after - before == by)) || { echo "$what: $before -> $after, expected +$by"; return 1; }
}

restart() { # [DISK SPARE]
	remapctl stop t
	remapctl start t --data "${1:-$DATA}" --spare "${2:-$SPARE}"
}

# The kernel's own name of a null_blk device, which before 6.3 is a number's.
node_of() { # DEVICE
	basename "$(readlink -f "/dev/$1")"
}

stat_of() { # DEVICE
	echo "/sys/block/$(node_of "$1")/stat"
}

# Has a device requests on their way?
in_flight() { # DEVICE
	[[ $(awk '{ print $1 + $2 }' "/sys/block/$(node_of "$1")/inflight") -gt 0 ]]
}

state_is() { # STATE
	[[ $(field state) == "$1" ]]
}

# Has a device had more requests than so many? For loads that run in the background.
busier() { # DEVICE THAN
	(($(requests "$1") > $2))
}

requests() { # DEVICE
	awk '{ print $1 + $5 }' "$(stat_of "$1")"
}

partition() { # DEVICE NUMBER
	local node
	node=$(node_of "$1")
	[[ $node == *[0-9] ]] && node+=p
	echo "/dev/$node$2"
}

# verify in words: "ok ok stale corrupt ok"
replicas() {
	remapctl verify "$@" --json | jq -r '[.replicas[].state] | join(" ")'
}

# Offsets and length of the five copies of the metadata, in bytes: START... SIZE
zones() { # [SPARE]
	remapctl dump --spare "${1:-$SPARE}" --json | jq -r '(.zones[].sector, .zone_sectors) * 512'
}
