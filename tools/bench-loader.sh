#!/bin/sh
# Times how tandem reads tar shards beside PyTorch's DataLoader with PIL and the package webdataset, in the virtual environment of
# bench-peer.sh. ROUNDS and THREADS select what is timed; see tools/loader/bench.py --help.
set -e
venv=$PWD/.venv/peer
if ! [ -e "$venv/.done-loader" ]; then
	echo "installing torch, torchvision, webdataset and scikit-learn (for its photographs) into $venv"
	[ -e "$venv/bin/python" ] || python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check torch torchvision webdataset scikit-learn pillow
	touch "$venv/.done-loader"
fi
"$venv/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -iE '^(torch|torchvision|webdataset|pillow) '
exec "$venv/bin/python" tools/loader/bench.py --rounds "${ROUNDS:-5}" ${THREADS:+--threads "$THREADS"} --json .venv/bench-loader.json
