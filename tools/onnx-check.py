#!/usr/bin/env python3
"""Compares the towers of a run that `runner export --format onnx` wrote, in ONNX Runtime, with `runner embed`.

Needs numpy, onnx, onnxruntime, pillow and safetensors. The spec is that of the run; its tokenizer gives the ids.

    tools/onnx-check.py SPEC RUN [--db DB --runs-dir DIR]
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from safetensors.numpy import load_file

RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bin/runner")
TEXTS = ["a cat", "grinning face", "the flag of a country far away", "x", "red heart, two hands and a very long list of other things " * 3, "été 日本 😀", "a b c d e f", "dog"]


def runner(*args):
    return subprocess.run([RUNNER, *args], check=True, stdout=subprocess.PIPE, text=True).stdout


def session(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(path), {p.key: p.value for p in model.metadata_props}


def compare(name, got, want):
    cosines = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
    print(f"{name}: {len(got)} rows, least cosine {cosines.min():.8f}, largest difference {np.abs(got - want).max():.2e}")
    return cosines.min() >= 0.99999


def main():
    spec, run, where = sys.argv[1], sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory() as d:
        runner("export", run, "--format", "onnx", "-o", d, *where)
        image, about = session(os.path.join(d, "image.onnx"))
        text, told = session(os.path.join(d, "text.onnx"))
        size, config = int(about["image_size"]), json.loads(about["config"])
        rng = np.random.default_rng(0)
        pictures = [(rng.integers(0, 256, (size, size, 3)) * rng.random() + 20).clip(0, 255).astype(np.uint8) for _ in range(9)]
        os.mkdir(os.path.join(d, "p"))
        for i, p in enumerate(pictures):
            Image.fromarray(p).save(os.path.join(d, "p", f"{i}.png"))
        with open(os.path.join(d, "t.txt"), "w") as f:
            f.write("\n".join(TEXTS) + "\n")
        out = os.path.join(d, "f.safetensors")
        runner("embed", "--run", run, "--images", os.path.join(d, "p"), "--texts", os.path.join(d, "t.txt"), "--out", out, *where)
        want = load_file(out)

        mean, std = np.float32(config["mean"]), np.float32(config["std"])
        pixels = ((np.stack(pictures).astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
        ok = compare("image", image.run(None, {"pixel_values": pixels})[0], want["image_features"])
        context, pad = int(told["context_length"]), int(told["pad_token_id"])
        ids = np.full((len(TEXTS), context), pad, np.int64)
        for i, t in enumerate(json.loads(runner("tokenize", spec, "--json", "--context", str(context), *TEXTS))["texts"]):
            tokens = [x["id"] for x in t["tokens"]]
            if len(tokens) > context:  # the end of a text that is cut stands last
                tokens = tokens[: context - 1] + tokens[-1:]
            ids[i, : len(tokens)] = tokens
        ok &= compare("text", text.run(None, {"input_ids": ids})[0], want["text_features"])
        one = text.run(None, {"input_ids": ids[:1]})[0]
        ok &= compare("text alone", one, want["text_features"][:1])
    sys.exit(0 if ok else 1)


main()
