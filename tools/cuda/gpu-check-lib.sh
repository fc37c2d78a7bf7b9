# The checks of tools/cuda/gpu-check.sh, which sources this file.

say() { printf '%s\n' "$@" | tee -a "$report"; }

wants() { case " $CHECKS " in *" $1 "*) ;; *) return 1 ;; esac; }

# result STATUS NAME DETAIL notes one line of the summary.
result() {
	printf '| %s | %s | %s |\n' "$2" "$1" "$3" >>"$out/summary"
	echo "gpu-check: $2: $1${3:+ ($3)}"
}

# check NAME SECONDS COMMAND... runs a command with its output in a log. A failure is noted with the end of that log.
check() {
	name=$1 limit=$2
	shift 2
	log=$out/$(echo "$name" | tr -c 'a-zA-Z0-9\n' '-').log
	began=$(date +%s)
	timeout "$limit" "$@" >"$log" 2>&1
	status=$?
	took="$(($(date +%s) - began)) s"
	[ $status -ne 124 ] || took="stopped after $limit s"
	if [ $status -eq 0 ]; then
		result passed "$name" "$took"
		return 0
	fi
	result FAILED "$name" "$took"
	say "" "### $name failed" "" '```' "$(grep -v '^ok ' "$log" | grep -v 'no test files' | tail -40)" '```'
	return 1
}

version_of() { { command -v "$1" >/dev/null && "$@" 2>&1 | head -1; } || echo "none"; }

title() {
	say "# gpu-check: tandem $(git rev-parse --short HEAD 2>/dev/null)$(git diff --quiet HEAD 2>/dev/null || echo ' with changes') on $DEVICE"
	[ -z "$double" ] || say "" "**Through the test double, on the CPU. No GPU was used, and no time below says anything about one.**"
	say "" "| | |" "|---|---|" "| date | $(date -u +%Y-%m-%dT%H:%MZ) |" \
		"| system | $(uname -sr), $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo 2>/dev/null | head -1) |" \
		"| Go | $($GO version) |"
	if [ -z "$double" ] && command -v nvidia-smi >/dev/null; then
		nvidia-smi --query-gpu=index,name,driver_version,memory.total,compute_cap,power.limit,clocks.max.sm,clocks.max.mem \
			--format=csv,noheader 2>/dev/null | while read -r line; do say "| GPU | $line |"; done
	fi
	say "" '```' "$(bin/runner devices)" '```'
}

# gotest NAME SECONDS ARGUMENTS... are tests that must run on the device, not skip.
gotest() {
	name=$1 limit=$2
	shift 2
	check "$name" "$limit" env GOFLAGS="$goflags" "$GO" test -count=1 -v -timeout "${limit}s" "$@" || return
	skipped=$(grep -c 'neither a GPU nor the test double' "$log")
	ran=$(grep -c '^ *--- PASS' "$log")
	if [ "$skipped" -gt 0 ] || [ "$ran" -eq 0 ] || ! grep -q cuda "$log"; then
		result FAILED "$name: did they run on the device?" "$skipped were skipped for want of one, $ran passed"
	fi
}

tests() {
	gotest "tests of the backend on the device" 3000 ./core/engine/device/cuda/...
	gotest "tests of all that computes" 3000 ./core/engine/device/devices/... ./core/engine/graph ./core/engine/nn ./core/engine/optim ./core/engine/tower/... ./core/engine/loss/... \
		./plugins/encoders/... ./plugins/losses/...
}

goldens() {
	gotest "goldens of OpenCLIP's towers" 1800 -run TestAgreesWithOpenCLIP ./plugins/encoders/...
	gotest "goldens of OpenCLIP's losses" 1800 -run OpenCLIP ./plugins/losses/...
}

# curve DEVICE PRECISION ARGUMENTS... prints the losses of a short training, one a line.
curve() {
	on=$1 as=$2
	shift 2
	dir=$(mktemp -d "$out/run.XXXXXX")
	bin/runner run "$@" --set device="$on" --set train.precision="$as" --set train.max_steps=20 --set eval='[]' \
		--db "$dir/results.db" --runs-dir "$dir" --no-progress >"$dir/log" 2>&1 || { cat "$dir/log" >&2; return 1; }
	bin/runner query --db "$dir/results.db" --csv "SELECT value FROM v_metrics WHERE metric = 'train/loss' ORDER BY step" | tail -n +2
	rm -rf "$dir"
}

