#!/bin/sh
# Builds the doubles: build.sh INCLUDE OUT, where INCLUDE has cuda.h and OUT is made. Needs g++ only.
set -e
[ $# = 2 ] || { echo 'usage: build.sh FOLDER-WITH-cuda.h OUT' >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
include=$(cd "$1" && pwd)
mkdir -p "$2/obj"
out=$(cd "$2" && pwd)
[ -e "$include/cuda.h" ] || { echo "build.sh: no cuda.h in $include (make cuda fetches one)" >&2; exit 1; }
cxx=${CXX:-g++}
# Floating point as the language says it, so that the double's results do not hang on the compiler's mood.
flags="-std=c++17 -O2 -g1 -fPIC -ffp-contract=off -fvisibility=hidden -U_FORTIFY_SOURCE -Wall -Wextra -Wno-unknown-pragmas -isystem $include -I$here/include"

# fresh OBJECT: the object is newer than all it is made from.
fresh() { [ -e "$1" ] && [ -z "$(find "$here" "$here/../kernels" -newer "$1" \( -name '*.h' -o -name '*.cuh' -o -name '*.sh' -o -name "$2" \) | head -1)" ]; }
# compile NAME SOURCE FLAGS...: OUT/obj/NAME.o, two at a time.
jobs=0
compile() {
  name=$1 source=$2; shift 2
  fresh "$out/obj/$name.o" "${source##*/}" && return
  $cxx $flags "$@" -c "$source" -o "$out/obj/$name.o" & pids="$pids $!"
  jobs=$((jobs + 1)); [ $((jobs % 2)) = 0 ] && wait_all; return 0
}
wait_all() { for p in $pids; do wait "$p" || exit 1; done; pids=; }

# Entry points of the driver that the double does not have: they name themselves.
objects=
for f in "$here"/src/*.cpp; do
  n=$(basename "$f" .cpp); case $n in kernels|checked) continue ;; esac
  compile "cuda-$n" "$f"; objects="$objects $out/obj/cuda-$n.o"
done
wait_all
nm --defined-only $objects | awk '{print $3}' | grep -E '^cu[A-Z]' | sort -u > "$out/obj/have"
# Declarations, and what #define turns them into (cuMemAlloc is cuMemAlloc_v2 in the library).
{ grep -hoE 'cu[A-Z][A-Za-z0-9_]* *\(' "$include/cuda.h" | tr -d '( '
  grep -hoE '^ *# *define +cu[A-Z][A-Za-z0-9]* +cu[A-Z][A-Za-z0-9_]*' "$include/cuda.h" | awk '{print $NF}'
} | sort -u | comm -23 - "$out/obj/have" > "$out/obj/lack"
{ echo 'extern "C" int double_unsupported(const char *);'
  awk '{printf "extern \"C\" __attribute__((visibility(\"default\"))) int %s() { return double_unsupported(\"%s\"); }\n", $1, $1}' "$out/obj/lack"
} > "$out/obj/unsupported.cpp"
$cxx -O1 -fPIC -c "$out/obj/unsupported.cpp" -o "$out/obj/unsupported.o"
$cxx -shared -Wl,-soname,libcuda.so.1 -o "$out/libcuda.so.1" $objects "$out/obj/unsupported.o" -ldl -lpthread

# The kernels twice: as they are, and with a call at every load and store (src/check.cpp).
checked="-fsanitize=thread,alignment --param tsan-instrument-func-entry-exit=0 -DDOUBLE_CHECKED"
objects= checkeds=
for f in "$here"/../kernels/*.cu; do
  [ -e "$f" ] || continue
  n=$(basename "$f" .cu)
  compile "kernels-$n" "$f" -x c++; objects="$objects $out/obj/kernels-$n.o"
  compile "checked-$n" "$f" $checked -x c++; checkeds="$checkeds $out/obj/checked-$n.o"
done
compile kernels "$here/src/kernels.cpp"
compile kernels-checked "$here/src/kernels.cpp" -DDOUBLE_CHECKED
compile checked "$here/src/checked.cpp"
wait_all
$cxx -shared -o "$out/libkernels.so" "$out/obj/kernels.o" $objects
$cxx -shared -o "$out/libkernels-checked.so" "$out/obj/kernels-checked.o" "$out/obj/checked.o" $checkeds

for lib in cublas:12 cublasLt:12 cudnn:9 nccl:2; do
  n=${lib%:*}; objects=
  for f in "$here/src/$n"/*.cpp; do
    [ -e "$f" ] || continue
    b=$(basename "$f" .cpp); compile "$n-$b" "$f" -O3; objects="$objects $out/obj/$n-$b.o"
  done
  wait_all
  case $n in
  cublasLt) objects="$objects $out/obj/cublas-gemm.o $out/obj/cublas-matrix.o" ;;
  cudnn) objects="$objects $out/obj/cublas-gemm.o" ;;
  esac
  $cxx -shared -Wl,-soname,lib$n.so.${lib#*:} -Wl,-rpath,'$ORIGIN' -o "$out/lib$n.so.${lib#*:}" $objects -L"$out" -l:libcuda.so.1 -ldl
done
