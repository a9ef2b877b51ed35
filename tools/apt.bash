# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Debian packages, for tools/setup and tools/debug-kernel: installed, or only downloaded, also from
# a suite that this machine's configuration of apt does not name. What reads this has a function
# "die", and calls apt_begin before all else.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

apt=(-o APT::Get::Assume-Yes=true -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120
	-o APT::Sandbox::User=root)

# shellcheck source=/dev/null
. /etc/os-release
arch=$(dpkg --print-architecture)
[[ $arch == amd64 ]] || die "knows amd64, not $arch"

# Prints those of the named packages that are not installed.
missing_packages() {
	local package installed

	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n')
	for package; do
		grep -qxF "installed $package" <<<"$installed" || echo "$package"
	done
}

# A folder to work in, which goes away with the script.
apt_begin() {
	export DEBIAN_FRONTEND=noninteractive
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
}

# Run an apt tool; its talk is shown only with V=1, or when it fails.
quietly() {
	if [[ ${V:-} == 1 ]]; then
		"$@"
	elif ! "$@" >"$work/log" 2>&1; then
		tail -n 20 "$work/log" >&2
		return 1
	fi
}

# apt options that make it see the machine's Debian suites plus those named, and nothing else.
use_suites() {
	local mirror suite own

	# shellcheck disable=SC2016 # apt expands these
	own=$(apt-get indextargets --no-release-info \
		--format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort -u |
		sed -nE "s/ ($VERSION_CODENAME(-updates|-security)?) main\$/ \1/p") || true
	mirror=$(sed -n "s/ $VERSION_CODENAME\$//p" <<<"$own" | head -n 1)
	[[ -n $mirror ]] || die "no source for $VERSION_CODENAME in apt's configuration"
	[[ -r $keyring ]] || die "no $keyring (package debian-archive-keyring)"
	mkdir -p "$work/lists/partial"
	while read -r suite; do
		echo "deb [signed-by=$keyring] $suite main"
	done < <(echo "$own"; for suite; do echo "$mirror $suite"; done) >"$work/sources.list"
	private=("${apt[@]}" -o Dir::Etc::sourcelist="$work/sources.list"
		-o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists"
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
	quietly apt-get "${private[@]}" -o APT::Update::Error-Mode=any update ||
		die "cannot reach $mirror"
}

# The same, for what belongs to a kernel series.
use_suites_of_kernel() {
	case $VERSION_CODENAME-$1 in
	bookworm-6.12) use_suites bookworm-backports ;;
	*) use_suites ;;
	esac
}

install_packages() {
	quietly apt-get "${apt[@]}" --no-install-recommends install "$@" ||
		die "could not install: $*"
}
