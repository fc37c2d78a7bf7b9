#!/bin/sh
# Makes a run that records a million points and reports them to TensorBoard, and has TensorBoard's own readers count and compare
# them. bin/ must be built; TANDEM_TRACKERS names a Python with tensorboard (make trackers makes one). STEPS is how many steps are made.
set -eu
cd "$(dirname "$0")/../.."
python=${TANDEM_TRACKERS:-.venv/trackers/bin/python}
steps=${STEPS:-3300}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/wide" ./tools/trackers/wide
cat > "$dir/million.yaml" <<EOF
image: {encoder: vit, with: {image_size: 16, patch_size: 8, width: 16, layers: 1, head_width: 16}}
text: {encoder: transformer, with: {width: 16, layers: 1, heads: 1, context_length: 12, vocab_size: 600}}
loss: {plugin: $dir/wide}
embed_dim: 16
data: {train: {dataset: emoji, with: {split: train}}}
train: {batch_size: 8, max_steps: $steps, checkpoint_every: 0}
EOF
bin/runner run "$dir/million.yaml" -q --report tensorboard --db "$dir/results.db" --runs-dir "$dir/runs" > "$dir/id"
"$python" tools/trackers/million.py "$dir/tensorboard" "$dir/results.db"
