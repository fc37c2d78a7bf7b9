#!/bin/sh
# tools/cuda/ptx.sh [check]: compiles core/device/cuda/kernels/*.cu to ptx/*.ptx beside them, with the NVRTC that is
# pinned in tools/cuda/fetch (CUDA 11.8.89: drivers from 520 on translate its PTX). With check it
# compares instead, byte for byte, and says so plainly where that NVRTC cannot be had.
# NVRTC=/path/to/libnvrtc.so.11.2 names a library that is here already.
set -eu
cd "$(dirname "$0")/../.."
kernels=core/device/cuda/kernels
if [ -z "${NVRTC:-}" ]; then
	if ! [ "$(uname -sm)" = "Linux x86_64" ] || ! folder=$(${GO:-go} run ./tools/cuda/fetch nvrtc11); then
		echo "ptx: NVIDIA's compiler library (nvidia-cuda-nvrtc-cu11 11.8.89) cannot be had here"
		[ "${1:-}" = check ] || exit 1
		echo "ptx: NOT CHECKED whether $kernels/ptx is what its sources give"
		exit 0
	fi
	NVRTC=$folder/nvidia/cuda_nvrtc/lib/libnvrtc.so.11.2
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cc -O1 -Wall -Wextra -Werror -o "$tmp/ptx" tools/cuda/ptx/ptx.c -ldl
mkdir "$tmp/out"
"$tmp/ptx" "$NVRTC" $kernels "$tmp/out"
if [ "${1:-}" = check ]; then
	cp $kernels/ptx/README.md "$tmp/out"
	if ! diff -r -q $kernels/ptx "$tmp/out"; then
		echo "ptx: $kernels/ptx is not what its sources give: run make ptx and commit it"
		exit 1
	fi
	exit 0
fi
rm -f $kernels/ptx/*.ptx
find "$tmp/out" -name '*.ptx' -exec cp {} $kernels/ptx \;
