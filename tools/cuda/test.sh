#!/bin/sh
# test.sh -tags=TAGS [--optional] runs the tests of what computes with the tag clipcuda and through the double
# of NVIDIA's driver (core/engine/device/cuda/double): on the CPU, no GPU is needed or used. The environment is the
# Makefile's CUDA_ENV. With --optional it says what is missing and succeeds.
set -e
tags=$1
skip() {
	echo "skipped: the CUDA tests ($1)"
	[ "$optional" ] && exit 0
	exit 1
}
[ "$2" = --optional ] && optional=yes
GO=${GO:-go}
export GO
GOFLAGS= sh core/engine/device/cuda/trampoline/build.sh bin/cuda || skip "there is no cuda.h, and none could be fetched"
[ "$(uname -m)" = x86_64 ] || skip "the driver's double switches stacks by instructions of x86-64"
command -v "${CXX:-g++}" >/dev/null || skip "there is no C++ compiler for the driver's double"
sh core/engine/device/cuda/double/build.sh bin/cuda/include/toolkit bin/cuda/double
sh core/engine/device/cuda/double/test/run.sh bin/cuda/include/toolkit bin/cuda/double
double=$PWD/bin/cuda/double
export LD_LIBRARY_PATH="$double${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" TANDEM_CUDA_DOUBLE="$double/libkernels.so"
failed=
# The go command does not see what is opened by dlopen: no cached results.
$GO test "$tags" -count=1 -timeout 20m ./core/engine/device/cuda/... ./core/engine/device/devices ./core/engine/graph ./core/engine/tower/... ./core/engine/loss/... \
	./plugins/encoders/... ./plugins/losses/... || failed=yes
# Every kernel once more, each of its loads and stores checked, blocks and threads in another order.
TANDEM_CUDA_DOUBLE="$double/libkernels-checked.so" TANDEM_CUDA_DOUBLE_SEED=1 \
	$GO test "$tags" -count=1 -timeout 20m -run TestKernelsOfRandomShapes ./core/engine/device/cuda || failed=yes
# Whole runs, of processes.
$GO test "$tags" -count=1 -timeout 20m -run CUDA ./cmd/runner || failed=yes
[ -z "$failed" ]
