#!/bin/sh
# Runs the tests of what computes with fewer of the processor's instructions than it has: usage: tools/test-isa.sh [-tags=…]
set -e
# C reads these variables, where the go command does not see it: its cache is not asked.
narrow() { ${GO:-go} test -count=1 "$@" ./core/engine/graph ./core/engine/nn ./core/engine/loss ./plugins/encoders/... ./plugins/losses/...; }
if grep -qw avx512f /proc/cpuinfo 2>/dev/null; then
	echo "held to AVX2:"
	TANDEM_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 narrow "$@"
	TANDEM_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ${GO:-go} test -count=1 "$@" ./core/engine/device/onednn
fi
echo "generic kernels:"
TANDEM_ISA=generic narrow -run Promises "$@"
