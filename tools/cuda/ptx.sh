#!/bin/sh
# tools/cuda/ptx.sh [check]: compiles core/engine/device/cuda/kernels/*.cu to ptx/*.ptx beside them, with the NVRTC that is
# pinned in tools/cuda/fetch (CUDA 11.8.89: drivers from 520 on translate its PTX). With check it
# compares instead, byte for byte, and says so plainly where that NVRTC cannot be had.
# NVRTC=/path/to/libnvrtc.so.11.2 names a library that is here already.
set -eu
cd "$(dirname "$0")/../.."
kernels=core/engine/device/cuda/kernels
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
# NVRTC orders some registers by the addresses of its own memory, which differ from process to process: one program in
# three of gather_back.cu comes out in another way. So it gets the same addresses where that is permitted (not in Docker),
# and the check asks some times more for a file that differs.
mkdir "$tmp/out"
if setarch -R true 2>/dev/null; then same='setarch -R'; else same=; fi
$same "$tmp/ptx" "$NVRTC" $kernels "$tmp/out"
if [ "${1:-}" = check ]; then
	cp $kernels/ptx/README.md "$tmp/out"
	for file in $(diff -r -q $kernels/ptx "$tmp/out" | sed -n 's,^Files .*/\([a-z0-9_]*\)_[0-9]*\.ptx and .*,\1,p' | sort -u); do
		rm -rf "$tmp/one" && mkdir "$tmp/one" && cp $kernels/*.cuh $kernels/$file.cu "$tmp/one"
		for try in 1 2 3 4 5 6 7 8; do
			"$tmp/ptx" "$NVRTC" "$tmp/one" "$tmp/out"
			diff -r -q $kernels/ptx "$tmp/out" | grep -q "/${file}_[0-9]*\.ptx and" || break
		done
	done
	if ! diff -r -q $kernels/ptx "$tmp/out"; then
		echo "ptx: $kernels/ptx is not what its sources give: run make ptx and commit it"
		exit 1
	fi
	exit 0
fi
rm -f $kernels/ptx/*.ptx
find "$tmp/out" -name '*.ptx' -exec cp {} $kernels/ptx \;
