#!/usr/bin/env python3
"""Writes what plain formulas of the loss plugins give in double precision: the value, its parts, the gradients of every
input and of every parameter, for a few batches of pairs each.

Usage, at the root of the repository, where torch is installed: generate.py [loss …]

The files were made with torch 2.15.0. Inputs are drawn from seeds and rounded to single precision, as the losses hold them.
"""
import json
import math
import pathlib
import sys

import numpy as np
import torch
from torch.nn import functional as F

SCALE = math.log(1 / 0.07)


def ce(logits, target=None):
    """Cross-entropy of each row."""
    return F.cross_entropy(logits, torch.arange(len(logits)) if target is None else target, reduction="none")


def off(x):
    """The logarithm of the sum of exponentials of each row without the diagonal."""
    return torch.stack([torch.logsumexp(torch.cat([row[:i], row[i + 1:]]), 0) for i, row in enumerate(x)])


def both(loss, s):
    return {"image_to_text": (0.5, loss(s)), "text_to_image": (0.5, loss(s.T))}


def clip(x, p, o):
    s = p["logit_scale"].exp() * x["image"] @ x["text"].T
    beta = o.get("hard_negatives", 0)

    def hard(s):
        rows = []
        for i in range(len(s)):
            others = torch.cat([s[i, :i], s[i, i + 1:]])
            w = (beta * others).exp()
            w = len(others) * w / w.sum()
            rows.append(-torch.log(s[i, i].exp() / (s[i, i].exp() + (w * others.exp()).sum())))
        return torch.stack(rows)

    parts = both(hard if beta else lambda s: F.cross_entropy(s, torch.arange(len(s)), reduction="none",
                                                             label_smoothing=o.get("label_smoothing", 0)), s)
    keep = {"image": "image_to_text", "text": "text_to_image"}.get(o.get("direction"))
    return {keep: (1, parts[keep][1])} if keep else parts


def dcl(x, p, o):
    cos = (x["image"] * x["text"]).sum(1)
    w = 2 - len(cos) * F.softmax(cos / o["sigma"], 0) if o.get("sigma") else 1
    return both(lambda s: off(s) - w * s.diagonal(), p["logit_scale"].exp() * x["image"] @ x["text"].T)


def cyclip(x, p, o):
    v, t = x["image"], x["text"]
    parts = clip(x, p, {})
    if o.get("in_modal", 0.25):
        parts["in_modal"] = (o.get("in_modal", 0.25), len(v) * (v @ v.T - t @ t.T).square().mean(1))
    if o.get("cross_modal", 0.25):
        parts["cross_modal"] = (o.get("cross_modal", 0.25), len(v) * (v @ t.T - t @ v.T).square().mean(1))
    return parts


def cloob(x, p, o):
    beta, v, t = o.get("beta", 8), x["image"], x["text"]

    def retrieved(q, k):
        return F.normalize(F.softmax(beta * q @ k.T, 1) @ k, dim=1)

    def loob(a, c):
        s = p["logit_scale"].exp() * a @ c.T
        return off(s) - s.diagonal()

    return {"images": (1, loob(retrieved(v, v), retrieved(t, v))), "texts": (1, loob(retrieved(t, t), retrieved(v, t)))}


def negclip(x, p, o):
    s, v, t = p["logit_scale"].exp(), x["image"], x["text"]
    return {"image_to_text": (0.5, ce(s * v @ torch.cat([t, x["text_negatives"]]).T)), "text_to_image": (0.5, ce(s * t @ v.T))}


def slip(x, p, o):
    a, b, tau = x["image"], x["image_view2"], o.get("view_temperature", 0.1)

    def side(a, b):
        aa = (a @ a.T / tau).masked_fill(torch.eye(len(a), dtype=bool), -math.inf)
        return ce(torch.cat([a @ b.T / tau, aa], 1))

    views = {"views": (o.get("view_weight", 1), (side(a, b) + side(b, a)) / 2)}
    return views if o.get("clip") is False else clip(x, p, {}) | views


