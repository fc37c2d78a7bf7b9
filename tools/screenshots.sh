#!/bin/sh
# Takes the pictures of live pages in docs/img with Chromium: the board of a sweep on its way, and the answer page of a complete one.
#
#   screenshots.sh [DB] [RUNS]     a database with experiments/captions.yaml run to its end, and its folder of runs
#
# For the board it runs the same sweep with 60 steps a run in a folder that it removes, and looks when 12 runs are done.
set -e
root=$(cd "$(dirname "$0")/.." && pwd)
db=${1:-$root/results/results.db} runs=${2:-$root/results/runs}
runner=$root/bin/runner
chromium=${CHROMIUM:-chromium}
tmp=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null || true; rm -rf "$tmp"' EXIT

serve() { # DB RUNS: sets address
	"$runner" serve --addr 127.0.0.1:0 --db "$1" --runs-dir "$2" >"$tmp/address" 2>/dev/null &
	pids="$pids $!"
	while ! grep -q http "$tmp/address"; do sleep 0.2; done
	address=$(sed -n 's/.*\(http:[^ ]*\).*/\1/p' "$tmp/address" | head -1)
}
shoot() { # PATH FILE HEIGHT
	"$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=1 --window-size=1280,"$3" --timeout=8000 \
		--user-data-dir="$tmp/profile" --screenshot="$tmp/shot.png" "$address$1" >/dev/null 2>&1
	mv "$tmp/shot.png" "$root/docs/img/$2"
	echo "docs/img/$2: $(stat -c %s "$root/docs/img/$2") bytes"
}

serve "$db" "$runs"
shoot e/captions/answer answer.png 1100
"$runner" run "$root/experiments/captions.yaml" --set train.max_steps=60 --db "$tmp/board.db" --runs-dir "$tmp/runs" -q >/dev/null 2>&1 &
pids="$pids $!"
done_=0
while [ "$done_" -lt 12 ]; do
	sleep 0.5
	done_=$("$runner" query --csv "SELECT count(*) FROM v_runs WHERE status = 'done'" --db "$tmp/board.db" 2>/dev/null | tail -1)
	done_=${done_:-0}
done
serve "$tmp/board.db" "$tmp/runs"
shoot e/captions board.png 480
