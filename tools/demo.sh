#!/bin/sh
# Trains the quickstart with the fastest backend of this machine, or on DEVICE.
set -e
cd "$(dirname "$0")/.."
schedule=${DEVICE:+--set device=$DEVICE}
if [ -n "$DEVICE" ]; then
	# Developers may use the double of NVIDIA's driver (make test-cuda), which takes a second per step.
	if bin/runner devices --json | grep -q 'CPU test double'; then
		echo "A double of NVIDIA's driver computes on the CPU: a few small steps, so expect to see that it works, and no more."
		schedule="$schedule --set train.max_steps=60 --set train.batch_size=32"
	fi
elif ! bin/runner devices --json | grep -q '"device": "cpu".*"detail": "oneDNN'; then
	echo "Without oneDNN the pure Go backend trains: a smaller schedule, so expect a smaller accuracy."
	echo "  (apt-get install libdnnl-dev, then make demo again, for the whole one)"
	schedule="--set train.max_steps=300"
fi
# shellcheck disable=SC2086 # the schedule is several words
bin/runner run experiments/quickstart.yaml $schedule
