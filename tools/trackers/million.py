"""Reads a run's event files with TensorBoard's accumulator and with its data server, and compares every value with the database.

    million.py FOLDER DATABASE
"""

import math
import os
import sqlite3
import struct
import sys
import time


def single(value):
    return math.nan if value is None else struct.unpack("f", struct.pack("f", value))[0]


def recorded(path):
    curves = {}
    for metric, step, value in sqlite3.connect(path).execute("SELECT metric, step, value FROM v_metrics ORDER BY metric, step"):
        curves.setdefault(metric, []).append((step, single(value)))
    return curves


def accumulated(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = [at for at, _, names in os.walk(folder) if any(".tfevents." in name for name in names)]
    events = EventAccumulator(run, size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def served(folder):
    from tensorboard.data.server_ingester import SubprocessServerDataIngester, get_server_binary
    from tensorboard.context import RequestContext
    from tensorboard.util import grpc_util

    ingester = SubprocessServerDataIngester(
        get_server_binary(), folder, reload_interval=5, channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
        samples_per_plugin={"scalars": 10_000_000},
    )
    ingester.start()
    provider, context = ingester.data_provider, RequestContext()
    before = None
    while True:  # it loads in the background, and does not say when it is done
        curves = {}
        for series in provider.read_scalars(context, experiment_id="", plugin_name="scalars", downsample=10_000_000).values():
            curves |= {tag: [(p.step, p.value) for p in points] for tag, points in series.items()}
        if curves and curves == before:
            return curves
        before = curves
        time.sleep(2)


def main(folder, database):
    want = recorded(database)
    count = sum(map(len, want.values()))
    size = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
    print(f"the database has {count:,} points of {len(want)} metrics; the event files have {size / 1e6:.1f} MB")
    for name, read in {"accumulator": accumulated, "data server": served}.items():
        start = time.perf_counter()
        got = read(folder)
        took = time.perf_counter() - start
        wrong = [m for m in want if [(s, repr(v)) for s, v in got.get(m, [])] != [(s, repr(v)) for s, v in want[m]]]
        print(f"{name}: {sum(map(len, got.values())):,} points in {took:.1f} s, {len(wrong)} metrics differ")
        if wrong or len(got) != len(want):
            sys.exit(f"{name}: {wrong[:5]}, {len(got)} metrics of {len(want)}")


main(*sys.argv[1:])
