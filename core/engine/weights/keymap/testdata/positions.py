"""Positions resampled as open_clip.pos_embed does, for the test of this folder's package.

Usage: positions.py OUTPUT.json     (needs PyTorch only)
"""
import json
import sys

import torch
import torch.nn.functional as F


def values(n):
    return (torch.arange(n, dtype=torch.float64).mul(0.7).sin() * (1 + torch.arange(n, dtype=torch.float64) / n)).float()


def image(a, b, width):
    x = values((1 + a * a) * width).reshape(1 + a * a, width)
    grid = x[1:].reshape(1, a, a, width).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=[b, b], mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([x[:1], grid.permute(0, 2, 3, 1).reshape(b * b, width)])


def text(a, b, width):
    x = values(a * width).reshape(1, a, width).permute(0, 2, 1)
    return F.interpolate(x, size=b, mode="linear", antialias=False, align_corners=False).permute(0, 2, 1)[0]


out = []
for name, f, a, b, width in [
    ("visual.positional_embedding", image, 7, 4, 2), ("visual.positional_embedding", image, 3, 5, 3),
    ("visual.attnpool.positional_embedding", image, 2, 3, 2), ("visual.positional_embedding", image, 5, 1, 2),
    ("positional_embedding", text, 7, 4, 2), ("positional_embedding", text, 4, 9, 3)]:
    y = f(a, b, width)
    n = 1 + a * a if f is image else a
    out.append({"name": name, "from": [n, width], "to": list(y.shape), "values": [float(v) for v in y.flatten()]})
with open(sys.argv[1], "w") as file:
    json.dump(out, file, indent=1)
    file.write("\n")
