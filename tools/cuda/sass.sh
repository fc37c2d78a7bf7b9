#!/bin/sh
# tools/cuda/sass.sh: assembles the committed PTX for 8.0 and 9.0 (tools/cuda/cubins.sh), disassembles it by NVIDIA's nvdisasm (a wheel of
# PyPI, pinned in tools/cuda/fetch), and holds the machine code to tools/cuda/sass/promises.txt. No GPU is needed. Where these tools
# cannot be had it says that nothing was checked, and succeeds.
set -eu
cd "$(dirname "$0")/../.."
go=${GO:-go}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
skip() {
	echo "sass: NOT CHECKED what the kernels' machine code has: $1 cannot be had here"
	exit 0
}
folder=$($go run ./tools/cuda/fetch nvdisasm13) || skip "NVIDIA's disassembler (nvidia-cuda-nvdisasm 13.5.37)"
status=0
GO=$go sh tools/cuda/cubins.sh "$tmp" || status=$?
[ $status -ne 3 ] || skip "NVIDIA's assembler"
[ $status -eq 0 ] || exit $status
for cubin in "$tmp"/*.cubin; do
	stem=${cubin##*/} stem=${stem%_*} # without the sum
	echo "$cubin $tmp/${stem%_*}.${stem##*_}.sass"
done | xargs -P "${JOBS:-$(nproc)}" -L 1 sh -c '"$0" "$1" >"$2" 2>"$2.err" || { cat "$2.err" >&2; exit 255; }' "$folder/nvidia/cu13/bin/nvdisasm"
$go run ./tools/cuda/sass tools/cuda/sass/promises.txt "$tmp"
