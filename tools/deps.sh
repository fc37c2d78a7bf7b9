#!/bin/sh
# Installs oneDNN (fast CPU kernels), libjpeg-turbo (JPEG pixels equal to Pillow's) and libavif (AVIF) if that needs no
# password or question, and prints what it does. TANDEM_NO_INSTALL=1 leaves the machine as it is.

# has HEADER: whether the C compiler finds it. jpeglib.h needs stdio.h before it.
has() {
	printf '#include <stdio.h>\n#include <%s>\n' "$1" | ${CC:-cc} -E -x c - >/dev/null 2>&1
}

apt_updated=
# install PACKAGES PURPOSE: installs the first of the packages that exists
install() {
	[ -z "$TANDEM_NO_INSTALL" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
	if [ -z "$apt_updated" ]; then
		apt_updated=yes
		apt-get update -qq >/tmp/tandem-deps.log 2>&1 || echo "apt-get update failed (see /tmp/tandem-deps.log)"
	fi
	for package in $1; do
		apt-cache show "$package" >/dev/null 2>&1 || continue
		echo "installing $package ($2); TANDEM_NO_INSTALL=1 would go without"
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >>/tmp/tandem-deps.log 2>&1 && return 0
		echo "that failed (see /tmp/tandem-deps.log)"
		return 1
	done
	return 1
}

if ! has dnnl.h && ! install libdnnl-dev "oneDNN, fast CPU kernels"; then
	echo "building without oneDNN: the pure Go backend is correct but slower, a half to a tenth of the speed"
	echo "  for the fast one: apt-get install libdnnl-dev, then run make again"
fi
if ! has jpeglib.h && ! install "libjpeg62-turbo-dev libjpeg-turbo8-dev libjpeg-dev" "libjpeg-turbo, JPEG pixels equal to Pillow's"; then
	echo "building without libjpeg-turbo: Go decodes JPEG, more slowly and with pixels that differ from Pillow's by a few levels"
	echo "  for the same pixels: apt-get install libjpeg-dev, then run make again"
fi
if ! has avif/avif.h && ! install libavif-dev "libavif, AVIF pictures"; then
	echo "building without libavif: AVIF pictures are refused and counted"
	echo "  to read them: apt-get install libavif-dev, then run make again"
fi
