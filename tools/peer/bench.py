#!/usr/bin/env python3
"""Measures training steps of tandem beside OpenCLIP on PyTorch: same models, batches, precision and threads.

Usage, at the root of the repository after `make build`: bench.py [--models a,b] [--rounds N] [--json FILE]
or, after `make build CUDA=1` on a machine with a GPU, bench.py --device cuda:0

On a GPU one after another has all of it. On the CPU, in every round PyTorch eager, PyTorch compiled (torch.compile) and tandem train a
few steps in turn, so that a busy moment of the machine hits all of them; what is printed are medians over
all steps, and their ratios. Whoever does not train waits without using the processor. tandem runs as users run it,
`runner bench`, through its plugin processes and with its own data loading; PyTorch gets its tensors for
nothing.

Captions: `own` are those of the spec's dataset. PyTorch computes all tokens of the context, tandem the
captions' own. `full` are captions that fill the context, where there is no padding to skip.
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

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Model: spec, batch, precision, steps a round, targets against eager and compiled.
MODELS = {
    "quickstart": ("quickstart", 128, "f32", 30, 2.0, 1.5),
    "vit-b32": ("vit-b32", 32, "f32", 3, 1.3, 1.15),
    "vit-b32-bf16": ("vit-b32", 32, "bf16", 3, 1.3, 1.15),
    "rn50": ("rn50", 16, "f32", 3, 1.2, 1.1),
    # The plugin encoders/openclip: the same PyTorch behind the wire. It needs make python.
    "vit-b32-openclip": ("vit-b32", 32, "f32", 3, 0.95, 0),
}
# On a GPU.
GPU_MODELS = {
    "vit-b32-bf16": ("vit-b32", 1024, "bf16", 20, 1.2, 1.2),
    "vit-b32-tf32": ("vit-b32", 512, "tf32", 20, 1.2, 1.2),
    "rn50-bf16": ("rn50", 256, "bf16", 20, 1.2, 1.2),
}


class Peer:
    """A PyTorch process that trains on request."""

    def __init__(self, spec, batch, precision, mode, threads, device):
        env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, HERE / "peer.py", spec, str(batch), precision, mode, str(threads), device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=env)
        if self.process.stdout.readline().strip() != "ready":
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


def models(device):
    """What is measured on a device."""
    return MODELS if device == "cpu" else GPU_MODELS


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


def measure(name, rounds, threads, device):
    """One row for each kind of captions."""
    spec, batch, precision, steps, *targets = models(device)[name]
    def start(mode):
        return Peer(spec, batch, precision, mode, threads, device)

    times = {mode: [] for mode in ("eager", "compiled")}
    # The emoji are too few for the batches of a GPU.
    ours = {"own": [], "full": []} if device == "cpu" else {"full": []}
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for captions in ours:
            (pathlib.Path(folder) / captions).mkdir()
            paths[captions] = spec_file(pathlib.Path(folder) / captions, name, spec, batch, precision, captions)
        if device == "cpu":
            peers = {mode: start(mode) for mode in times}
            for _ in range(rounds):
                for mode, peer in peers.items():
                    times[mode] += peer.steps(steps)
                for captions, benches in ours.items():
                    benches.append(tandem(paths[captions], steps, device))
            peaks = {mode: peer.close() for mode, peer in peers.items()}
        else:  # one after another: together they do not fit a GPU's memory
            for mode in times:
                peer = start(mode)
                for _ in range(rounds):
                    times[mode] += peer.steps(steps)
                peaks[mode] = peer.close()
            for captions, benches in ours.items():
                benches += [tandem(paths[captions], steps, device) for _ in range(rounds)]
    for captions, benches in ours.items():
        ms = statistics.median(b["step_ms"] for b in benches)
        row = {
            "model": name, "captions": captions, "batch": batch, "precision": precision, "threads": threads,
            "tandem_ms": ms, "tandem_images_per_s": 1000 * batch / ms,
            "tandem_peak_share": statistics.median(b["peak_share"] for b in benches),
            "peak_gflops": max(b["peak_gflops"] for b in benches),
            "step_gflop": statistics.median(b["step_gflop"] for b in benches),
            "tandem_memory_mib": max(memory(b) for b in benches),
        }
        for mode, target in zip(times, targets):
            middle = statistics.median(times[mode])
            row |= {f"{mode}_ms": middle, f"{mode}_images_per_s": 1000 * batch / middle, f"{mode}_ratio": middle / ms,
                    f"{mode}_target": target, f"{mode}_memory_mib": peaks[mode]}
        yield row


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cpu", help="cpu, or cuda:N for both; memory is then PyTorch's on the GPU and tandem's on the host")
    p.add_argument("--models", help=f"models to measure, of {', '.join(MODELS)}; on a GPU of {', '.join(GPU_MODELS)}")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--json", help="write all figures to this file")
    a = p.parse_args()
    rows = []
    print(f"{'':29}{'images/s':^31}{'ratio (target)':^24}{'of the':>7}{'peak memory, MiB':^26}\n"
          f"{'model':14}{'captions':>9}{'tandem':>12}{'eager':>9}{'compiled':>10}{'eager':>12}{'compiled':>12}{'peak':>7}"
          f"{'tandem':>8}{'eager':>8}{'compiled':>10}")
    for name in a.models.split(",") if a.models else models(a.device):
        if name not in models(a.device):
            sys.exit(f"no model {name!r}; there are {', '.join(models(a.device))}")
        for r in measure(name, a.rounds, a.threads, a.device):
            rows.append(r)
            ratio = {m: f"{r[m + '_ratio']:.2f} ({r[m + '_target']})" for m in ("eager", "compiled")}
            print(f"{name:14}{r['captions']:>9}{r['tandem_images_per_s']:12.1f}{r['eager_images_per_s']:9.1f}"
                  f"{r['compiled_images_per_s']:10.1f}{ratio['eager']:>12}{ratio['compiled']:>12}{r['tandem_peak_share']:7.0%}"
                  f"{r['tandem_memory_mib']:8.0f}{r['eager_memory_mib']:8.0f}{r['compiled_memory_mib']:10.0f}", flush=True)
    print(f"medians over {a.rounds} rounds, {a.threads} threads, {a.device}")
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps(rows, indent=1))


main()