# agree NAME BOUND SPEC ARGUMENTS...: 20 steps on the device have the losses of the CPU, within BOUND.
agree() {
	name=$1 bound=$2 precision=$3
	shift 3
	slug=$(echo "$name" | tr -c 'a-z0-9\n' '-')
	if ! curve cpu f32 "$@" >"$out/$slug.cpu" 2>"$out/$slug.err" || ! curve "$DEVICE" "$precision" "$@" >"$out/$slug.device" 2>>"$out/$slug.err"; then
		result FAILED "$name" "did not train"
		say "" "### $name failed" "" '```' "$(tail -20 "$out/$slug.err")" '```'
		return
	fi
	paste "$out/$slug.cpu" "$out/$slug.device" | awk -v bound="$bound" '
		{ d = $1 - $2; if (d < 0) d = -d; if (!(d <= worst)) { worst = d; at = NR }; n++ }
		END { printf "%d steps, the largest difference %.2g at step %d, allowed %g\n", n, worst, at, bound; exit !(n == 20 && worst <= bound) }' >"$out/$slug.verdict"
	if [ $? -eq 0 ]; then result passed "$name" "$(cat "$out/$slug.verdict")"; else result FAILED "$name" "$(cat "$out/$slug.verdict")"; fi
}

trainings() {
	small= vit= rn=
	if [ "$double" ]; then
		small="--set train.batch_size=8"
		vit="--set image.with.image_size=32 --set image.with.patch_size=8 --set image.with.width=64 --set image.with.layers=2 --set image.with.head_width=32"
		vit="$vit --set text.with.context_length=12 --set text.with.width=64 --set text.with.heads=2 --set text.with.layers=1 --set text.with.vocab_size=600"
		rn="--set image.with.image_size=64 --set image.with.width=8 --set image.with.layers=[1,1,1,1] --set embed_dim=32"
		rn="$rn --set text.with.context_length=12 --set text.with.width=64 --set text.with.heads=2 --set text.with.layers=1 --set text.with.vocab_size=600"
	fi
	# shellcheck disable=SC2086
	{
		agree "20 steps of the quickstart beside the CPU" 1e-4 f32 experiments/quickstart.yaml $small
		agree "20 steps of a ViT beside the CPU" 1e-4 f32 experiments/vit-b32.yaml --set train.batch_size=8 $vit
		agree "20 steps of a ResNet beside the CPU" 1e-4 f32 experiments/rn50.yaml --set train.batch_size=8 $rn
		agree "20 steps of the quickstart in bfloat16" 2e-2 bf16 experiments/quickstart.yaml $small
	}
}

sanitizer() {
	if [ "$double" ]; then
		result skipped compute-sanitizer "the double checks memory, barriers and launches itself"
		return
	fi
	tool=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -1)
	if [ -z "$tool" ]; then
		result skipped compute-sanitizer "not found in PATH or /usr/local/cuda*/bin; it comes with the CUDA toolkit"
		return
	fi
	if ! GOFLAGS=$goflags "$GO" test -c -o "$out/cuda.test" ./core/engine/device/cuda >"$out/sanitizer-build.log" 2>&1; then
		result FAILED compute-sanitizer "the tests do not build"
		return
	fi
	for kind in memcheck racecheck synccheck; do
		(cd core/engine/device/cuda && check "compute-sanitizer $kind" 3600 "$tool" --tool $kind --error-exitcode 9 --print-limit 20 "$out/cuda.test" -test.timeout 60m)
	done
}

# pairs makes a table of n photographs of this repository with captions that fill the context.
pairs() {
	awk -v n="$1" 'BEGIN { print "image,caption"; for (i = 0; i < n; i++) { printf "rocket-420.jpg,"; for (j = 0; j < 100; j++) printf "w%d ", (i*131 + j*17) % 900; print "" } }'
}

