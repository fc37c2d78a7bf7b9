#!/bin/sh
# tools/cuda/matrix.sh [11] [12] [13] [ptx]: compiles every kernel for every architecture by each of these toolkits
# (without arguments by all), any warning being an error, checks the budgets of tools/cuda/budget and, when all four
# ran and passed, writes docs/cuda-kernels.md. No GPU is needed; a few hundred MB of compilers are fetched into
# ${TANDEM_CACHE:-~/.cache/tandem}/cuda (tools/cuda/fetch).
#
#   11   Debian's nvcc 11.8, with the headers of PyPI's cu11 wheels
#   12   PyPI's NVRTC 12.9 to PTX for the architecture, ptxas 12.9 from that
#   13   PyPI's nvcc 13 (without sm_70, which CUDA 13 no longer knows)
#   ptx  the committed PTX, which is what a driver translates, by ptxas 11.8, 12.9 and 13
#
# JOBS=n compiles at a time (all cores), LOGS=folder keeps what the compilers printed, SOURCES="conv maps" compiles these
# files only.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD kernels=$PWD/core/engine/device/cuda/kernels
go=${GO:-go} jobs=${JOBS:-$(nproc)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
logs=${LOGS:-$tmp/logs}
mkdir -p "$logs"
rm -f "$logs"/*.log
sources=${SOURCES:-$(cd "$kernels" && ls *.cu | sed 's/\.cu$//')}

get() { # NAME: the folder of a package; ends the script without it
	$go run ./tools/cuda/fetch "$1" || { echo "cuda-matrix: $1 cannot be had: nothing is checked" >&2; exit 3; }
}

# Each of these adds lines "LOG COMMAND" to $tmp/todo; COMMAND is run by sh in the kernels' folder, its output is LOG.
with11() {
	deb=$(get debnvcc11)/usr headers=$(get nvcc11)/nvidia/cuda_nvcc/include runtime=$(get runtime11)/nvidia/cuda_runtime/include
	mkdir "$tmp/nvcc11" # Debian's nvcc takes its paths from a file beside it that points to /usr
	cp "$deb/lib/nvidia-cuda-toolkit/bin/nvcc" "$tmp/nvcc11"
	cat >"$tmp/nvcc11/nvcc.profile" <<-PROFILE
		NVVMIR_LIBRARY_DIR = $deb/lib/nvidia-cuda-toolkit/libdevice
		PATH += $deb/lib/nvidia-cuda-toolkit/bin:$deb/bin:
		INCLUDES += -I$headers -I$runtime \$(_SPACE_)
	PROFILE
	for sm in 70 75 80 86 89 90; do
		for n in $sources; do
			echo "11.$sm.$n $tmp/nvcc11/nvcc -ccbin /usr/bin/g++ -allow-unsupported-compiler -std=c++17 -arch=sm_$sm -cubin" \
				"-Werror all-warnings -Wmissing-launch-bounds -Wreorder -Xcompiler -Wall,-Wextra -Xptxas -v,-Werror -o $tmp/out/11.$sm.$n $n.cu"
		done
	done >>"$tmp/todo"
}

with12() {
	nvrtc=$(get nvrtc12)/nvidia/cuda_nvrtc/lib/libnvrtc.so.12 ptxas=$(get nvcc12)/nvidia/cuda_nvcc/bin/ptxas
	cc -O1 -Wall -Wextra -Werror -o "$tmp/ptx" tools/cuda/ptx/ptx.c -ldl
	mkdir "$tmp/ptx12"
	for sm in 70 75 80 86 89 90; do
		for n in $sources; do
			# One source a folder: ptx compiles all that it finds.
			dir=$tmp/ptx12/$sm.$n
			mkdir "$dir"
			ln -s "$kernels"/*.cuh "$kernels/$n.cu" "$dir"
			echo "12.$sm.$n $tmp/ptx $nvrtc $dir $dir $sm && $ptxas -v -Werror -arch=sm_$sm -o $tmp/out/12.$sm.$n $dir/${n}_$sm.ptx"
		done
	done >>"$tmp/todo"
}

with13() {
	# nvcc finds its parts by their places beside it: one tree of links to all wheels
	mkdir "$tmp/cuda13"
	for p in runtime13 crt13 nvvm13 nvcc13; do cp -rsf "$(get $p)/nvidia/cu13/." "$tmp/cuda13"; done
	cp --remove-destination "$(get nvcc13)"/nvidia/cu13/bin/nvcc* "$tmp/cuda13/bin"
	cp --remove-destination "$(get nvvm13)"/nvidia/cu13/nvvm/bin/* "$tmp/cuda13/nvvm/bin"
	for sm in 75 80 86 89 90; do
		for n in $sources; do
			echo "13.$sm.$n $tmp/cuda13/bin/nvcc -ccbin /usr/bin/g++ -std=c++17 -arch=sm_$sm -cubin" \
				"-Werror all-warnings -Wmissing-launch-bounds -Wreorder -Xcompiler -Wall,-Wextra -Xptxas -v,-Werror -o $tmp/out/13.$sm.$n $n.cu"
		done
	done >>"$tmp/todo"
}

withptx() {
	ptxas11=$(get debnvcc11)/usr/bin/ptxas ptxas12=$(get nvcc12)/nvidia/cuda_nvcc/bin/ptxas ptxas13=$(get nvcc13)/nvidia/cu13/bin/ptxas
	for sm in 70 75 80 86 89 90; do
		for n in $sources; do
			best=
			for p in "$kernels/ptx/$n"_[0-9]*.ptx; do # sorted: the last that fits is the newest
				at=${p##*_} at=${at%.ptx}
				[ -e "$p" ] && [ "$at" -le $sm ] && best=$p
			done
			[ -n "$best" ] || { echo "cuda-matrix: no PTX of $n.cu for sm_$sm: run make ptx" >&2; exit 1; }
			echo "ptx11.$sm.$n $ptxas11 -v -Werror -arch=sm_$sm -o $tmp/out/ptx11.$sm.$n $best"
			echo "ptx12.$sm.$n $ptxas12 -v -Werror -arch=sm_$sm -o $tmp/out/ptx12.$sm.$n $best"
			[ $sm = 70 ] || echo "ptx13.$sm.$n $ptxas13 -v -Werror -arch=sm_$sm -o $tmp/out/ptx13.$sm.$n $best"
		done
	done >>"$tmp/todo"
}

mkdir "$tmp/out"
all=; [ $# -gt 0 ] || { all=${SOURCES:-yes}; set -- 11 12 13 ptx; }
for toolkit; do "with$toolkit"; done
cat >"$tmp/one" <<ONE
cd $kernels
name=\${1%% *}
sh -c "\${1#* }" >$logs/\$name.log 2>&1 || { echo "FAILED \$name"; cat $logs/\$name.log; echo "\$name" >>$tmp/failed; }
ONE
echo "cuda-matrix: $(wc -l <"$tmp/todo") compilations, $jobs at a time"
tr '\n' '\0' <"$tmp/todo" | xargs -0 -P "$jobs" -n 1 sh "$tmp/one"
if [ -e "$tmp/failed" ]; then
	echo "cuda-matrix: $(wc -l <"$tmp/failed") of $(wc -l <"$tmp/todo") compilations failed"
	exit 1
fi
$go run ./tools/cuda/budget $([ "$all" = yes ] && echo -o docs/cuda-kernels.md) "$logs"
