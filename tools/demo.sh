#!/bin/sh
# Trains the quickstart with what this machine has, then shows where to look next.
set -e
cd "$(dirname "$0")/.."
schedule=
if ! bin/runner devices --json | grep -q '"device": "cpu".*"detail": "oneDNN'; then
	echo "Without oneDNN the pure Go backend trains: a smaller schedule, so expect a smaller accuracy."
	echo "  (apt-get install libdnnl-dev, then make demo again, for the whole one)"
	schedule="--set train.max_steps=300"
fi
# shellcheck disable=SC2086 # the schedule is several words
bin/runner run experiments/quickstart.yaml $schedule
