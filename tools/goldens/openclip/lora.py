#!/usr/bin/env python3
"""Writes what peft's LoRA does with OpenCLIP's own towers, in double precision, for the encoder plugins: the trained
parameters after twenty steps of AdamW, what the adapters add to their matrices, the loss of each step, and embeddings at
the end.

- vit/testdata/lora/in_proj.safetensors: in_proj of every block, as peft adapts a nn.MultiheadAttention;
- vit/testdata/lora/all.safetensors: in_proj, out_proj, both layers of the MLPs, the patch embedding (a Conv2d of peft's)
  and the projection (peft's target_parameters); AdamW alone;
- transformer/testdata/lora/attention.safetensors: in_proj and out_proj of the text tower, with the last norm and the
  projection trained beside them, and B that does not begin at zero.

peft 0.21.2 adds the product of out_proj twice where it adapts a nn.MultiheadAttention: merge() adds it to the weight, and
out_proj.merge() does so again, so that the forward pass has W + 2·scale·B·A and the gradient is that of one. So the first
file leaves out_proj's adapter at zero, and the others have attention of two nn.Linear, which peft adapts each for itself.

Usage, at the root of the repository, where open_clip_torch and peft are installed: lora.py
Made with peft 0.21.2, open_clip_torch 3.3.0 and torch 2.15.0.
"""
import pathlib
import re

import torch
from open_clip import transformer
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional as F

from common import ids, pictures, safetensors, uniform, value

DIM, STEPS, LR, EPS, BETAS, WD, RANK, ALPHA = 6, 20, 2e-3, 1e-6, (0.9, 0.98), 0.2, 3, 6
OUT = pathlib.Path("plugins/encoders")
CAPTIONS = ["cat", "a photo of a dog", "two red birds on a wire"]


class Attention(nn.Module):
    """A nn.MultiheadAttention of two nn.Linear."""

    def __init__(self, mha):
        super().__init__()
        self.heads, w = mha.num_heads, mha.embed_dim
        self.in_proj, self.out_proj = nn.Linear(w, 3 * w), nn.Linear(w, w)

    def forward(self, x, _k, _v, need_weights=False, attn_mask=None):
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.in_proj(x).chunk(3, -1))
        return (self.out_proj(F.scaled_dot_product_attention(q, k, v, attn_mask).transpose(1, 2).flatten(2)),)


class Tower(nn.Module):
    """A module around a tower: peft names parameters of modules within its own only."""

    def __init__(self, tower, split):
        super().__init__()
        for block in tower.transformer.resblocks if split else ():
            block.attn = Attention(block.attn)
        self.tower = tower

    def forward(self, x):
        return self.tower(x)


def ours(name, prefix):
    """The checkpoint's name of a parameter of a peft model."""
    name = name.removeprefix("base_model.model.").removeprefix("tower.").replace("base_layer.", "")
    name = re.sub(r"attn\.in_proj\.(weight|bias)$", r"attn.in_proj_\1", name)
    name = re.sub(r"\.lora_([AB])\.default\.weight$", r".lora_\1", "." + name)[1:]
    adapter = re.search(r"\.?lora_[AB]$", name)
    if not adapter:
        return prefix + name
    layer = name[: adapter.start()]
    if not layer:
        matrix = "proj"
    elif layer.endswith(("attn", "attn.in_proj")):
        matrix = layer.removesuffix(".in_proj") + ".in_proj_weight"
    else:
        matrix = layer + ".weight"
    return prefix + matrix + "." + adapter[0].lstrip(".")


