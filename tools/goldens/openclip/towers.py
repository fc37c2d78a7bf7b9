#!/usr/bin/env python3
"""Writes the golden files of the encoder plugins from OpenCLIP's own modules, in double precision: embeddings in both
modes, the gradient of every parameter, running statistics, and all arrays after ten steps of AdamW.

Usage, at the root of the repository, where open_clip_torch is installed: towers.py
"""
import pathlib

import torch
from open_clip import modified_resnet, transformer
from torch import nn
from torch.nn import functional as F

from common import adamw, ids, pictures, safetensors, uniform, value

STEPS, LR, EPS, DIM = 10, 1e-3, 1e-6, 6
OUT = pathlib.Path("plugins/encoders")


def golden(path, model, prefix, x, config, betas, steps=True, **more):
    cotangent = torch.from_numpy(uniform("cotangent", len(x) * DIM)).reshape(len(x), DIM)

    def rewrite(dtype):
        model.to(dtype).zero_grad()
        for name, p in model.state_dict(keep_vars=True).items():
            if "num_batches" not in name:
                p.data = value(prefix + name, tuple(p.shape)).to(dtype)

    def arrays(kind, named):
        return {kind + prefix + name: v.detach().clone() for name, v in named if "num_batches" not in name}

    def passes(dtype, autocast=False):
        rewrite(dtype)
        images = x.to(dtype) if x.is_floating_point() else x
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            model.eval()
            with torch.no_grad():
                out = {"eval": F.normalize(model(images).to(dtype), dim=-1)}
            model.train()
            out["train"] = F.normalize(model(images).to(dtype), dim=-1)
        (out["train"] * (100 * cotangent).float().to(dtype)).sum().backward()
        return out | arrays("grad.", ((n, p.grad) for n, p in model.named_parameters()))

    def apart(a, names):
        join = lambda r: torch.cat([r[k].detach().double().flatten() for k in names])
        return float((join(a) - join(out)).norm() / join(out).norm())

    out = passes(torch.float64)
    out |= arrays("stat.", ((n, b) for n, b in model.named_buffers() if "running" in n))
    grads = [k for k in out if k.startswith("grad.")]
    single, half = passes(torch.float32), passes(torch.float32, autocast=True)
    worst = max((apart(single, [k]), k) for k in grads if out[k].norm() > 1e-9)
    print(f"{path}: PyTorch's own float32 is apart by {apart(single, ['train']):.1e}, in a gradient by up to {worst[0]:.1e} ({worst[1]}); "
          f"its autocast to bfloat16 by {apart(half, ['eval']):.1e} in evaluation, {apart(half, ['train']):.1e} in training, "
          f"{apart(half, grads):.1e} in all gradients")
    more["autocast"] = {k: float(f"{v:.2g}") for k, v in
                        dict(eval=apart(half, ["eval"]), train=apart(half, ["train"]), grads=apart(half, grads)).items()}
    if steps:
        rewrite(torch.float64)
        opt = adamw(model, LR, betas, EPS)
        for _ in range(STEPS):
            opt.zero_grad()
            (F.normalize(model(x), dim=-1) * (cotangent / 100).float().double()).sum().backward()
            opt.step()
        out |= arrays("after.", model.state_dict().items())
    safetensors(OUT / path, out, {
        "with": config, "embed_dim": DIM, "batch": len(x), "parameters": sum(p.numel() for p in model.parameters()), **more,
        "steps": STEPS * steps, "lr": LR, "beta1": betas[0], "beta2": betas[1], "eps": EPS, "weight_decay": 0.2})


ACT = {"gelu": nn.GELU, "quick_gelu": transformer.QuickGELU}


def vit(name, act="gelu", pool="tok", ratio=4.0):
    m = transformer.VisionTransformer(
        image_size=16, patch_size=8, width=16, layers=2, heads=2, mlp_ratio=ratio, output_dim=DIM, pool_type=pool, act_layer=ACT[act])
    config = dict(image_size=16, patch_size=8, width=16, layers=2, head_width=8, act=act, pool_type=pool, mlp_ratio=ratio)
    golden(f"vit/testdata/{name}.safetensors", m, "visual.", pictures("pictures", 16, 3), config, (0.9, 0.98))


def text(name, act="gelu", pool="argmax", causal=True):
    m = transformer.TextTransformer(
        context_length=24, vocab_size=258, width=16, heads=2, layers=2, output_dim=DIM, pool_type=pool,
        no_causal_mask=not causal, act_layer=ACT[act])
    config = dict(context_length=24, vocab_size=258, width=16, heads=2, layers=2, act=act, pool_type=pool,
                  causal=causal, tokenizer="byte")
    captions = ["cat", "a photo of a dog", "this caption is longer than the context of 24 tokens"]
    golden(f"transformer/testdata/{name}.safetensors", m, "", ids(captions, 24, 258), config, (0.9, 0.98),
           steps=causal and pool == "argmax", captions=captions)


def resnet(name, **switches):
    m = modified_resnet.ModifiedResNet(layers=[1, 2, 1, 1], output_dim=DIM, heads=2, image_size=64, width=4)
    if switches:
        m = Variant(m, **dict(dict(stem="clip", downsample="avgpool", pool="attention"), **switches), width=4)
    config = dict(layers=[1, 2, 1, 1], heads=2, image_size=64, width=4, **switches)
    # Statistics of a batch of three pictures would magnify every rounding.
    golden(f"resnet-attnpool/testdata/{name}.safetensors", m, "visual.", pictures("pictures", 64, 16), config, (0.9, 0.999),
           steps=False)  # trainings.py takes them


class Variant(nn.Module):
    """OpenCLIP's ModifiedResNet with its changes against the plain ResNet taken back one by one."""

    def __init__(self, clip, stem, downsample, pool, width):
        super().__init__()
        for name, module in clip.named_children():
            if not (stem == "plain" and name in ("conv2", "bn2", "act2", "conv3", "bn3", "act3")):
                self.add_module(name, module)
        if stem == "plain":
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.avgpool = nn.MaxPool2d(3, stride=2, padding=1)
        if downsample == "stride":
            for block in [b for i in range(1, 5) for b in getattr(self, f"layer{i}")]:
                block.avgpool = nn.Identity()
                block.conv2.stride = (block.stride, block.stride)
                if block.downsample is not None:
                    block.downsample[0] = nn.Identity()
                    block.downsample[1].stride = (block.stride, block.stride)
        if pool == "average":
            del self.attnpool
            self.proj = nn.Linear(32 * width, DIM)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if hasattr(self, "conv2"):
            x = F.relu(self.bn2(self.conv2(x)))
            x = F.relu(self.bn3(self.conv3(x)))
        x = self.avgpool(x)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return self.proj(x.mean(dim=(2, 3))) if hasattr(self, "proj") else self.attnpool(x)


if __name__ == "__main__":
    torch.set_num_threads(1)
    vit("gelu-tok")
    vit("gelu-avg", pool="avg")
    vit("quick-gelu-tok", "quick_gelu")
    vit("quick-gelu-avg", "quick_gelu", "avg", 2.0)
    text("argmax")
    text("argmax-quick-gelu", "quick_gelu")
    text("first-quick-gelu", "quick_gelu", "first")
    text("last", pool="last")
    text("bidirectional", causal=False)
    resnet("clip")
    resnet("average-pool", pool="average")
    resnet("plain-stem", stem="plain", pool="average")  # whose pool has few parameters
    resnet("strides", downsample="stride", pool="average")
