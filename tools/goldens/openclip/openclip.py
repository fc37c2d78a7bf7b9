#!/usr/bin/env python3
"""Writes golden files of OpenCLIP's losses and of whole trainings with torch.optim.AdamW.

Usage, at the root of the repository: openclip.py OPEN_CLIP_FOLDER
Made with open_clip 2.24.0 and PyTorch 1.13.1. OPEN_CLIP_FOLDER is the package's folder
(site-packages/open_clip); its __init__ is not run, so torchvision, timm and transformers are not needed.

Everything is computed in double precision, from values rounded to float32. Initial weights and pictures
are hashes of a name and a position, which Go computes again (core/tower/towertest).
"""
import importlib
import json
import math
import pathlib
import struct
import sys
import types

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

MASK = (1 << 64) - 1
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def uniform(name, n):
    """n numbers in [-1, 1): splitmix64 of FNV-1a(name) and the position."""
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1


def value(name, shape):
    """Initial value of a parameter or running statistic, rounded to float32."""
    u = uniform(name, int(np.prod(shape))).reshape(shape)
    if len(shape) > 1:
        u = u * np.sqrt(3 / np.prod(shape[1:]))
    elif name.endswith(("weight", "running_var")):
        u = 1 + 0.3 * u
    else:
        u = 0.3 * u
    return torch.from_numpy(u.astype(np.float32).astype(np.float64))


