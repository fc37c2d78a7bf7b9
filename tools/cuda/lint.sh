#!/bin/sh
# Runs go vet and staticcheck on the files with the build tag clipcuda, if a cuda.h can be found.
set -e
if ! sh core/engine/device/cuda/trampoline/build.sh bin/cuda; then
	echo "skipped: lint of the files with the build tag clipcuda (there is no cuda.h, and none could be fetched)"
	exit 0
fi
packages=$(grep -rlE '^//go:build .*clipcuda' --include='*.go' core cmd plugins tools | xargs -n 1 dirname | sort -u | sed 's,^,./,')
# This does not use the module file of the Makefile's CUDA_ENV, because staticcheck refuses it. It leaves the other tags out,
# so that few C files are compiled again.
export CGO_CFLAGS="-O2 -g -I$PWD/bin/cuda/include" CGO_LDFLAGS="-O2 -g -L$PWD/bin/cuda"
set -x
${GO:-go} vet -tags=clipcuda $packages
${GO:-go} tool staticcheck -tags=clipcuda $packages
