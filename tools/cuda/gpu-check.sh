#!/bin/sh
# tools/cuda/gpu-check.sh: everything that only a GPU can show, in one command, for a machine that has one. It builds
# with CUDA, runs the tests and goldens on the device, trains beside the CPU, runs compute-sanitizer and benchmarks,
# and writes a report to paste into an issue: bin/gpu-check/report.md. It goes on after a failure; its exit status is
# 1 when anything failed, 3 when there is nothing to check on.
#
#   DEVICE=cuda:0            which GPU
#   CHECKS="tests bench"     only these; all of: tests goldens trainings sanitizer bench peer
#   PEER_VENV=.venv/peer     an environment with torch (with CUDA) and open_clip_torch, for the comparison
#   BATCH=1024               of the benchmarks; halved until it fits the memory
#   STEPS=20                 of the benchmarks
#
# With TANDEM_CUDA_DOUBLE set (see core/engine/device/cuda/double) the same runs through the double, on the CPU, with tiny
# sizes: that checks this script, and no figure of it says anything about a GPU.
set -u
cd "$(dirname "$0")/../.."
GO=${GO:-go} DEVICE=${DEVICE:-cuda:0} STEPS=${STEPS:-20} PEER_VENV=${PEER_VENV:-.venv/peer}
CHECKS=${CHECKS:-tests goldens trainings sanitizer bench peer}
double=${TANDEM_CUDA_DOUBLE:+yes}
BATCH=${BATCH:-${double:+2}} BATCH=${BATCH:-1024}
out=$PWD/bin/gpu-check report=$PWD/bin/gpu-check/report.md
mkdir -p "$out"
rm -f "$out"/*.log "$out"/summary
: >"$report"
. tools/cuda/gpu-check-lib.sh

missing=
command -v "$GO" >/dev/null || missing="$missing go"
for tool in cc make; do command -v $tool >/dev/null || missing="$missing $tool"; done
[ -z "$missing" ] || { echo "gpu-check: this machine lacks$missing (Debian: apt-get install golang gcc make)"; exit 3; }

echo "gpu-check: building with CUDA"
if ! make build CUDA=1 >"$out/build.log" 2>&1; then
	tail -20 "$out/build.log"
	echo "gpu-check: the build with CUDA failed; $out/build.log has all of it"
	exit 1
fi
if ! bin/runner devices --json >"$out/devices.json" 2>&1 || ! tr -d ' \n' <"$out/devices.json" | grep -q "\"device\":\"$DEVICE\",\"available\":true"; then
	bin/runner devices
	echo "gpu-check: $DEVICE cannot be used on this machine, for the reason above: nothing was checked"
	exit 3
fi

goflags=$(make -s cuda-goflags) # what go needs to build with CUDA
title
wants tests && tests
wants goldens && goldens
wants trainings && trainings
wants sanitizer && sanitizer
wants bench && bench
wants peer && peer
summary
