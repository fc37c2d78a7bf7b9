#!/bin/sh
# build.sh OUT makes what gorgonia.org/cu is compiled and linked with: OUT/include/cuda.h, OUT/libcuda.a, and
# OUT/go.mod: GOFLAGS=-modfile=OUT/go.mod (an absolute path) builds with them, every package but cu as without.
# The headers are those in TANDEM_CUDA_INCLUDE or of an installed toolkit, else fetched (a 1 MB wheel of PyPI, see
# tools/cuda/fetch).
# Exits with 3 and one sentence when there are none.
set -e
here=$(cd "$(dirname "$0")" && pwd)
out=$1
[ -n "$out" ] || { echo "usage: $0 OUT" >&2; exit 2; }
mkdir -p "$out/include"
out=$(cd "$out" && pwd)

recent() { # whether a folder has a cuda.h of CUDA 11.0 or newer
	[ -e "$1/cuda.h" ] && awk '$2 == "CUDA_VERSION" && $3 >= 11000 {found = 1} END {exit !found}' "$1/cuda.h"
}

headers=
for folder in "$TANDEM_CUDA_INCLUDE" "${CUDA_HOME:+$CUDA_HOME/include}" /usr/local/cuda/include /opt/cuda/include /usr/include; do
	if [ -n "$folder" ] && recent "$folder"; then headers=$folder; break; fi
done
if [ -z "$headers" ] && recent "$out/include/toolkit"; then
	headers=$(cd -P "$out/include/toolkit" && pwd)
fi
if [ -z "$headers" ]; then
	fetched=$(cd "$here" && ${GO:-go} run tandem/tools/cuda/fetch runtime11) || exit 3
	headers=$fetched/nvidia/cuda_runtime/include
fi
rm -f "$out/include/toolkit"
ln -s "$headers" "$out/include/toolkit"
keep() { # NEW OLD: a file that did not change stays, with its time
	cmp -s "$1" "$2" || mv "$1" "$2"
}
work=$(mktemp -d "$out/.work-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/src/cuda.h" "$work/cuda.h"
cd "$here/src"
${CC:-cc} -O2 -Wall -Wextra -Werror -fPIC -c loader.c -o "$work/loader.o"
${CC:-cc} -fPIC -c slots.S -o "$work/slots.o"
${AR:-ar} rcs "$work/libcuda.a" "$work/loader.o" "$work/slots.o"

# cu names folders of its own for headers and libraries, which may hold others, and CGO_CFLAGS for it would
# mean compiling SQLite and oneDNN's kernels a second time: a copy of cu that names ours. The sum tells the
# go command to compile and link again.
export GOFLAGS=
${GO:-go} mod download gorgonia.org/cu
cu=$(${GO:-go} list -m -f '{{.Dir}}' gorgonia.org/cu)
mkdir "$work/cu"
cp "$cu"/*.go "$cu"/*.c "$cu"/*.h "$cu/go.mod" "$cu/LICENSE" "$work/cu"
rm "$work"/cu/*_test.go
chmod -R u+w "$work/cu"
cat >"$work/cu/cgoflags.go" <<EOF
package cu

// With $(cat "$headers/cuda.h" "$work/cuda.h" "$work/libcuda.a" | cksum)

// #cgo CFLAGS: -I"$out/include"
// #cgo LDFLAGS: "$out/libcuda.a"
import "C"
EOF
cp ../../../../../../go.mod ../../../../../../go.sum "$work"
${GO:-go} mod edit -replace "gorgonia.org/cu=$out/cu" "$work/go.mod"
if ! diff -rq "$work/cu" "$out/cu" >/dev/null 2>&1; then rm -rf "$out/cu" && mv "$work/cu" "$out/cu"; fi
keep "$work/go.mod" "$out/go.mod"
keep "$work/go.sum" "$out/go.sum"
keep "$work/cuda.h" "$out/include/cuda.h"
keep "$work/libcuda.a" "$out/libcuda.a"