def golden(path, tower, prefix, x, config, split, targets, trained=(), zero=True, **lora):
    model = get_peft_model(Tower(tower, split).double(), LoraConfig(r=RANK, lora_alpha=ALPHA, **lora)).double()
    params = {ours(n, prefix): p for n, p in model.named_parameters()}
    begin = lambda name, p: value(name, (p.shape[0], p[0].numel()) if name.endswith("lora_B") else tuple(p.shape)).double().reshape(p.shape)
    for name, p in params.items():
        p.data = begin(name, p)
        if name.endswith("lora_B") and (zero or not split):
            p.data.zero_()
        if not split and "out_proj" in name:
            p.requires_grad_(False)
        if name in trained:
            p.requires_grad_(True)
    trains = sorted(n for n, p in params.items() if p.requires_grad)
    assert {n for n in trains if ".lora_" not in n} == set(trained), trains
    exclude = lambda n, p: p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n  # open_clip's
    o = torch.optim.AdamW([{"params": [params[n] for n in trains if exclude(n, params[n])], "weight_decay": 0.0},
                           {"params": [params[n] for n in trains if not exclude(n, params[n])], "weight_decay": WD}],
                          lr=LR, betas=BETAS, eps=EPS)
    cotangent = torch.from_numpy(uniform("cotangent", len(x) * DIM)).reshape(len(x), DIM).float().double()
    embed = lambda: F.normalize(model(x), dim=-1)
    out, losses = {}, []
    for _ in range(STEPS):
        o.zero_grad()
        loss = (embed() * cotangent).sum()
        loss.backward()
        losses.append(float(loss.detach()))
        o.step()
    out["losses"], out["embeddings"] = torch.tensor(losses), embed()
    for name in trains:
        p = params[name].detach()
        out["after." + name] = p.flatten(1) if name.endswith(".lora_B") else p
    before = {n: p.detach().clone() for n, p in params.items()}
    merged = {ours(n, prefix): p for n, p in model.merge_and_unload().named_parameters()}
    for name in trains:
        if name.endswith(".lora_A"):
            matrix = name.removesuffix(".lora_A")
            a, b = (params[f"{matrix}.lora_{x}"].detach().flatten(1) for x in "AB")
            out["delta." + matrix] = (ALPHA / RANK * b @ a).reshape(before[matrix].shape)
            if "target_parameters" not in lora:  # peft does not merge the adapters below one of those
                torch.testing.assert_close(merged[matrix].detach(), before[matrix] + out["delta." + matrix])
    safetensors(OUT / path, out, {
        "with": config, "embed_dim": DIM, "batch": len(x), "lora": {"rank": RANK, "alpha": ALPHA, "targets": targets, "train": list(trained)},
        "zero": zero, "steps": STEPS, "lr": LR, "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS, "weight_decay": WD,
        **({"captions": CAPTIONS} if x.dtype == torch.long else {})})
    print(f"{path}: {len(trains)} arrays, loss {losses[0]:.4f} to {losses[-1]:.4f}")


def vit(path, *args, **lora):
    m = transformer.VisionTransformer(image_size=16, patch_size=8, width=16, layers=2, heads=2, mlp_ratio=2.0, output_dim=DIM)
    golden(f"vit/testdata/lora/{path}.safetensors", m, "visual.", pictures("pictures", 16, 3),
           dict(image_size=16, patch_size=8, width=16, layers=2, head_width=8, mlp_ratio=2.0), *args, **lora)


torch.set_num_threads(1)
vit("in_proj", False, ["*.attn.in_proj"], target_modules=["attn"])
vit("all", True, ["*.attn.in_proj", "*.attn.out_proj", "*.mlp.*", "visual.conv1", "visual.proj"],
    target_modules=["in_proj", "out_proj", "c_fc", "c_proj", "conv1"], target_parameters=["tower.proj"])
text = transformer.TextTransformer(context_length=24, vocab_size=258, width=16, heads=2, layers=2, output_dim=DIM)
golden("transformer/testdata/lora/attention.safetensors", text, "", ids(CAPTIONS, 24, 258),
       dict(context_length=24, vocab_size=258, width=16, heads=2, layers=2, tokenizer="byte"), True, [],
       trained=["text_projection", "ln_final.weight", "ln_final.bias"], zero=False, target_modules=["in_proj", "out_proj"])
