#!/bin/sh
# Tests the computing code with fewer of the processor's instructions than it has.
#
#   tools/test-isa.sh [-tags=…]
set -e
# C code reads these variables and the go command does not know that, so its cache must not answer: -count=1.
narrow() { ${GO:-go} test -count=1 "$@" ./core/engine/graph ./core/engine/nn ./core/engine/loss ./plugins/encoders/... ./plugins/losses/...; }
if grep -qw avx512f /proc/cpuinfo 2>/dev/null; then
	echo "limited to AVX2:"
	TANDEM_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 narrow "$@"
	TANDEM_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ${GO:-go} test -count=1 "$@" ./core/engine/device/onednn
fi
echo "generic kernels:"
TANDEM_ISA=generic narrow -run Promises "$@"
