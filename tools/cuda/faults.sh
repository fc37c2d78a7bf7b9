#!/bin/sh
# faults.sh plants faults in the CUDA backend and its kernels, one after the other, each in a copy of this tree, and
# runs the tests through the driver's double: each has to make them fail. A fault that no test finds ends it
# with status 1. Run by `make cuda-faults`, and not by `make test`: it takes some minutes.
set -e
GO=${GO:-go}
GOFLAGS= GO=$GO sh core/engine/device/cuda/trampoline/build.sh bin/cuda
sh core/engine/device/cuda/double/build.sh bin/cuda/include/toolkit bin/cuda/double
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT INT TERM
git ls-files -z | tar --null -T - -cf - | tar -C "$copy" -xf -
mkdir -p "$copy/bin"
cp -rp bin/cuda "$copy/bin/cuda"
cd "$copy"
GOFLAGS= GO=$GO sh core/engine/device/cuda/trampoline/build.sh bin/cuda # its module file names this folder
export GOFLAGS="-modfile=$copy/bin/cuda/go.mod" LD_LIBRARY_PATH="$copy/bin/cuda/double" TANDEM_CUDA_DOUBLE="$copy/bin/cuda/double/libkernels.so"
unfound=0

# plant WHAT FILE SED-EXPRESSION TESTS
plant() {
	cp -p "core/engine/device/cuda/$2" "$copy/kept"
	sed -i "$3" "core/engine/device/cuda/$2"
	cmp -s "$copy/kept" "core/engine/device/cuda/$2" && { echo "faults.sh: '$1' changes nothing in $2" >&2; exit 2; }
	rebuild "$2"
	if $GO test -tags clipcuda -count=1 -timeout 5m -run "$4" ./core/engine/device/cuda >"$copy/out" 2>&1; then
		unfound=$((unfound + 1))
		printf '%-44s NOT FOUND\n' "$1"
	else
		printf '%-44s found: %s\n' "$1" "$(grep -m1 -E 'cuda double: |_test.go:|devicetest|panic:' "$copy/out" | sed 's/^ *//' | cut -c1-150)"
	fi
	cp "$copy/kept" "core/engine/device/cuda/$2"
	rebuild "$2"
}

# rebuild FILE makes the kernels again when the file is one of theirs.
rebuild() { case $1 in kernels/*) sh core/engine/device/cuda/double/build.sh bin/cuda/include/toolkit bin/cuda/double ;; esac; }

plant 'write out of bounds' kernels/optim.cu 's/store(w, p + i, ps)/store(w, p + i + 4, ps)/' 'KernelsMatch'
plant 'write before the start' kernels/tokens.cu 's/store(w, out, r \* cols + c, v, half_out)/store(w, out, r * cols + c - 4, v, half_out)/' 'KernelsMatch'
plant 'divergent barrier' kernels/reduce.cuh 's/^\t__syncthreads();$/\tif (threadIdx.x < 32) __syncthreads();/' 'KernelsMatch'
plant 'memory that is not freed' memory.go 's/return b.ctx.Free(at)/return nil/' 'Memory'
plant 'blocks of too many threads' shape.go 's/threads = 256/threads = 2048/' 'KernelsMatch'
plant 'a grid that leaves rows out' shape.go 's/return dim{x: ceil(rows, 8)}/return dim{x: max(rows\/8, 1)}/' 'KernelsMatch'
plant 'scale and shift of layer norm swapped' code_rows.go 's/"layer_norm_any", arg(0), arg(1), arg(2)/"layer_norm_any", arg(0), arg(2), arg(1)/' 'KernelsMatch'
plant 'moments of AdamW swapped' code_optim.go 's/"adamw", arg(0), arg(1), arg(2), arg(3)/"adamw", arg(0), arg(1), arg(3), arg(2)/' 'KernelsMatch'
plant 'a number where an address belongs' code_optim.go 's/"sgd", arg(0), arg(1), arg(2), k.N/"sgd", arg(0), arg(1), k.N, arg(2)/' 'KernelsMatch'
plant 'no wait for a copy on the other stream' share.go 's/b.noteError(b.stream.Wait(b.prefetch.done))/_ = b.prefetch.done/' 'Prefetch|Copies|Fetch|Shared'
plant 'too little scratch' code_optim.go 's/scratch: 8,/scratch: 0,/' 'KernelsMatch'
plant 'a fragment of the transpose' kernels/attention_bf16.cuh 's/load_right<D + 8, true>(right, x/load_right<D + 8, false>(right, x/' 'AttentionInBF16Matches'
plant 'keys after the query' kernels/attention_bf16.cuh 's/? query + 1 : n/? query + 2 : n/' 'AttentionInBF16Matches'
plant 'probabilities that are not rounded first' kernels/mma.cuh 's/return bf16_of(low) | (unsigned)bf16_of(high) << 16/return __float_as_uint(low) >> 16 | (__float_as_uint(high) \& 0xffff0000u)/' 'AttentionInBF16Matches'
plant 'slopes where probabilities are read' kernels/attention_back_bf16.cu '/put<ROWS>(both, slope, row)/{N;s/__syncthreads();//}' 'AttentionInBF16Matches'
plant 'the scale left out' kernels/attention_back_bf16.cu 's/z.n, scale, half_grads/z.n, 1.f, half_grads/' 'AttentionInBF16Matches'
plant 'sums that are added up in place' driver/lt.c 's/reductions = COMPUTE_TYPE;/reductions = 7;/' 'EqualInputs'
plant 'the residual added twice' follow.go 's/f.Residual, f.Beta = x.at(otherArg), 1/f.Residual, f.Beta = x.at(otherArg), 2/' 'KernelsMatch'
plant 'operands taken for aligned' driver/lt.go 's/n \/= 2/return 16/' 'KernelsTakeViews|KernelsMatch'
[ "$unfound" = 0 ]
