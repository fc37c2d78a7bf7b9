"""What the generators of golden files share: inputs that are hashes of a name and a position, which Go computes again
(core/engine/tower/towertest), so that files hold results only, and a writer of safetensors.

Golden files are made with open_clip_torch 3.3.0 and torch 2.15.0; those of losses and of trainings came out the same
to 1e-14 with 2.24.0 and 1.13.1.
"""
import json
import struct

import numpy as np
import torch

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
        if ".layer" in name and name.endswith("bn3.weight"):  # branches start at 0 in training and stay small
            u = 0.2 * u
    else:
        u = 0.3 * u
    return torch.from_numpy(u.astype(np.float32).astype(np.float64))


def pictures(name, side, n):
    """n pictures, u8 NHWC as Go makes them, normalised to the NCHW that the models take."""
    u = np.floor((uniform(name, n * side * side * 3) + 1) * 128).reshape(n, side, side, 3)
    return torch.from_numpy(((u / 255 - MEAN) / STD).transpose(0, 3, 1, 2).copy())


def ids(captions, context, vocab):
    """Token ids of the byte tokenizer: start, bytes, end, zeros."""
    out = torch.zeros(len(captions), context, dtype=torch.long)
    for i, c in enumerate(captions):
        row = [vocab - 2, *c.encode(), vocab - 1]
        if len(row) > context:
            row = row[: context - 1] + [vocab - 1]
        out[i, : len(row)] = torch.tensor(row)
    return out


def adamw(model, lr, betas, eps):
    """AdamW over the two groups of OpenCLIP's training/main.py."""
    exclude = lambda n, p: p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n
    named = list(model.named_parameters())
    return torch.optim.AdamW([{"params": [p for n, p in named if exclude(n, p)], "weight_decay": 0.0},
                              {"params": [p for n, p in named if not exclude(n, p)], "weight_decay": 0.2}],
                             lr=lr, betas=betas, eps=eps)


def safetensors(path, arrays, golden):
    """Writes arrays (tensors by name) in float32 and an object of what else there is to know."""
    header, at = {"__metadata__": {"golden": json.dumps(golden)}}, 0
    arrays = {k: v.detach().numpy().astype(np.float32) for k, v in sorted(arrays.items())}
    for name, a in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in arrays.values()))
