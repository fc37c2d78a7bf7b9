#!/bin/sh
# tools/cuda/cubins.sh FOLDER: assembles the committed PTX for compute capability 8.0 and 9.0 by ptxas 12.9 (a wheel of PyPI, pinned in
# tools/cuda/fetch) into NAME_CAPABILITY_SUM.cubin, where SUM begins the SHA-256 of the PTX. No GPU is needed. It exits with 3 where the
# assembler cannot be had. CAPABILITIES="80 90" names others.
set -eu
cd "$(dirname "$0")/../.."
kernels=core/engine/device/cuda/kernels
out=$1
if ! [ "$(uname -sm)" = "Linux x86_64" ] || ! folder=$(${GO:-go} run ./tools/cuda/fetch nvcc12); then
	echo "cubins: NVIDIA's assembler (ptxas of nvidia-cuda-nvcc-cu12 12.9.86) cannot be had here" >&2
	exit 3
fi
mkdir -p "$out"
rm -f "$out"/*.cubin
for sm in ${CAPABILITIES:-80 90}; do
	for name in $(cd $kernels && ls *.cu | sed 's/\.cu$//'); do
		best=
		for ptx in $kernels/ptx/${name}_[0-9]*.ptx; do # sorted: the last that fits is the newest
			at=${ptx##*_} at=${at%.ptx}
			if [ -e "$ptx" ] && [ "$at" -le "$sm" ]; then best=$ptx; fi
		done
		[ -n "$best" ] || { echo "cubins: no PTX of $name.cu for $sm: run make ptx" >&2; exit 1; }
		echo "$best $sm $out/${name}_${sm}_$(sha256sum "$best" | cut -c1-12).cubin"
	done
done | xargs -P "${JOBS:-$(nproc)}" -L 1 sh -c '"$0" -arch=sm_$2 -o "$3" "$1"' "$folder/nvidia/cuda_nvcc/bin/ptxas"
echo "cubins: $(ls "$out" | grep -c '\.cubin$') files, $(cat "$out"/*.cubin | wc -c) bytes in $out"
