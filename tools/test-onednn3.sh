#!/bin/sh
# Builds with oneDNN 3 and runs the tests of everything that computes. The library comes from PyPI and is kept in
# .venv/onednn3 (make clean leaves it). It is the build for GNU OpenMP, the runtime that our own kernels use.
set -e
wheel=onednn-devel-cpu-gomp==2023.2.0 # oneDNN 3.2, the newest of its kind
venv=$PWD/.venv/onednn3
if ! [ -e "$venv/include/dnnl.h" ]; then
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check $wheel
fi
export CGO_CFLAGS="-O2 -I$venv/include" CGO_LDFLAGS="-L$venv/lib -Wl,-rpath,$venv/lib"
version=$(${GO:-go} run -tags onednn ./cmd/runner devices)
case $version in *"oneDNN 3."*) echo "$version" ;; *) echo "this was not built with oneDNN 3: $version" >&2; exit 1 ;; esac
${GO:-go} test -tags onednn ./core/engine/device/... ./core/engine/graph ./core/engine/nn ./core/engine/tower/... ./core/engine/loss/... ./plugins/encoders/... ./plugins/losses/...
