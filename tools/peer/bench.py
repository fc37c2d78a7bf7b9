#!/usr/bin/env python3
"""Measures training steps of tandem beside OpenCLIP on PyTorch: same models, batches, precision and threads.

Usage, at the root of the repository after `make build`: bench.py [--models a,b] [--rounds N] [--isa avx2] [--json FILE]
or, after `make build CUDA=1` on a machine with a GPU, bench.py --device cuda:0

On a GPU one after another has all of it. On the CPU, in every round PyTorch eager, PyTorch compiled (torch.compile) and tandem train a
few steps in turn, so that a busy moment of the machine hits all of them; what is printed are medians over
all steps, and their ratios. Whoever does not train waits without using the processor. tandem runs as users run it,
`runner bench`, through its plugin processes and with its own data loading; PyTorch gets its tensors for
nothing.

Captions: `own` are those of the spec's dataset. PyTorch computes all tokens of the context, tandem the
captions' own. `full` are captions that fill the context, where there is no padding to skip.

A busy machine misleads. `others` is the share of the processors' time that other programs took during the turns of a row,
`spread` how far a contender's rounds are apart at most, over its median. A ! marks what is too much for the ratio to be
relied on; rounds that are doubtful are named below, none is dropped. --json has every turn.

--isa avx2 holds tandem, PyTorch, its MKL, its oneDNN and what torch.compile compiles to AVX2. On such processors
PyTorch has no bfloat16 products worth the name, so the rows in bf16 are left out.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import yaml
from PIL import Image

import machine

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Model: spec, batch, precision, steps a round.
MODELS = {
    "quickstart": ("quickstart", 128, "f32", 30),
    "vit-b32": ("vit-b32", 32, "f32", 3),
    "vit-b32-bf16": ("vit-b32", 32, "bf16", 3),
    "rn50": ("rn50", 16, "f32", 3),
    # The plugin encoders/openclip: the same PyTorch behind the wire. It needs make python.
    "vit-b32-openclip": ("vit-b32", 32, "f32", 3),
}
# What the ratios to eager and compiled should be at least, by instruction set, model and captions; 0 is no target.
TARGETS = {
    "avx512": {
        "quickstart": {"own": (2.0, 2.0), "full": (2.0, 2.0)},
        "vit-b32": {"own": (2.05, 2.05), "full": (1.4, 1.4)},
        "vit-b32-bf16": {"own": (2.4, 2.15), "full": (1.6, 1.45)},
        "rn50": {"own": (1.85, 1.95), "full": (1.4, 1.45)},
        "vit-b32-openclip": {"own": (0.95, 0), "full": (0.95, 0)},
    },
    "avx2": {
        "quickstart": {"own": (2.3, 2.1), "full": (2.3, 2.1)},
        "vit-b32": {"own": (1.9, 1.6), "full": (0, 0)},
        "rn50": {"own": (1.3, 1.3), "full": (1.3, 1.3)},
        "vit-b32-openclip": {"own": (0.95, 0), "full": (0.95, 0)},
    },
    "gpu": {name: {"full": (1.2, 1.2)} for name in ("vit-b32-bf16", "vit-b32-tf32", "rn50-bf16")},
}
# What holds a process to AVX2: tandem's kernels, oneDNN's, and PyTorch's: ATen's, MKL's and inductor's.
HOLD = {
    "avx2": {"TANDEM_ISA": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
             "MKL_ENABLE_INSTRUCTIONS": "AVX2", "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3"},
}
# On a GPU.
GPU_MODELS = {
    "vit-b32-bf16": ("vit-b32", 1024, "bf16", 20),
    "vit-b32-tf32": ("vit-b32", 512, "tf32", 20),
    "rn50-bf16": ("rn50", 256, "bf16", 20),
}


class Peer:
    """A PyTorch process that trains on request."""

    def __init__(self, spec, batch, precision, mode, threads, device):
        env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, HERE / "peer.py", spec, str(batch), precision, mode, str(threads), device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=env)
        ready, _, self.capability = self.process.stdout.readline().strip().partition(" ")
        if ready != "ready":
            self.log.seek(0)
            sys.exit(f"PyTorch {mode} did not start:\n{self.log.read()[-2000:]}")

    def steps(self, n):
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        return [1000 * s for s in json.loads(self.process.stdout.readline())]

    def close(self):
        """Peak resident memory in MiB."""
        self.process.stdin.close()
        peak = json.loads(self.process.stdout.readline())["peak_kb"] / 1024
        self.process.wait()
        return peak


def models(device, isa="avx512"):
    """What is measured on a device."""
    if device != "cpu":
        return GPU_MODELS
    return {name: m for name, m in MODELS.items() if name in TARGETS[isa]}


def widest():
    """The widest instruction set of this processor for which there are targets."""
    return "avx512" if "avx512f" in machine.read("/proc/cpuinfo").split() else "avx2"


def check_held(isa):
    """Times a product of one PyTorch thread as it is held and as it is not, and says both."""
    code = ("import time, torch; torch.set_num_threads(1); a = torch.randn(1024, 1024); best = 9\n"
            "for _ in range(20): t = time.perf_counter(); a @ a; best = min(best, time.perf_counter() - t)\n"
            "print(f'{2.147 / best:.0f} GFLOP/s ({torch.backends.cpu.get_cpu_capability()})')")
    free = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_") and k not in HOLD[isa]}
    rates = [subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.strip()
             for env in (free | HOLD[isa], free)]
    print(f"held to {isa.upper()} by {' '.join(f'{k}={v}' for k, v in HOLD[isa].items())}\n"
          f"a product of one thread in PyTorch: {rates[0]}, not held {rates[1]}")
    return rates


def spec_file(folder, name, spec, batch, precision, captions):
    """The experiment's spec with the row's settings, and with captions that fill the context if asked."""
    source = ROOT / "experiments" / f"{spec}.yaml"
    s = yaml.safe_load(source.read_text())
    s["train"].update(batch_size=batch, precision=precision)
    if name.endswith("-openclip"):
        for tower in ("image", "text"):
            s[tower] = {"encoder": "openclip", "with": {"model": "ViT-B-32", "image_size": 224}}
    if captions == "full":
        size = s["image"]["with"]["image_size"]
        rows = ["image,caption"]
        for i in range(2 * batch):
            name = f"{i}.png"
            Image.new("RGB", (size, size), (i * 37 % 256, i * 91 % 256, i * 53 % 256)).save(folder / name)
            rows.append(f"{name},{' '.join(f'w{i * 131 + j * 17}' for j in range(100))}")
        (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
        s["data"]["train"] = {"dataset": "csv", "with": {"file": str(folder / "pairs.csv")}}
        s["eval"] = []
    path = folder / f"{spec}.yaml"
    path.write_text(yaml.safe_dump(s))
    return path


def tandem(path, steps, device):
    out = subprocess.run([ROOT / "bin" / "runner", "bench", path, "--steps", str(steps), "--warmup", "2" if device == "cpu" else "5",
                          "--set", f"device={device}", "--json"],
                         capture_output=True, text=True, cwd=ROOT)
    if out.returncode:
        sys.exit(f"runner bench failed:\n{out.stderr[-2000:]}")
    return json.loads(out.stdout)


def memory(bench):
    """Peak resident memory over all processes in MiB, what they share counted once."""
    parts = bench["memory"]
    shared = [p["shared"] for p in parts]
    return (sum(p["peak"] for p in parts) - sum(shared) + max(shared)) / 2**20


def measure(name, rounds, threads, device, isa):
    """One row for each kind of captions."""
    spec, batch, precision, steps = models(device, isa)[name]
    def start(mode):
        peer = Peer(spec, batch, precision, mode, threads, device)
        if device == "cpu" and isa == "avx2" and peer.capability != "AVX2":
            sys.exit(f"PyTorch is to be held to AVX2 and computes with {peer.capability}")
        return peer

    times = {mode: [] for mode in ("eager", "compiled")}
    # The emoji are too few for the batches of a GPU.
    ours = {"own": [], "full": []} if device == "cpu" else {"full": []}
    peaks, turns = {}, machine.Turns()
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for captions in ours:
            (pathlib.Path(folder) / captions).mkdir()
            paths[captions] = spec_file(pathlib.Path(folder) / captions, name, spec, batch, precision, captions)

        def train(n, mode, peer):
            times[mode] += turns.take(n, mode, lambda: peer.steps(steps), statistics.median)

        def bench(n, captions):
            got = turns.take(n, captions, lambda: tandem(paths[captions], steps, device), lambda b: b["step_ms"])
            if device == "cpu" and isa == "avx2" and "avx512" in got["device"]:
                sys.exit(f"tandem is to be held to AVX2 and computes with {got['device']}")
            ours[captions].append(got)

        if device == "cpu":
            peers = {mode: start(mode) for mode in times}
            for n in range(1, rounds + 1):
                turns.pause()
                for mode, peer in peers.items():
                    train(n, mode, peer)
                for captions in ours:
                    bench(n, captions)
            peaks = {mode: peer.close() for mode, peer in peers.items()}
        else:  # one after another: together they do not fit a GPU's memory
            for mode in times:
                peer = start(mode)
                turns.pause()
                for n in range(1, rounds + 1):
                    train(n, mode, peer)
                peaks[mode] = peer.close()
            for captions in ours:
                turns.pause()
                for n in range(1, rounds + 1):
                    bench(n, captions)
    for captions, benches in ours.items():
        ms = statistics.median(b["step_ms"] for b in benches)
        row = {
            "model": name, "captions": captions, "batch": batch, "precision": precision, "threads": threads,
            "isa": isa if device == "cpu" else None, "tandem_device": benches[0]["device"],
            "tandem_ms": ms, "tandem_images_per_s": 1000 * batch / ms,
            "tandem_peak_share": statistics.median(b["peak_share"] for b in benches),
            "peak_gflops": max(b["peak_gflops"] for b in benches),
            "step_gflop": statistics.median(b["step_gflop"] for b in benches),
            "tandem_memory_mib": max(memory(b) for b in benches),
            "machine": turns.of("eager", "compiled", captions),
        }
        for mode, target in zip(times, TARGETS[isa if device == "cpu" else "gpu"][name][captions]):
            middle = statistics.median(times[mode])
            row |= {f"{mode}_ms": middle, f"{mode}_images_per_s": 1000 * batch / middle, f"{mode}_ratio": middle / ms,
                    f"{mode}_target": target, f"{mode}_memory_mib": peaks[mode]}
        yield row


def quality(row):
    """The columns others and spread of a row, and lines that say which rounds are doubtful."""
    m = row["machine"]
    worst = max(m["others_share"], m["others_between"])
    columns = f"{worst:.0%}{'!' if m['busy'] else ''}", f"{max(m['spread'].values()):.0%}{'!' if m['apart'] else ''}"
    lines = [f"  ! {row['model']} {row['captions']}, round {r['round']}: {'; '.join(r['marked'])}" for r in m["rounds"] if r["marked"]]
    return columns, lines


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cpu", help="cpu, or cuda:N for both; memory is then PyTorch's on the GPU and tandem's on the host")
    p.add_argument("--models", help=f"models to measure, of {', '.join(MODELS)}; on a GPU of {', '.join(GPU_MODELS)}")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--isa", choices=list(HOLD), help="hold tandem and PyTorch to this instruction set")
    p.add_argument("--json", help="write all figures to this file")
    a = p.parse_args()
    isa = a.isa or widest()
    names = a.models.split(",") if a.models else list(models(a.device, isa))
    for name in names:
        if name not in models(a.device, isa):
            sys.exit(f"no model {name!r} for {isa if a.device == 'cpu' else a.device}; there are {', '.join(models(a.device, isa))}")
    load, before = machine.load_average(), machine.idle_look(2)
    if before > machine.BUSY:
        print(f"! the machine is busy: before the first round other programs take {before:.0%} of its processors")
    elif load > len(os.sched_getaffinity(0)) / 2:
        print(f"! the machine was busy: the load average of the last minute is {load:.1f}")
    held = None
    if a.isa and a.device == "cpu":
        held = check_held(a.isa)
        os.environ |= HOLD[a.isa]
    rows, doubtful = [], []
    print(f"{'':29}{'images/s':^31}{'ratio (target)':^24}{'of the':>7}{'peak memory, MiB':^26}\n"
          f"{'model':14}{'captions':>9}{'tandem':>12}{'eager':>9}{'compiled':>10}{'eager':>12}{'compiled':>12}{'peak':>7}"
          f"{'tandem':>8}{'eager':>8}{'compiled':>10}{'others':>8}{'spread':>8}")
    for name in names:
        for r in measure(name, a.rounds, a.threads, a.device, isa):
            rows.append(r)
            ratio = {m: f"{r[m + '_ratio']:.2f} ({r[m + '_target'] or '-'})" for m in ("eager", "compiled")}
            (others, spread), lines = quality(r)
            doubtful += lines
            print(f"{name:14}{r['captions']:>9}{r['tandem_images_per_s']:12.1f}{r['eager_images_per_s']:9.1f}"
                  f"{r['compiled_images_per_s']:10.1f}{ratio['eager']:>12}{ratio['compiled']:>12}{r['tandem_peak_share']:7.0%}"
                  f"{r['tandem_memory_mib']:8.0f}{r['eager_memory_mib']:8.0f}{r['compiled_memory_mib']:10.0f}{others:>8}{spread:>8}", flush=True)
    print(f"medians over {a.rounds} rounds, {a.threads} threads, {rows[0]['tandem_device']}")
    if any(r["machine"]["busy"] for r in rows):
        print(f"! others: other programs took more than {machine.BUSY:.0%} of the processors; the ratios of such rows are not to be relied on")
    if any(r["machine"]["apart"] for r in rows):
        print(f"! spread: rounds of one contender are more than {2 * machine.APART:.0%} apart; measure again on a quiet machine")
    print("\n".join(doubtful), end="\n" if doubtful else "")
    if a.json:
        result = {"before": {"load_average": load, "others_share": before}, "held": a.isa, "products_held_and_not": held, "rows": rows}
        pathlib.Path(a.json).write_text(json.dumps(result, indent=1))


main()
