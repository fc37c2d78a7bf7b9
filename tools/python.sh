#!/bin/sh
# Makes the virtual environment .venv/python with the SDK for plugins in Python and what its plugins need, at the versions of
# core/plugin/sdk/python/requirements.txt. PYTHON names the Python to make it from. PIP_ARGS goes to pip install: an index of
# PyTorch without CUDA saves gigabytes.
set -eu
cd "$(dirname "$0")/.."
venv=.venv/python
sdk=core/plugin/sdk/python
if [ ! -x $venv/bin/python ]; then
	"${PYTHON:-python3}" -m venv $venv || { echo "tools/python.sh: no virtual environment: apt install python3-venv, or set PYTHON" >&2; exit 1; }
fi
sum=$(cat $sdk/requirements.txt $sdk/pyproject.toml $sdk/tandem/*.py $sdk/tandem/*.binpb | cksum)
if [ "$(cat $venv/made-from 2>/dev/null)" != "$sum" ]; then
	# shellcheck disable=SC2086
	$venv/bin/python -m pip install --quiet --disable-pip-version-check ${PIP_ARGS-} -r $sdk/requirements.txt
	$venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall ./$sdk
	rm -rf $sdk/build $sdk/*.egg-info
	echo "$sum" > $venv/made-from
fi
echo "$venv has $($venv/bin/python -c 'import torch, tandem; print("torch", torch.__version__, "and tandem-sdk", tandem.__version__)')"