def load(folder):
    """open_clip's model and loss modules, without the package's __init__."""
    misc = types.ModuleType("torchvision.ops.misc")
    misc.FrozenBatchNorm2d = nn.BatchNorm2d
    for name in ("torchvision", "torchvision.ops"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision.ops.misc"] = misc
    package = types.ModuleType("open_clip")
    package.__path__ = [str(folder)]
    sys.modules["open_clip"] = package
    return importlib.import_module("open_clip.model"), importlib.import_module("open_clip.loss")


def loss_goldens(loss, root):
    """Values and gradients of ClipLoss and SigLipLoss for three batches of pairs."""

    def rows(name, b, d):
        u = torch.from_numpy(uniform(name, b * d)).reshape(b, d)
        return F.normalize(u, dim=-1).float().double()

    out = {"clip": [], "siglip": []}
    for b, d, s, bias in ((5, 6, math.log(1 / 0.07), -10.0), (2, 3, 0.0, -0.5), (16, 8, math.log(10), -math.log(15))):
        for name, cases in out.items():
            v, t = rows("image", b, d), rows("text", b, d)
            t = F.normalize(t + 0.8 * v, dim=-1).float().double()
            # Single-precision parameters, as the loss holds them.
            scale = torch.tensor(np.float32(s)).double().requires_grad_()
            shift = torch.tensor(np.float32(bias)).double().requires_grad_()
            v.requires_grad_(), t.requires_grad_()
            if name == "clip":
                r = loss.ClipLoss()(v, t, scale.exp())
            else:
                r = loss.SigLipLoss()(v, t, scale.exp(), shift)
            r.backward()
            c = {"image": v.tolist(), "text": t.tolist(), "logit_scale": s, "value": r.item(),
                 "d_image": v.grad.tolist(), "d_text": t.grad.tolist(), "d_logit_scale": scale.grad.item()}
            if name == "siglip":
                c["logit_bias"], c["d_logit_bias"] = bias, shift.grad.item()
            cases.append(c)
    for name, cases in out.items():
        path = root / "plugins" / "losses" / name / "testdata" / "open_clip.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(cases) + "\n")


SAMPLES, BATCH, STEPS, SNAPSHOT, DIM = 32, 8, 100, 10, 8
CONTEXT, VOCAB = 24, 258
CAPTIONS = [f"{n} {c} {t}" for n in ("a", "two") for c in ("red", "small", "wooden", "bright") for t in ("cat", "boat", "apple tree", "car")]


def pictures(side):
    """u8 NHWC as Go makes it, and the normalised NCHW that the models take."""
    u = np.stack([np.floor((uniform(f"picture {i}", side * side * 3) + 1) * 128) for i in range(SAMPLES)])
    return torch.from_numpy(((u.reshape(-1, side, side, 3) / 255 - MEAN) / STD).transpose(0, 3, 1, 2).copy())


def ids():
    out = torch.zeros(SAMPLES, CONTEXT, dtype=torch.long)
    for i, c in enumerate(CAPTIONS):
        row = [VOCAB - 2, *c.encode(), VOCAB - 1]
        assert len(row) <= CONTEXT
        out[i, : len(row)] = torch.tensor(row)
    return out


def schedule(step, peak, warmup):
    """OpenCLIP's cosine_lr."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) * peak


def train(model, loss, root, name, vision, quick_gelu=False, siglip=False, betas=(0.9, 0.98), eps=1e-6, peak=1e-3):
    """STEPS steps of AdamW on batches in order: the loss of each, and all weights after SNAPSHOT of them."""
    text = dict(context_length=CONTEXT, vocab_size=VOCAB, width=16, heads=2, layers=1)
    def build(dtype):
        m = model.CLIP(DIM, vision, text, quick_gelu=quick_gelu).to(dtype)
        for key, p in m.state_dict(keep_vars=True).items():
            if "num_batches" not in key and key != "logit_scale":
                p.data = value(key, tuple(p.shape)).to(dtype)
        m.logit_scale.data = torch.tensor(np.float32(math.log(10 if siglip else 1 / 0.07))).to(dtype)
        if siglip:
            m.logit_bias = nn.Parameter(torch.tensor(-math.log(BATCH - 1)).to(dtype))
        m.train()
        # The groups of OpenCLIP's training/main.py.
        exclude = lambda n, p: p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n
        named = list(m.named_parameters())
        opt = torch.optim.AdamW([{"params": [p for n, p in named if exclude(n, p)], "weight_decay": 0.0},
                                 {"params": [p for n, p in named if not exclude(n, p)], "weight_decay": 0.2}],
                                lr=peak, betas=betas, eps=eps)
        criterion = loss.SigLipLoss() if siglip else loss.ClipLoss()
        x, tokens = pictures(vision["image_size"]).to(dtype), ids()
        losses, snapshot = [], {}
        for step in range(STEPS):
            lo = step * BATCH % SAMPLES
            for g in opt.param_groups:
                g["lr"] = schedule(step, peak, 5)
            opt.zero_grad()
            v, t = m.encode_image(x[lo:lo + BATCH], True), m.encode_text(tokens[lo:lo + BATCH], True)
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

    losses, weights = build(torch.float64)
    other, single = build(torch.float32)
    apart = lambda a, b: max(float((a[k].double() - b[k]).norm() / b[k].norm()) for k in b)
    print(f"{name}: loss {losses[0]:.4f} .. {losses[-1]:.4f}, {sum(w.numel() for w in weights.values())} values; PyTorch's own "
          f"float32 is apart by {max(abs(a / b - 1) for a, b in zip(other, losses)):.1e} in the loss "
          f"and {apart(single, weights):.1e} in an array after {SNAPSHOT} steps")
    config = {"losses": losses, "batch": BATCH, "snapshot": SNAPSHOT, "captions": CAPTIONS, "lr": peak, "warmup": 5,
              "beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": 0.2, "max_grad_norm": 1.0,
              "loss": "siglip" if siglip else "clip", "vision": vision, "text": text, "act": "quick_gelu" if quick_gelu else "gelu",
              "embed_dim": DIM}
    path = root / "core" / "train" / "testdata" / ("openclip-" + name + ".safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors(path, {k: v.numpy().astype(np.float32) for k, v in weights.items()}, {"golden": json.dumps(config)})


def safetensors(path, arrays, metadata):
    header, at = {"__metadata__": metadata}, 0
    for name in sorted(arrays):
        n = arrays[name].nbytes
        header[name] = {"dtype": "F32", "shape": list(arrays[name].shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(arrays[n].tobytes() for n in sorted(arrays)))


def main():
    model, loss = load(pathlib.Path(sys.argv[1]))
    root = pathlib.Path(".")
    torch.set_num_threads(1)
    loss_goldens(loss, root)
    vit = dict(image_size=16, patch_size=8, width=16, layers=2, head_width=8)
    train(model, loss, root, "vit", vit)
    train(model, loss, root, "vit-siglip", dict(vit, layers=1), quick_gelu=True, siglip=True)
    # Under an eps of 1e-8, gradients that are zero but for rounding (of attention keys' biases) would move their
    # parameters as far as real ones, and PyTorch itself parts by 1e-3 between its own two precisions.
    train(model, loss, root, "resnet", dict(image_size=64, layers=[1, 2, 1, 1], width=2, head_width=32), betas=(0.9, 0.999), peak=1e-4)


main()
