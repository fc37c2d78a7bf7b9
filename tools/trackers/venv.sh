#!/bin/sh
# Makes the virtual environment .venv/trackers with the trackers of requirements.txt, for make test-python. PYTHON names the Python to
# make it from.
set -eu
cd "$(dirname "$0")/../.."
venv=.venv/trackers
if [ ! -x $venv/bin/python ]; then
	"${PYTHON:-python3}" -m venv $venv || { echo "tools/trackers/venv.sh: no virtual environment: apt install python3-venv, or set PYTHON" >&2; exit 1; }
fi
sum=$(cksum < tools/trackers/requirements.txt)
if [ "$(cat $venv/made-from 2>/dev/null)" != "$sum" ]; then
	$venv/bin/python -m pip install --quiet --disable-pip-version-check -r tools/trackers/requirements.txt
	echo "$sum" > $venv/made-from
fi
