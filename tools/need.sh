#!/bin/sh
# Prints one sentence that names what this machine lacks to build tandem, with the command that installs it. Prints nothing
# if everything is there. It uses only what every shell has, since other tools may be missing.
go=${GO:-go}
cc=${CC:-cc}
want=1.26
missing= how= # what is missing, and how to get it

# lack WHAT COMMAND
lack() {
	missing="$missing${missing:+ and }$1"
	how="$how${how:+ && }$2"
}

# install DEBIAN FEDORA ALPINE ARCH: prints the command of the first package manager that exists, with its package names
install() {
	sudo=
	[ -w / ] || sudo="sudo "
	if command -v apt-get >/dev/null 2>&1; then echo "${sudo}apt-get install -y $1"
	elif command -v dnf >/dev/null 2>&1; then echo "${sudo}dnf install -y $2"
	elif command -v apk >/dev/null 2>&1; then echo "${sudo}apk add $3"
	elif command -v pacman >/dev/null 2>&1; then echo "${sudo}pacman -S $4"
	else echo "apt-get install -y $1 (Debian, Ubuntu), dnf install -y $2 (Fedora)"
	fi
}

machine=amd64
case $(uname -m 2>/dev/null) in aarch64 | arm64) machine=arm64 ;; esac
fetch="curl -fsSL https://go.dev/dl/go$want.0.linux-$machine.tar.gz | tar -xz -C \"\$HOME\" && export PATH=\"\$HOME/go/bin:\$PATH\""

if ! command -v "$go" >/dev/null 2>&1; then
	lack "Go $want or newer" "$fetch"
elif ! found=$("$go" version 2>/dev/null); then
	lack "Go $want or newer (what is here is older and must not fetch a newer one)" "$fetch"
else
	number=${found#go version go}
	number=${number%% *}
	major=${number%%.*}
	minor=${number#*.}
	minor=${minor%%[!0-9]*}
	case $major$minor in
	*[!0-9]* | '') ;; # a development version: it may be new enough
	*) if [ "$major" -lt 1 ] || { [ "$major" -eq 1 ] && [ "$minor" -lt "${want#*.}" ]; }; then
		lack "Go $want or newer (this is $number)" "$fetch"
	fi ;;
	esac
fi
if ! command -v "${cc%% *}" >/dev/null 2>&1; then
	lack "a C compiler" "$(install 'gcc libc6-dev' 'gcc glibc-devel' 'gcc musl-dev' gcc)"
elif ! echo '#include <stdlib.h>' | $cc -E - >/dev/null 2>&1; then
	lack "the headers of C" "$(install libc6-dev glibc-devel musl-dev glibc)"
fi
for tool in grep awk sed rm mkdir cp; do
	command -v $tool >/dev/null 2>&1 || absent="$absent $tool"
done
[ -z "$absent" ] || lack "of the usual tools$absent" "$(install 'coreutils grep gawk sed' 'coreutils grep gawk sed' 'coreutils grep gawk sed' 'coreutils grep gawk sed')"

[ -z "$missing" ] && exit 0
echo "To build tandem, this machine lacks $missing; install with: $how" >&2
exit 1
