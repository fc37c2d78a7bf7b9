#!/bin/sh
# The double's own tests: run.sh FOLDER-WITH-cuda.h OUT, after build.sh with the same. Each runs in a process
# of its own; without an argument the test program lists them.
set -e
here=$(cd "$(dirname "$0")" && pwd)
include=$1 out=$(cd "$2" && pwd) cxx=${CXX:-g++}
stale() { [ ! -e "$1" ] || [ -n "$(find "$here/.." "$out/libcuda.so.1" -newer "$1" -type f | head -1)" ]; }
if stale "$out/libtestkernels.so"; then
	$cxx -std=c++17 -O2 -g1 -fPIC -shared -ffp-contract=off -Wall -Wextra -Wno-unknown-pragmas -I"$here/../include" \
		-x c++ "$here/kernels.cu" "$here/../src/kernels.cpp" -o "$out/libtestkernels.so"
	$cxx -std=c++17 -O2 -g1 -fPIC -c -ffp-contract=off -Wno-unknown-pragmas -I"$here/../include" -fsanitize=thread,alignment \
		--param tsan-instrument-func-entry-exit=0 -x c++ "$here/kernels.cu" -o "$out/obj/checked-test.o"
	$cxx -shared "$out/obj/checked-test.o" "$out/obj/kernels-checked.o" "$out/obj/checked.o" -o "$out/libtestkernels-checked.so"
fi
if stale "$out/tests"; then
	for f in "$here"/*.cpp; do
		$cxx -std=c++17 -g1 -Wall -Wextra -isystem "$include" -c "$f" -o "$out/obj/test-$(basename "$f" .cpp).o" || exit 1 &
	done
	wait
	$cxx "$out"/obj/test-*.o -o "$out/tests" -L"$out" -l:libcuda.so.1 -l:libcublas.so.12 -l:libcublasLt.so.12 -l:libcudnn.so.9
fi
export LD_LIBRARY_PATH="$out${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" TANDEM_CUDA_DOUBLE="$out/libtestkernels.so"
failed=0 count=0
for t in $("$out/tests"); do
	count=$((count + 1))
	if ! timeout 60 "$out/tests" "$t" >"$out/obj/test.log" 2>&1; then
		failed=$((failed + 1))
		echo "FAIL $t"
		cat "$out/obj/test.log"
	fi
done
[ $failed = 0 ] || { echo "double: $failed of $count tests fail"; exit 1; }
echo "ok  	core/engine/device/cuda/double ($count tests)"
