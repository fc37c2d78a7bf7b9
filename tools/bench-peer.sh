#!/bin/sh
# Times tandem beside OpenCLIP on PyTorch, in a virtual environment under .venv/peer (several GB, because PyPI's torch
# brings CUDA). ROUNDS and MODELS select what is timed, ISA=avx2 holds both to AVX2; see tools/peer/bench.py --help.
set -e
venv=$PWD/.venv/peer
if ! [ -e "$venv/.done" ]; then
	echo "installing torch and open_clip_torch into $venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check torch open_clip_torch
	touch "$venv/.done"
fi
"$venv/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E '^(torch|open_clip_torch) '
exec "$venv/bin/python" tools/peer/bench.py --rounds "${ROUNDS:-5}" ${MODELS:+--models "$MODELS"} ${ISA:+--isa "$ISA"} --json .venv/bench-peer.json
