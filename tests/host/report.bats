#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The page of remapctl report in a browser: pages that tests/unit/test_report.c makes of a disk that
# fails, one that is well, one of which little is known, and of names that would rather be code.
# And what of report, map and the progress of long operations needs no device.

bats_require_minimum_version 1.5.0

PAGES=(failing well unknown hostile many)

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
}

setup_file() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	export PAGES_DIR=$BATS_FILE_TMPDIR
	REMAP_REPORT_PAGES=$PAGES_DIR build/unit/test_report >"$BATS_FILE_TMPDIR/log" 2>&1
}

# browser PAGE [OPTION]...: what it says; nothing of the machine's own setting, and no network
browser() {
	local page=$1 shell
	shift
	shell=$(type -P chromium-headless-shell || type -P chromium) ||
		skip "no browser (chromium-headless-shell)"
	timeout 120 "$shell" --headless --no-sandbox --disable-gpu --no-first-run --disable-quic \
		--disable-background-networking --disable-component-update --disable-sync \
		--host-resolver-rules="MAP * ~NOTFOUND" --hide-scrollbars \
		--user-data-dir="$BATS_TEST_TMPDIR/profile" "$@" "file://$PAGES_DIR/$page.html" \
		2>"$BATS_TEST_TMPDIR/stderr"
}

@test "pages are well formed, carry their data, and ask for nothing" {
	local page
	for page in "${PAGES[@]}"; do
		python3 tests/page.py "$PAGES_DIR/$page.html" >"$PAGES_DIR/$page.json"
		jq -e '.scripts == 2 and .data.verdict.headline != ""' "$PAGES_DIR/$page.json"
	done
}

# The page, with a script at its end that notes in its title what a person would stumble over.
measured() { # PAGE [OPTION]...: the title
	local page=$1
	shift
	{
		sed 's|</body></html>||' "$PAGES_DIR/$page.html"
		cat <<-'END'
			<script>addEventListener("load", function () {
			var wide = [], root = document.documentElement, w = root.clientWidth;
			document.querySelectorAll("main *").forEach(function (e) {
				if (!e.parentElement.closest(".scroll, svg") &&
				    e.getBoundingClientRect().right > w + 0.5)
					wide.push(e.tagName);
			});
			document.title = "MEASURED " + JSON.stringify({
				width: w, scroll: root.scrollWidth, wide: wide,
				tip: !!document.getElementById("tip"),
				foreign: document.querySelectorAll("img, b b, [onload]").length,
				back: getComputedStyle(document.body).backgroundColor,
				verdict: document.querySelector("#verdict h2")
					.getBoundingClientRect().bottom,
			}) })</script></body></html>
		END
	} >"$PAGES_DIR/measured.html"
	browser measured --dump-dom "$@" | sed -n 's|.*<title>MEASURED \(.*\)</title>.*|\1|p'
}

@test "on a phone as on a desk nothing sticks out, and the verdict is on the first screen" {
	local page size got
	browser well --dump-dom >/dev/null
	for size in 360,640 1200,900; do
		for page in "${PAGES[@]}"; do
			got=$(measured "$page" --window-size="$size")
			echo "$page $size: $got"
			[[ -n $got ]]
			jq -e --argjson width "${size%,*}" --argjson height "${size#*,}" '.tip and
				.foreign == 0 and .width == $width and .scroll <= $width and
				.wide == [] and .verdict < $height / 2' <<<"$got"
		done
	done
}

@test "it is light or dark as the reader has it" {
	local light dark
	browser well --dump-dom >/dev/null
	light=$(measured well --blink-settings=preferredColorScheme=1 | jq -r .back)
	dark=$(measured well --blink-settings=preferredColorScheme=0 | jq -r .back)
	echo "light $light, dark $dark"
	[[ $light == "rgb(245, 246, 248)" && $dark == "rgb(19, 22, 26)" ]]
}

@test "what the browser has made of it says what is wrong, where, and whether it gets worse" {
	local dom
	dom=$(browser failing --dump-dom)
	[[ $dom == *"Data is lost: 17 sectors, and the disk is getting worse."* ]]
	[[ $dom == *"sectors 412345600-412346271: 34 blocks remapped, 16 sectors lost"* ]]
	[[ $dom == *"errors and moves in the last 24 hours"* ]]
	dom=$(browser hostile --dump-dom)
	[[ $dom != *"<img"* && $dom == *"&lt;/script&gt;&lt;script&gt;alert('x')"* ]]
}

@test "a picture can be taken of it" {
	local size
	browser failing --window-size=1200,900 --screenshot="$BATS_TEST_TMPDIR/page.png"
	size=$(file "$BATS_TEST_TMPDIR/page.png")
	[[ $size == *"PNG image data, 1200 x 900"* ]]
	(($(stat -c %s "$BATS_TEST_TMPDIR/page.png") > 40000))
}

@test "what report and map do not take is said" {
	local arguments
	while read -r arguments; do
		# shellcheck disable=SC2086 # several words
		run --separate-stderr -2 build/bin/remapctl ${arguments%%:*}
		[[ -z $output && $stderr == "remapctl: "*"${arguments#*: }"* ]]
		[[ $stderr != *$'\n'* ]]
	done <<-'END'
		report: NAME is missing
		report t: --output is missing
		report t -o: -o: its value is missing
		report t -o - --json: cannot both go to standard output
		report t u -o x: one argument too many
		report t -o x -o y: --output given twice
		map: NAME is missing
		map t u: one argument too many
		map t -o x: unknown option
		status -o x: unknown option
	END
}

@test "a search says how far it is, on a terminal, and takes that away before it says more" {
	local spare=$BATS_TEST_TMPDIR/spare out=$BATS_TEST_TMPDIR/out
	truncate -s 128G "$spare"
	export TERM=xterm
	script -qec "build/bin/remapctl verify --spare $spare --search || true" /dev/null \
		</dev/null >"$out"
	cat -v "$out"
	grep -qE $'\r''search: [0-9]+ %, [0-9]+ of 131072, [0-9]+ MiB/s, [0-9:]+ left'$'\033' "$out"
	grep -qE $'\r\033''\[Kremapctl: [^'$'\033'']*: not a dm-remap spare[^'$'\033'']*$' "$out"
	run --separate-stderr -1 build/bin/remapctl verify --spare "$spare" --search
	[[ $stderr == "remapctl: $spare: not a dm-remap spare"* && $stderr != *$'\n'* ]]
}
