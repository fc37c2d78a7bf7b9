#!/usr/bin/env python3
"""Writes golden files of whole trainings by OpenCLIP and torch.optim.AdamW in double precision: the loss of every step, and
all weights after ten.

Usage, at the root of the repository, where open_clip_torch is installed: trainings.py

It also says how far PyTorch's own single precision, on one thread and on two, and double precision from weights that
are moved by 6e-8 of themselves leave the curve: what another implementation cannot be held to.
"""
import math
import pathlib

import numpy as np
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from open_clip.model import CLIP
from torch import nn

from common import adamw, ids, pictures, safetensors, value

SAMPLES, STEPS, SNAPSHOT, DIM, WARMUP = 32, 100, 10, 8, 5
CONTEXT, VOCAB = 24, 258
CAPTIONS = [f"{n} {c} {t}" for n in ("a", "two") for c in ("red", "small", "wooden", "bright") for t in ("cat", "boat", "apple tree", "car")]


def schedule(step, peak):
    """OpenCLIP's cosine_lr."""
    if step < WARMUP:
        return peak * (step + 1) / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))) * peak


def train(name, vision, batch=8, quick_gelu=False, siglip=False, betas=(0.9, 0.98), eps=1e-6, peak=1e-3):
    text = dict(context_length=CONTEXT, vocab_size=VOCAB, width=16, heads=2, layers=1)

    def run(dtype, moved=None):
        random = torch.Generator().manual_seed(moved or 0)
        m = CLIP(DIM, vision, text, quick_gelu=quick_gelu).to(dtype)
        for key, p in m.state_dict(keep_vars=True).items():
            if "num_batches" not in key and key != "logit_scale":
                v = value(key, tuple(p.shape))
                if moved is not None:
                    v = v * (1 + 6e-8 * torch.randn(v.shape, generator=random, dtype=torch.float64))
                p.data = v.to(dtype)
        m.logit_scale.data = torch.tensor(np.float32(math.log(10 if siglip else 1 / 0.07))).to(dtype)
        if siglip:
            m.logit_bias = nn.Parameter(torch.tensor(-math.log(batch - 1)).to(dtype))
        m.train()
        opt = adamw(m, peak, betas, eps)
        criterion = SigLipLoss() if siglip else ClipLoss()
        x = torch.cat([pictures(f"picture {i}", vision["image_size"], 1) for i in range(SAMPLES)]).to(dtype)
        tokens, losses, snapshot = ids(CAPTIONS, CONTEXT, VOCAB), [], {}
        for step in range(STEPS):
            lo = step * batch % SAMPLES
            for g in opt.param_groups:
                g["lr"] = schedule(step, peak)
            opt.zero_grad()
            v, t = m.encode_image(x[lo:lo + batch], True), m.encode_text(tokens[lo:lo + batch], True)
            r = criterion(v, t, m.logit_scale.exp(), *([m.logit_bias] if siglip else []))
            r.backward()
            torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0, norm_type=2.0)
            opt.step()
            with torch.no_grad():
                m.logit_scale.clamp_(0, math.log(100))
            losses.append(r.item())
            if step + 1 == SNAPSHOT:
                snapshot = {k: v.detach().clone() for k, v in m.state_dict().items() if "num_batches" not in k}
        return losses, snapshot

    losses, weights = run(torch.float64)
    apart = lambda other: max(abs(a / b - 1) for a, b in zip(other[0], losses))
    single = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        single.append(run(torch.float32))
    print(f"{name}: loss {losses[0]:.4f} .. {losses[-1]:.4f}, {sum(w.numel() for w in weights.values())} values; the loss of PyTorch's own "
          f"float32 is apart by {apart(single[1]):.1e}, with two threads by {apart(single[0]):.1e}; of moved starts in float64 by "
          + ", ".join(f"{apart(run(torch.float64, moved)):.1e}" for moved in range(4)), flush=True)
    safetensors(pathlib.Path("core/experiment/train/testdata", f"openclip-{name}.safetensors"), weights, {
        "losses": losses, "batch": batch, "snapshot": SNAPSHOT, "captions": CAPTIONS, "lr": peak, "warmup": WARMUP,
        "beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": 0.2, "max_grad_norm": 1.0,
        "loss": "siglip" if siglip else "clip", "vision": vision, "text": text, "act": "quick_gelu" if quick_gelu else "gelu",
        "embed_dim": DIM})


torch.set_num_threads(1)
vit = dict(image_size=16, patch_size=8, width=16, layers=2, head_width=8)
train("vit", vit)
train("vit-siglip", dict(vit, layers=1, pool_type="avg"), quick_gelu=True, siglip=True)
# A small ResNet is chaotic under AdamW: with batches of 8 and a width of 2, double precision leaves its own curve by 1e-3
# when weights are moved by a float32's rounding. More channels and more pictures make a ReLU on its other side matter
# less. Under an eps of 1e-8, gradients that are zero but for rounding (of attention keys' biases) would move their
# parameters as far as real ones.
train("resnet", dict(image_size=64, layers=[1, 2, 1, 1], width=4, head_width=32), batch=32, betas=(0.9, 0.999), peak=1e-4)