def triplet(x, p, o):
    def hinges(s):
        h = (o.get("margin", 0.2) + s - s.diagonal()[:, None]).clamp(min=0)
        h = h.masked_fill(torch.eye(len(s), dtype=bool), 0)
        return h.max(1).values if o.get("negatives") == "hardest" else h.sum(1)

    s = x["image"] @ x["text"].T
    return {"image_to_text": (1, hinges(s)), "text_to_image": (1, hinges(s.T))}


def unicl(x, p, o):
    same = (x["groups"][:, None] == x["groups"]).double()
    return both(lambda s: -(same * F.log_softmax(s, 1)).sum(1) / same.sum(1), p["logit_scale"].exp() * x["image"] @ x["text"].T)


def distill(x, p, o):
    v, t, tv, tt = x["image"], x["text"], x["teacher_image"], x["teacher_text"]
    parts = clip(x, p, {}) if o.get("clip", 1) else {}
    parts = {name: (o.get("clip", 1) * w, losses) for name, (w, losses) in parts.items()}
    if o.get("relations", 1):
        s, r = p["logit_scale"].exp() * v @ t.T, tv @ tt.T / o.get("teacher_temperature", 0.01)
        kl = [F.kl_div(F.log_softmax(a, 1), F.log_softmax(b, 1), log_target=True, reduction="none").sum(1) for a, b in ((s, r), (s.T, r.T))]
        parts["relations"] = (o.get("relations", 1), (kl[0] + kl[1]) / 2)
    if o.get("features"):
        parts["features"] = (o["features"], (v - tv).square().mean(1) + (t - tt).square().mean(1))
    if o.get("interactive"):
        s = p["logit_scale"].exp()
        parts["interactive"] = (o["interactive"], (ce(s * v @ tt.T) + ce(s * t @ tv.T)) / 2)
    return parts


def filip(x, p, o):
    def logits(a, n, c, m):
        s = torch.zeros(len(a), len(c), dtype=torch.double)
        for i in range(len(a)):
            for j in range(len(c)):
                s[i, j] = (a[i, :n[i]] @ c[j, :m[j]].T).max(1).values.mean()
        return p["logit_scale"].exp() * s

    v, t = (x["image_tokens"], x["image_tokens.lengths"]), (x["text_tokens"], x["text_tokens.lengths"])
    parts = {"image_tokens": (0.5, ce(logits(*v, *t))), "text_tokens": (0.5, ce(logits(*t, *v)))}
    weight = o.get("clip", 1)
    return parts | ({name: (weight * w, losses) for name, (w, losses) in clip(x, p, {}).items()} if weight else {})


# Of each loss: its formula, the inputs beside image and text, and the with blocks.
LOSSES = {
    "clip": (clip, [], [{"hard_negatives": 0.25}, {"hard_negatives": 1, "direction": "text"},
                        {"label_smoothing": 0.1, "direction": "image", "init_temperature": 0.5}]),
    "dcl": (dcl, [], [{}, {"sigma": 0.5}, {"sigma": 0.2, "init_temperature": 0.5}]),
    "cyclip": (cyclip, [], [{}, {"in_modal": 0, "cross_modal": 2}, {"in_modal": 3, "cross_modal": 0, "init_temperature": 1.0}]),
    "cloob": (cloob, [], [{}, {"beta": 2, "learnable": True}, {"beta": 14, "init_temperature": 0.5, "learnable": True}]),
    "negclip": (negclip, ["text_negatives"], [{}, {"init_temperature": 0.5}]),
    "slip": (slip, ["image_view2"], [{}, {"clip": False, "learnable": False}, {"view_weight": 0.3, "view_temperature": 0.5}]),
    "triplet": (triplet, [], [{}, {"margin": 0.6, "negatives": "hardest"}, {"margin": 0.3, "negatives": "hardest"}]),
    "unicl": (unicl, ["groups"], [{}, {"init_temperature": 0.5}]),
    "distill": (distill, ["teacher_image", "teacher_text"], [
        {"teacher_temperature": 0.2}, {"clip": 0, "teacher_temperature": 1.0, "relations": 2},
        {"relations": 0, "clip": 0.5, "features": 30.0}, {"interactive": 0.7, "teacher_temperature": 0.5}]),
    "filip": (filip, ["image_tokens", "text_tokens"], [{}, {"init_temperature": 0.5, "clip": 0}]),
}


