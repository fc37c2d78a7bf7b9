"""Says what runner serve with five viewers costs a training.

    python3 tools/serve-cost.py [PAIRS]

Makes pairs of the same training, without and with a server whose five viewers fetch their page again at every change, and prints
the CPU time of the training and of the server. Needs bin/ (make build) and nothing else.
"""
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

RUNNER = "bin/runner"
PAGES = ["", "e/m", "run/latest", "run/latest/curve?metric=train/loss", ""]
fetched = 0


def train(db, runs):
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    done = subprocess.run([RUNNER, "run", "experiments/small-vit.yaml", "--db", db, "--runs-dir", runs, "-q", "--no-progress",
                           "--set", "train.max_steps=160", "--set", "name=m"], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or "lock" in done.stderr:
        sys.exit(done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.time() - began


def view(base, page):
    """Does as an open page, until the server ends."""
    global fetched
    try:
        for line in urllib.request.urlopen(base + "live"):
            if line.strip() == b"event: changed":
                urllib.request.urlopen(urllib.request.Request(base + page, headers={"Accept": "text/html"})).read()
                fetched += 1
    except OSError:
        pass


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def served(db, runs):
    global fetched
    fetched = 0
    server = subprocess.Popen([RUNNER, "serve", "--db", db, "--runs-dir", runs, "--addr", "127.0.0.1:0"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    base = server.stdout.readline().strip()
    for page in PAGES:
        threading.Thread(target=view, args=(base, page), daemon=True).start()
    time.sleep(2)
    used, began = cpu(server.pid), time.time()
    seconds, wall = train(db, runs)
    used, took = cpu(server.pid) - used, time.time() - began
    server.send_signal(signal.SIGINT)
    if server.wait():
        sys.exit(f"the server ended with {server.returncode}")
    share = 100 * used / took / os.cpu_count()
    print(f"with    {seconds:6.1f} s CPU {wall:6.1f} s wall; server {used:.2f} s CPU = {share:.2f} % of {os.cpu_count()} cores, {fetched} fetches", flush=True)


def alone(db, runs):
    print("without %6.1f s CPU %6.1f s wall" % train(db, runs), flush=True)


with tempfile.TemporaryDirectory() as folder:
    where = os.path.join(folder, "m.db"), os.path.join(folder, "runs")
    for pair in range(int(sys.argv[1]) if len(sys.argv) > 1 else 2):
        for one in (alone, served) if pair % 2 == 0 else (served, alone):
            one(*where)
