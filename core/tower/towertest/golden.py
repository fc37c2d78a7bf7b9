#!/usr/bin/env python3
"""Writes the golden files of the encoder plugins from OpenCLIP's own modules, in double precision.

Usage: golden.py OPEN_CLIP_FOLDER OUTPUT_FOLDER
Made with open_clip 2.24.0 and PyTorch 1.13.1. OPEN_CLIP_FOLDER is the package's folder
(site-packages/open_clip); its __init__ is not run, so torchvision and timm are not needed.

Parameters, pictures and gradients are hashes of a name and a position, which Go computes again
(golden.go), so that a file holds results only.
"""
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

MASK = (1 << 64) - 1


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
    """Value of a parameter or running statistic, rounded to float32."""
    u = uniform(name, int(np.prod(shape))).reshape(shape)
    if len(shape) > 1:
        u = u * np.sqrt(3 / np.prod(shape[1:]))
    elif name.endswith(("weight", "running_var")):
        u = 1 + 0.3 * u
    else:
        u = 0.3 * u
    return torch.from_numpy(u.astype(np.float32).astype(np.float64))


def load(folder):
    """open_clip's transformer and modified_resnet modules, without the package's __init__."""
    tv = types.ModuleType("torchvision.ops.misc")
    tv.FrozenBatchNorm2d = nn.BatchNorm2d
    for name in ("torchvision", "torchvision.ops"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision.ops.misc"] = tv
    package = types.ModuleType("open_clip")
    package.__path__ = [str(folder)]
    sys.modules["open_clip"] = package
    out = []
    for name in ("transformer", "modified_resnet"):
        spec = importlib.util.spec_from_file_location("open_clip." + name, folder / (name + ".py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules["open_clip." + name] = module
        spec.loader.exec_module(module)
        out.append(module)
    return out


def golden(model, prefix, x, dim, config):
    model = model.double()
    for name, p in model.state_dict(keep_vars=True).items():
        if "num_batches" not in name:
            p.data = value(prefix + name, tuple(p.shape))
    r = {"with": config, "embed_dim": dim, "parameters": sum(p.numel() for p in model.parameters())}
    model.eval()
    with torch.no_grad():
        r["eval"] = F.normalize(model(x), dim=-1).flatten().tolist()
    model.train()
    y = F.normalize(model(x), dim=-1)
    r["train"] = y.flatten().tolist()
    cotangent = torch.from_numpy(100 * uniform("cotangent", y.numel())).reshape(y.shape)
    (y * cotangent.float().double()).sum().backward()
    r["grads"] = {}
    for name, p in model.named_parameters():
        g = p.grad.flatten().numpy()
        r["grads"][prefix + name] = [float(np.linalg.norm(g)), float(g @ uniform("probe " + prefix + name, g.size))]
    r["stats"] = {}
    for name, b in model.named_buffers():
        if "running" in name:
            v = b.flatten().numpy()
            r["stats"][prefix + name] = [float(np.linalg.norm(v)), float(v @ uniform("probe " + prefix + name, v.size))]
    return r


def pictures(b, s):
    """u8 NHWC as Go makes it, and the normalised NCHW that the models take."""
    u = np.floor((uniform("pictures", b * s * s * 3) + 1) * 128).reshape(b, s, s, 3)
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    return torch.from_numpy(((u / 255 - mean) / std).transpose(0, 3, 1, 2).copy())


def ids(captions, context, vocab):
    out = torch.zeros(len(captions), context, dtype=torch.long)
    for i, c in enumerate(captions):
        row = [vocab - 2, *c.encode(), vocab - 1]
        if len(row) > context:
            row = row[: context - 1] + [vocab - 1]
        out[i, : len(row)] = torch.tensor(row)
    return out


def main():
    transformer, resnet = load(pathlib.Path(sys.argv[1]))
    out = pathlib.Path(sys.argv[2])

    class QuickGELU(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(1.702 * x)

    def vit(name, act="gelu", pool="tok", ratio=4.0):
        m = transformer.VisionTransformer(
            image_size=16, patch_size=8, width=16, layers=2, heads=2, mlp_ratio=ratio, output_dim=6, pool_type=pool,
            act_layer=nn.GELU if act == "gelu" else QuickGELU)
        config = dict(image_size=16, patch_size=8, width=16, layers=2, head_width=8, act=act, pool_type=pool, mlp_ratio=ratio)
        save(out / "vit" / "testdata" / (name + ".json"), golden(m, "visual.", pictures(3, 16), 6, config))

    def text(name, act="gelu", pool="argmax", causal=True):
        m = transformer.TextTransformer(
            context_length=24, vocab_size=258, width=16, heads=2, layers=2, output_dim=6, pool_type=pool,
            no_causal_mask=not causal, act_layer=nn.GELU if act == "gelu" else QuickGELU)
        config = dict(context_length=24, vocab_size=258, width=16, heads=2, layers=2, act=act, pool_type=pool,
                      causal=causal, tokenizer="byte")
        captions = ["cat", "a photo of a dog", "this caption is longer than the context of 24 tokens"]
        r = golden(m, "", ids(captions, 24, 258), 6, config)
        r["captions"] = captions
        save(out / "transformer" / "testdata" / (name + ".json"), r)

    vit("tok")
    vit("avg-quick-gelu", "quick_gelu", "avg", 2.0)
    text("argmax")
    text("first-quick-gelu", "quick_gelu", "first")
    text("last", pool="last")
    text("bidirectional", causal=False)

    def modified_resnet(name, **switches):
        m = resnet.ModifiedResNet(layers=[1, 2, 1, 1], output_dim=6, heads=2, image_size=64, width=2)
        if switches:
            m = Variant(m, **dict(dict(stem="clip", downsample="avgpool", pool="attention"), **switches), width=2, dim=6)
        config = dict(layers=[1, 2, 1, 1], heads=2, image_size=64, width=2, **switches)
        save(out / "resnet-attnpool" / "testdata" / (name + ".json"), golden(m, "visual.", pictures(3, 64), 6, config))

    modified_resnet("clip")
    modified_resnet("plain-stem", stem="plain")
    modified_resnet("strides", downsample="stride")
    modified_resnet("average-pool", pool="average")
    modified_resnet("plain", stem="plain", downsample="stride", pool="average")


class Variant(nn.Module):
    """OpenCLIP's ModifiedResNet with its changes against the plain ResNet taken back one by one."""

    def __init__(self, clip, stem, downsample, pool, width, dim):
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
            self.proj = nn.Linear(32 * width, dim)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if hasattr(self, "conv2"):
            x = F.relu(self.bn2(self.conv2(x)))
            x = F.relu(self.bn3(self.conv3(x)))
        x = self.avgpool(x)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return self.proj(x.mean(dim=(2, 3))) if hasattr(self, "proj") else self.attnpool(x)


def save(path, r):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(r, indent=1) + "\n")


main()
