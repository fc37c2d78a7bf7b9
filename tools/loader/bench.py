#!/usr/bin/env python3
"""Measures how fast pictures are read from shards: tandem beside PyTorch's DataLoader with PIL and the package webdataset.

Usage, at the root of the repository after `make build`: bench.py [--rounds N] [--threads 1,2] [--json FILE]

It writes shards of JPEG photographs of 256 × 256 pixels, quality 90, and lets each loader make training batches of 224 × 224
pixels with a random resized crop (scale 0.9 to 1, bicubic). In every round all of them read the same number of pictures, one
after the other, so that a busy moment of the machine hits all; printed are medians. tandem runs as in training: the dataset
plugin as a process of its own, pictures in shared memory. The peers' workers are processes that stay between rounds.

A figure is pictures per second for each thread or worker, and in brackets pictures per second of processor time of all the
loader's processes, which does not depend on what else the machine does.

Before that it checks pixels: the same files, cropped to the same boxes by Pillow, must equal tandem's to the bit.
"""
import argparse
import io
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

import numpy as np
import PIL
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
PER_SHARD = 512
TARGET = 3.0
PEERS = [("dataloader", "u8"), ("dataloader", "floats"), ("webdataset", "u8"), ("webdataset", "floats")]


def photographs():
    import sklearn.datasets
    folder = pathlib.Path(sklearn.datasets.__file__).parent / "images"
    return [Image.open(folder / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]


def pictures(count, options):
    """JPEG files of 256 × 256 pixels: random parts of two photographs, scaled and mirrored."""
    photos, rng = photographs(), random.Random(0)
    for i in range(count):
        photo = photos[i % len(photos)]
        side = rng.randint(200, min(photo.size))
        x, y = rng.randint(0, photo.width - side), rng.randint(0, photo.height - side)
        part = photo.resize((256, 256), Image.Resampling.BICUBIC, box=(x, y, x + side, y + side))
        if rng.random() < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        out = io.BytesIO()
        mode, extra = options(i)
        part.convert(mode).save(out, "JPEG", **extra)
        yield f"{i:06d}", out.getvalue()


def write_shards(folder, count, options, files=None, in_files=0):
    folder.mkdir()
    tar = None
    for i, (key, jpeg) in enumerate(pictures(count, options)):
        if i % PER_SHARD == 0:
            tar and tar.close()
            tar = tarfile.open(folder / f"{i // PER_SHARD:05d}.tar", "w", format=tarfile.USTAR_FORMAT)
        for name, data in ((key + ".jpg", jpeg), (key + ".txt", f"photograph {key}".encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            if i < in_files:
                (files / name).write_bytes(data)
    tar.close()


def kinds(i):
    """Options of JPEG files of every usual kind, for the check of pixels."""
    return ("L" if i % 11 == 5 else "RGB"), {"quality": (30, 75, 90, 97)[i % 4], "subsampling": (2, 1, 0)[i % 3] if i % 11 != 5 else -1,
                                             "progressive": i % 5 == 3, "optimize": i % 7 == 2}


def check_pixels(binary, folder, n=512):
    shards = folder / "kinds"
    write_shards(shards, n, kinds)
    out = folder / "pixels"
    subprocess.run([binary, "-shards", shards / "*.tar", "-pixels", out, "-batch", str(n), "-scale", "0.2", "-hflip", "0.5"], check=True)
    with open(out, "rb") as f:
        crops = json.loads(f.readline())
        pixels = np.frombuffer(f.read(), np.uint8).reshape(n, 224, 224, 3)
    members = {}
    for shard in sorted(shards.iterdir()):
        with tarfile.open(shard) as tar:
            for member in tar:
                members[member.name] = tar.extractfile(member).read()
    differ = 0
    for crop, got in zip(crops, pixels):
        image = Image.open(io.BytesIO(members[crop["Key"] + ".jpg"])).convert("RGB")
        x, y, w, h = (crop[k] for k in "XYWH")
        want = image.crop((x, y, x + w, y + h)).resize((224, 224), Image.Resampling.BICUBIC)
        if crop["Flip"]:
            want = want.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        differ += not np.array_equal(np.asarray(want), got)
    print(f"pixels: {n - differ} of {n} pictures equal those of Pillow {PIL.__version__} to the bit, cropped to the same boxes", flush=True)
    return differ


class Loader:
    """A process that reads on request."""

    def __init__(self, command, pictures_read):
        env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        self.pictures = pictures_read
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=env)
        self.answer("ready")

    def answer(self, want=None):
        line = self.process.stdout.readline().strip()
        if not line or want and line != want:
            self.log.seek(0)
            sys.exit(f"a loader failed: {line}\n{self.log.read()[-2000:]}")
        return line

    def read(self, request):
        """Pictures per second, and per second of processor time."""
        before, begin = processor_time(self.process.pid), time.perf_counter()
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()
        line = self.answer()
        wall, cpu = time.perf_counter() - begin, processor_time(self.process.pid) - before
        if line != "done" and int(line) != self.pictures:
            sys.exit(f"a loader read {line} pictures, want {self.pictures}")
        return self.pictures / wall, self.pictures / cpu

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def processor_time(pid):
    """Seconds that a process and its descendants have computed."""
    total = 0.0
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += processor_time(int(child))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=2048, help="that each loader reads in a round")
    parser.add_argument("--threads", default=",".join(str(n) for n in sorted({1, os.cpu_count()})), help="threads and workers to measure with")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--json", help="file for the figures")
    args = parser.parse_args()
    per_round = args.pictures // PER_SHARD * PER_SHARD
    out, failed = {"pillow": PIL.__version__, "threads": {}}, False
    with tempfile.TemporaryDirectory(prefix="tandem-loader-") as folder:
        folder = pathlib.Path(folder)
        binary = folder / "loader"
        subprocess.run(["go", "build", "-o", binary, "./tools/loader"], check=True)
        out["pixels_differ"] = check_pixels(binary, folder)
        files = folder / "files"
        files.mkdir()
        write_shards(folder / "shards", per_round * (args.rounds + 1), lambda i: ("RGB", {"quality": 90}), files, per_round)
        last = per_round // PER_SHARD - 1
        for threads in (int(n) for n in args.threads.split(",")):
            ours = Loader([binary, "-shards", folder / "shards" / "*.tar", "-threads", threads, "-batch", args.batch], per_round)
            peers = {name: Loader([sys.executable, HERE / "peer.py", name, threads, args.batch, files, folder / "shards" / f"{{00000..{last:05d}}}.tar"], per_round)
                     for name in ("dataloader", "webdataset")}
            ours.read(per_round // args.batch)
            figures = {name: [] for name in ["tandem"] + [" ".join(peer) for peer in PEERS]}
            for _ in range(args.rounds):
                figures["tandem"].append(ours.read(per_round // args.batch))
                for name, form in PEERS:
                    figures[f"{name} {form}"].append(peers[name].read(form))
            for loader in (ours, *peers.values()):
                loader.close()
            print(f"\n{threads} thread{'s'[:threads > 1]}, median of {args.rounds} rounds of {per_round} pictures: per second and thread [per second of processor time]")
            rows = out["threads"][threads] = {}
            for name, values in figures.items():
                wall, cpu = (statistics.median(v[k] for v in values) for k in (0, 1))
                ratio = [statistics.median(a[k] / b[k] for a, b in zip(figures["tandem"], values)) for k in (0, 1)]
                rows[name] = {"per_second": wall / threads, "per_processor_second": cpu, "ratio": ratio[0], "ratio_processor": ratio[1]}
                text = "" if name == "tandem" else f"   tandem is {ratio[0]:.2f} × as fast [{ratio[1]:.2f} ×]"
                print(f"  {name:18} {wall / threads:7.0f}  [{cpu:5.0f}]{text}", flush=True)
                failed |= name != "tandem" and ratio[1] < TARGET
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(out, indent=1) + "\n")
    if out["pixels_differ"] or failed:
        print(f"\nnot met: pixels equal to Pillow's, and {TARGET:.0f} × the pictures per second of processor time of every peer")


if __name__ == "__main__":
    main()
