#!/usr/bin/env python3
"""Trains an OpenCLIP model with PyTorch, a few steps at a time on request: the peer of bench.py.

Usage: peer.py MODEL BATCH PRECISION MODE THREADS [DEVICE]
MODE is eager or compiled, DEVICE cpu or cuda:N. Prints "ready" and the instructions of PyTorch's kernels ("AVX2"); for each line with a number n on standard
input it trains n steps and prints a JSON list of their seconds.

A step is that of open_clip_train: forward of both towers, the contrastive loss, backward, clipping of
the gradient's norm, AdamW, clamping of the logit scale. bf16 is torch.autocast, as --precision
amp_bfloat16 there; tf32 lets products and convolutions round to TF32. The model, the loss and the optimiser are
open_clip's and PyTorch's own, with the settings that are fastest: fused AdamW, convolutions in channels_last, on
a GPU cuDNN's benchmark. There steps follow each other without waiting: each of n steps has an n-th of the time.
"""
import json
import math
import resource
import sys
import time

import torch
import open_clip

VIT_TEXT = dict(context_length=77, vocab_size=49408, width=512, heads=8, layers=12)
MODELS = {
    "quickstart": (128, dict(image_size=32, patch_size=8, width=128, layers=4, head_width=32, patch_dropout=0.25),
                   dict(context_length=16, vocab_size=1024, width=128, heads=4, layers=1)),
    "vit-b32": (512, dict(image_size=224, patch_size=32, width=768, layers=12, head_width=64), VIT_TEXT),
    "rn50": (1024, dict(image_size=224, layers=[3, 4, 6, 3], width=64), VIT_TEXT),
}


def main():
    name, batch, precision, mode, threads = sys.argv[1:6]
    batch = int(batch)
    device = torch.device(sys.argv[6] if len(sys.argv) > 6 else "cpu")
    gpu = device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = gpu
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    dim, vision, text = MODELS[name]
    model = open_clip.CLIP(dim, vision, text).train().to(device)
    if name == "rn50":
        model = model.to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, vision["image_size"], vision["image_size"], device=device)
    if name == "rn50":
        images = images.to(memory_format=torch.channels_last)
    tokens = torch.randint(1, text["vocab_size"] - 2, (batch, text["context_length"]), device=device)
    tokens[:, -1] = text["vocab_size"] - 1  # the end, which the pooling looks for
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([dict(params=decayed, weight_decay=0.2), dict(params=others, weight_decay=0.0)],
                                  lr=1e-6, betas=(0.9, 0.98), eps=1e-6, fused=True)
    run = torch.compile(model) if mode == "compiled" else model
    loss_of = open_clip.ClipLoss()

    def step():
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            v, t, scale = run(images, tokens)[:3]
            loss = loss_of(v, t, scale)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        return loss if gpu else loss.item()

    for _ in range(3):
        step()
    if gpu:
        torch.cuda.synchronize()
    print("ready", torch.backends.cpu.get_cpu_capability(), flush=True)
    for line in sys.stdin:
        print(json.dumps((together if gpu else apart)(step, int(line))), flush=True)
    peak = torch.cuda.max_memory_allocated(device) / 1024 if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak_kb": peak}), flush=True)


def apart(step, n):
    """The seconds of each of n steps."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def together(step, n):
    """The mean seconds of n steps on a GPU, n times."""
    start = time.perf_counter()
    for _ in range(n):
        step()
    torch.cuda.synchronize()
    return [(time.perf_counter() - start) / n] * n


main()