def batch(seed, names, same_width):
    """A batch of pairs that are somewhat alike, as in the middle of training."""
    r = np.random.default_rng(seed)
    b, d, k = (7, 5, 2) if seed % 2 else (6, 8, 1)

    def unit(*shape, like=None):
        x = r.standard_normal(shape)
        x /= np.linalg.norm(x, axis=-1, keepdims=True)
        if like is not None:
            x = 0.8 * x + 0.6 * like
            x /= np.linalg.norm(x, axis=-1, keepdims=True)
        return x.astype(np.float32).astype(np.float64)

    image = unit(b, d)
    x = {"image": image, "text": unit(b, d, like=image)}
    for name in names:
        if name == "text_negatives":
            x[name] = unit(b * k, d, like=np.repeat(x["text"], k, 0))
        elif name == "image_view2":
            x[name] = unit(b, d, like=image)
        elif name.startswith("teacher"):
            x[name] = unit(b, d if same_width else d + 3, like=x.get("teacher_image"))
        elif name == "groups":
            x[name] = np.array([0, 1, 0, 2, 1, 0, 3][:b])
        else:
            n = {"image_tokens": 4, "text_tokens": 6}[name]
            lengths = r.integers(1, n + 1, b)
            lengths[0] = n
            x[name] = unit(b, n, d)
            for i, l in enumerate(lengths):
                x[name][i, l:] = 0
            x[name + ".lengths"] = lengths
    return x


def golden(name, seed, options):
    formula, names, _ = LOSSES[name]
    drawn = batch(seed, names, "features" in options or "interactive" in options)
    fixed = ("groups", "teacher_image", "teacher_text", "image_tokens.lengths", "text_tokens.lengths")
    x = {k: torch.from_numpy(v).requires_grad_(k not in fixed) for k, v in drawn.items()}
    default = 1 / 30 if name == "cloob" else 0.07
    scale = torch.tensor(np.float32(math.log(1 / options.get("init_temperature", default)))).double().requires_grad_()
    parts = formula(x, {"logit_scale": scale}, options)
    value = sum(w * losses.mean() for w, losses in parts.values())
    value.backward()
    learned = name != "triplet" and options.get("learnable", name != "cloob")

    def flat(v):
        return [float(f"{float(n):.12g}") for n in np.asarray(v).reshape(-1)]

    def array(k):
        v = drawn[k]
        out = {"shape": list(v.shape), "values": [float(np.format_float_positional(np.float32(n), unique=True)) for n in v.reshape(-1)]}
        return out | ({"lengths": drawn[k + ".lengths"].tolist()} if k + ".lengths" in drawn else {})

    shown = [k for k in x if not k.endswith(".lengths")]
    zero = {k: torch.zeros_like(x[k]) if x[k].grad is None else x[k].grad for k in shown if k not in fixed}
    return {"with": options, "inputs": {k: array(k) for k in shown}, "value": value.item(),
            "parts": {k: losses.mean().item() for k, (_, losses) in parts.items()},
            "gradients": {k: {"shape": list(g.shape), "values": flat(g)} for k, g in zero.items()},
            "scalars": {"logit_scale": 0.0 if scale.grad is None else scale.grad.item()} if learned else {}}


for name in sys.argv[1:] or LOSSES:
    cases = [golden(name, 100 * list(LOSSES).index(name) + i, o) for i, o in enumerate(LOSSES[name][2])]
    path = pathlib.Path("plugins/losses", name, "testdata/formula.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
