#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# "make install", into a folder, as who makes a package does, and "make uninstall".

bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	release=$(tools/vm --find-release 6)
	into=$BATS_TEST_TMPDIR/root
}

# Not as a part of the make that runs the tests.
install_() { # TARGET
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make --no-print-directory "$1" KVER="$release" \
		DESTDIR="$into" PREFIX=/usr
}

files() {
	(cd "$into" && find . ! -type d -printf '%m %p\n' | sort -k 2)
}

@test "make install puts everything in its place, once more too, and uninstall takes it away" {
	local unit
	install_ install
	files >"$BATS_TEST_TMPDIR/files"
	diff "$BATS_TEST_TMPDIR/files" - <<-END
		644 ./etc/remap-agent.conf
		644 ./lib/modules/$release/updates/dm-remap.ko
		644 ./usr/lib/systemd/system/remap-agent.service
		755 ./usr/sbin/remap-agent
		755 ./usr/sbin/remap-top
		755 ./usr/sbin/remapctl
		644 ./usr/share/man/man5/remap-agent.conf.5
		644 ./usr/share/man/man8/remap-agent.8
		644 ./usr/share/man/man8/remap-top.8
		644 ./usr/share/man/man8/remapctl.8
	END
	run -0 modinfo -F vermagic "$into/lib/modules/$release/updates/dm-remap.ko"
	[[ $output == "$release "* ]]
	unit=$into/usr/lib/systemd/system/remap-agent.service
	grep -qx "ExecStart=/usr/sbin/remap-agent" "$unit"
	run ! grep @SBINDIR@ "$unit"
	"$into/usr/sbin/remapctl" --version
	"$into/usr/sbin/remap-agent" --test --config "$into/etc/remap-agent.conf"
	# a configuration that somebody has changed is theirs
	echo "; mine" >>"$into/etc/remap-agent.conf"
	install_ install
	tail -n 1 "$into/etc/remap-agent.conf" | grep -qx "; mine"
	install_ uninstall
	[[ $(files) == "644 ./etc/remap-agent.conf" ]]
}
