"""Makes pairs of runs, with and without trackers, and compares the processor time of the runner and the time of a step.

    steptime.py RUNNER SPEC PAIRS TRACKERS [--set …]

The processor time is that of the runner's process alone, of /proc/PID/stat, read every 20 ms until it ends. The time of a step is the
median of batch_size / train/samples_per_s. Runs alternate, so that what else the machine does falls on both.
"""

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time


def ticks(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def run(runner, spec, more):
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "TRACKIO_DIR": folder + "/trackio"}
        args = [runner, "run", spec, "-q", "--db", folder + "/r.db", "--runs-dir", folder + "/runs", *more]
        process = subprocess.Popen(args, env=env, stdout=subprocess.DEVNULL)
        used = 0
        while process.poll() is None:
            try:
                used = max(used, ticks(process.pid))
            except (FileNotFoundError, ProcessLookupError):
                pass
            time.sleep(0.02)
        assert process.returncode == 0, process.returncode
        db = sqlite3.connect(folder + "/r.db")
        rates = [v for (v,) in db.execute("SELECT value FROM v_metrics WHERE metric = 'train/samples_per_s'")]
        (batch,) = db.execute("SELECT value FROM v_params WHERE key = 'train.batch_size'").fetchone()
        steps = [1000 * batch / v for v in rates if v]
        return 1000 * used / os.sysconf("SC_CLK_TCK") / len(steps), statistics.median(steps), len(steps)


def main(runner, spec, pairs, trackers, *more):
    with_, without = [], []
    for _ in range(int(pairs)):
        without.append(run(runner, spec, more))
        with_.append(run(runner, spec, [*more, "--report", trackers]))
    for name, i in {"processor time of the runner": 0, "time of a step (median)": 1}.items():
        a, b = [r[i] for r in without], [r[i] for r in with_]
        deltas = [y - x for x, y in zip(a, b)]
        print(f"{name}, ms a step of {without[0][2]}: without {statistics.median(a):.4f}, with {trackers} {statistics.median(b):.4f}, "
              f"median difference of pairs {statistics.median(deltas):+.4f}: {[round(d, 4) for d in deltas]}")


main(*sys.argv[1:])
