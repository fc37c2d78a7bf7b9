#!/bin/sh
# Installs oneDNN (fast CPU kernels) where that can be done without asking anyone; says what it does.
# Set TANDEM_NO_INSTALL=1 to leave the machine as it is.
if printf '#include <dnnl.h>\n' | ${CC:-cc} -E -x c - >/dev/null 2>&1; then
	exit 0
fi
if [ -z "$TANDEM_NO_INSTALL" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing libdnnl-dev (oneDNN, fast CPU kernels); TANDEM_NO_INSTALL=1 would go without"
	if { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libdnnl-dev; } >/tmp/tandem-deps.log 2>&1; then
		exit 0
	fi
	echo "that failed (see /tmp/tandem-deps.log)"
fi
echo "building without oneDNN: the pure Go backend is correct but slower, a half to a tenth of the speed"
echo "  for the fast one: apt-get install libdnnl-dev, then run make again"