# spec NAME BATCH writes the experiment NAME with that data in place of its own.
spec() {
	pairs $((2 * $2)) >"$out/pairs.csv"
	awk -v file="$out/pairs.csv" -v root="$PWD/core/media/vision/testdata/photos" '
		/^data:/ { skip = 1; print "data: {train: {dataset: csv, with: {file: " file ", root: " root ", same_image: separate}}}" }
		/^train:/ { skip = 0 }
		!skip' "experiments/$1.yaml" >"$out/$1.yaml"
}

# step NAME PRECISION BATCH: runner bench, with the batch halved until it fits the memory.
step() {
	batch=$3
	while :; do
		spec "$1" "$batch"
		if bin/runner bench "$out/$1.yaml" --set device="$DEVICE" --set train.precision="$2" --set train.batch_size="$batch" \
			--steps "$STEPS" --warmup 5 >"$out/bench-$1-$2.log" 2>&1; then
			result passed "bench $1 $2, batch $batch" "$(grep -o '[0-9.,]* images/s' "$out/bench-$1-$2.log" | tail -1)"
			say "" "### $1, $2, batch $batch" "" '```' "$(cat "$out/bench-$1-$2.log")" '```'
			return
		fi
		if ! grep -qi 'memory\|exhausted' "$out/bench-$1-$2.log" || [ "$batch" -le 8 ]; then
			result FAILED "bench $1 $2, batch $batch" ""
			say "" "### bench $1 $2 failed" "" '```' "$(tail -20 "$out/bench-$1-$2.log")" '```'
			return
		fi
		result note "bench $1 $2, batch $batch" "does not fit the memory"
		batch=$((batch / 2))
	done
}

bench() {
	say "" "## Benchmarks"
	if check "benchmarks of the kernels" 1200 env GOFLAGS="$goflags" "$GO" test -run '^$' -bench . -benchtime "$([ "$double" ] && echo 1x || echo 1s)" ./core/engine/device/cuda; then
		say "" '```' "$(grep -E '^(Benchmark|cpu|goos)' "$log")" '```'
	fi
	if [ "$double" ]; then
		STEPS=1
		step quickstart f32 8
		step quickstart bf16 8
		return
	fi
	for precision in bf16 tf32 f32; do step vit-b32 $precision "$BATCH"; done
	for precision in bf16 tf32 f32; do step rn50 $precision $((BATCH / 4)); done
	if bin/runner profile "$out/vit-b32.yaml" --set device="$DEVICE" --set train.precision=bf16 --set train.batch_size=256 --steps 5 >"$out/profile.log" 2>&1; then
		say "" "### Where a step of vit-b32 goes, bf16, batch 256" "" '```' "$(cat "$out/profile.log")" '```'
	else
		result FAILED "profile of vit-b32" "$(tail -1 "$out/profile.log")"
	fi
}

peer() {
	python=$PEER_VENV/bin/python
	if ! [ -x "$python" ] || ! "$python" -c 'import open_clip, yaml' 2>/dev/null; then
		result skipped "beside PyTorch" "no torch and open_clip in $PEER_VENV: python3 -m venv $PEER_VENV && $PEER_VENV/bin/pip install torch open_clip_torch pyyaml, or PEER_VENV=another"
		return
	fi
	if [ "$double" ]; then
		result skipped "beside PyTorch" "there is nothing to compare with a double"
		return
	fi
	if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
		result skipped "beside PyTorch" "torch in $PEER_VENV sees no GPU ($("$python" -c 'import torch; print(torch.__version__, torch.version.cuda)'))"
		return
	fi
	if check "beside PyTorch" 3600 "$python" tools/peer/bench.py --device "$DEVICE" --rounds 3 --json "$out/peer.json"; then
		say "" "## Beside PyTorch and OpenCLIP on the same GPU" "" '```' "$(cat "$log")" '```'
	fi
}

summary() {
	failed=$(grep -c '| FAILED |' "$out/summary")
	say "" "## Summary" "" "| check | result | |" "|---|---|---|" "$(cat "$out/summary")" ""
	[ -z "$double" ] || say "Through the test double, on the CPU." ""
	say "$(grep -c '| passed |' "$out/summary") passed, $failed failed, $(grep -c '| skipped |' "$out/summary") skipped."
	echo "gpu-check: the report is $report"
	[ "$failed" -eq 0 ]
}
