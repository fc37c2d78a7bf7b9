#!/usr/bin/env python3
"""Writes values and gradients of OpenCLIP's ClipLoss and SigLipLoss for three batches of pairs, in double precision.

Usage, at the root of the repository, where open_clip_torch is installed: losses.py
"""
import json
import math
import pathlib

import numpy as np
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch.nn import functional as F

from common import uniform


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
        r = ClipLoss()(v, t, scale.exp()) if name == "clip" else SigLipLoss()(v, t, scale.exp(), shift)
        r.backward()
        c = {"image": v.tolist(), "text": t.tolist(), "logit_scale": s, "value": r.item(),
             "d_image": v.grad.tolist(), "d_text": t.grad.tolist(), "d_logit_scale": scale.grad.item()}
        if name == "siglip":
            c["logit_bias"], c["d_logit_bias"] = bias, shift.grad.item()
        cases.append(c)
for name, cases in out.items():
    path = pathlib.Path("plugins/losses", name, "testdata/open_clip.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(cases) + "\n")
