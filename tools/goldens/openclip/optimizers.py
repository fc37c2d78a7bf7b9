#!/usr/bin/env python3
"""Writes what optimisers of others do with the parameters of the encoder plugins:

- rates.json beside the goldens of each plugin: the learning rate (of 1) and weight decay of every parameter by the groups of
  open_clip's own trainer, whose rule is taken from its source; and of the Vision Transformer the learning rate (of 1) of
  every parameter by timm's param_groups_layer_decay;
- vit/testdata/ema/vit.safetensors: parameters and their averages by torch.optim.swa_utils after a hundred steps of
  AdamW, in double precision;
- vit/testdata/tuned/vit.safetensors: parameters after twenty steps of AdamW with timm's layer decay, groups with rates and a
  weight decay of their own and one that torch is given after eight steps, and their averages by timm's ModelEmaV3.

Usage, at the root of the repository, where open_clip_torch and timm are installed: optimizers.py
"""
import fnmatch
import json
import pathlib
import re

import torch
from open_clip import modified_resnet, transformer
from timm.models import VisionTransformer
from timm.optim import param_groups_layer_decay
from timm.utils import ModelEmaV3
from torch import optim
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import open_clip_train
from common import adamw, pictures, safetensors, uniform, value

DIM, WD, LAYER_DECAY = 6, 0.2, 0.65
OUT = pathlib.Path("plugins/encoders")

# open_clip_train/main.py decides by two functions of a name and a parameter.
SOURCE = (pathlib.Path(open_clip_train.__path__[0]) / "main.py").read_text()
exclude = eval(re.search(r"exclude = (lambda n, p: .*)", SOURCE)[1])


def by_name(model, groups, prefix=""):
    names = {p: prefix + n for n, p in model.named_parameters()}
    return {names[p]: {"lr": g["lr"] * g.get("lr_scale", 1), "weight_decay": g["weight_decay"]} for g in groups for p in g["params"]}


def open_clip(model, prefix):
    named = list(model.named_parameters())
    o = optim.AdamW([{"params": [p for n, p in named if exclude(prefix + n, p)], "weight_decay": 0.0},
                     {"params": [p for n, p in named if not exclude(prefix + n, p)], "weight_decay": WD}], lr=1.0)
    return by_name(model, o.param_groups, prefix)


# timm's names of the parameters of a Vision Transformer, as OpenCLIP calls them.
NAMES = [(r"^cls_token", "visual.class_embedding"), (r"^pos_embed", "visual.positional_embedding"), (r"^patch_embed.proj", "visual.conv1"),
         (r"^blocks\.(\d+)", r"visual.transformer.resblocks.\1"), (r"\.norm([12])\.", r".ln_\1."), (r"attn\.qkv\.", "attn.in_proj_"),
         (r"attn\.proj\.", "attn.out_proj."), (r"mlp\.fc1", "mlp.c_fc"), (r"mlp\.fc2", "mlp.c_proj"), (r"^norm\.", "visual.ln_post."),
         (r"^head\.weight", "visual.proj")]


def layer_decay(layers):
    m = VisionTransformer(img_size=16, patch_size=4, embed_dim=16, depth=layers, num_heads=2, num_classes=DIM, pre_norm=True)
    groups = param_groups_layer_decay(m, weight_decay=WD, layer_decay=LAYER_DECAY)
    for g in groups:
        g["lr"] = 1.0
    out = {}
    for name, rate in by_name(m, groups).items():
        for pattern, new in NAMES:
            name = re.sub(pattern, new, name)
        out[name] = rate["lr"]
    del out["head.bias"]  # OpenCLIP's projection has none
    # timm counts the norms beside the blocks as the last block's, by the pattern "^norm". Here ln_pre belongs to the stem
    # and ln_post to the head, as the final norm does in BEiT, where the rule comes from.
    for name in ("norm_pre.weight", "norm_pre.bias", "visual.ln_post.weight", "visual.ln_post.bias"):
        del out[name]
    return out


def write(plugin, config, **rates):
    path = OUT / plugin / "testdata/rates.json"
    path.write_text(json.dumps(dict({"with": config, "embed_dim": DIM, "weight_decay": WD}, **rates), indent=1) + "\n")


def averages():
    m = transformer.VisionTransformer(image_size=16, patch_size=8, width=16, layers=2, heads=2, mlp_ratio=2, output_dim=DIM).double()
    config = dict(image_size=16, patch_size=8, width=16, layers=2, head_width=8, mlp_ratio=2.0)
    for name, p in m.named_parameters():
        p.data = value("visual." + name, tuple(p.shape)).double()
    x = pictures("pictures", 16, 3)
    steps, lr, eps, betas, decay = 100, 1e-3, 1e-6, (0.9, 0.98), 0.99
    cotangent = torch.from_numpy(uniform("cotangent", len(x) * DIM)).reshape(len(x), DIM)
    o, average = adamw(m, lr, betas, eps), AveragedModel(m, multi_avg_fn=get_ema_multi_avg_fn(decay))
    for _ in range(steps):
        o.zero_grad()
        (F.normalize(m(x), dim=-1) * (cotangent / 100).float().double()).sum().backward()
        o.step()
        average.update_parameters(m)
    arrays = {"after.visual." + n: p.detach() for n, p in m.named_parameters()}
    arrays |= {"ema.visual." + n: p.detach() for n, p in average.module.named_parameters()}
    path = OUT / "vit/testdata/ema/vit.safetensors"
    path.parent.mkdir(exist_ok=True)
    safetensors(path, arrays, {"with": config, "embed_dim": DIM, "batch": len(x), "parameters": sum(p.numel() for p in m.parameters()),
                               "steps": steps, "lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": WD, "ema_decay": decay})


def tuned():
    m = transformer.VisionTransformer(image_size=16, patch_size=8, width=16, layers=2, heads=2, mlp_ratio=2, output_dim=DIM).double()
    config = dict(image_size=16, patch_size=8, width=16, layers=2, head_width=8, mlp_ratio=2.0)
    params = {"visual." + n: p for n, p in m.named_parameters()}
    for name, p in params.items():
        p.data = value(name, tuple(p.shape)).double()
    groups = [{"params": ["*.ln_1.*", "visual.proj"], "lr_scale": 0.5, "weight_decay": 0.05}, {"params": ["*.mlp.*"], "start": 8}]
    layers = layer_decay(2) | {f"visual.ln_pre.{x}": LAYER_DECAY**3 for x in ("weight", "bias")} | {f"visual.ln_post.{x}": 1.0 for x in ("weight", "bias")}
    x = pictures("pictures", 16, 3)
    steps, lr, eps, betas, decay = 20, 1e-2, 1e-6, (0.9, 0.98), 0.9
    cotangent = torch.from_numpy(uniform("cotangent", len(x) * DIM)).reshape(len(x), DIM)
    by_start = {}
    for name, p in params.items():
        g = next((g for g in groups if any(fnmatch.fnmatchcase(name, glob) for glob in g["params"])), {})
        wd = g.get("weight_decay", 0.0 if exclude(name, p) else WD)
        by_start.setdefault(g.get("start", 0), []).append({"params": [p], "lr": lr * layers[name] * g.get("lr_scale", 1), "weight_decay": wd})
        p.requires_grad_("start" not in g)
    o, average = optim.AdamW(by_start[0], betas=betas, eps=eps), ModelEmaV3(m, decay=decay)
    for step in range(steps):
        for g in by_start.get(step, []) if step else []:
            g["params"][0].requires_grad_(True)
            o.add_param_group(g)
        o.zero_grad()
        (F.normalize(m(x), dim=-1) * (cotangent / 100).float().double()).sum().backward()
        o.step()
        average.update(m)
        if step == 0:
            first = {"first." + n: p.detach().clone() for n, p in params.items()}
    arrays = first | {"after." + n: p.detach() for n, p in params.items()}
    arrays |= {"timm.visual." + n: p.detach() for n, p in average.module.named_parameters()}
    path = OUT / "vit/testdata/tuned/vit.safetensors"
    path.parent.mkdir(exist_ok=True)
    safetensors(path, arrays, {"with": config, "embed_dim": DIM, "batch": len(x), "parameters": sum(p.numel() for p in params.values()),
                               "steps": steps, "lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": WD,
                               "groups": groups, "layer_decay": LAYER_DECAY, "ema_decay": decay})


torch.set_num_threads(1)
vit = transformer.VisionTransformer(image_size=16, patch_size=4, width=16, layers=2, heads=2, mlp_ratio=4.0, output_dim=DIM)
write("vit", dict(image_size=16, patch_size=4, width=16, layers=2, head_width=8), open_clip=open_clip(vit, "visual."),
      layer_decay={"factor": LAYER_DECAY, "rates": layer_decay(2)})
text = transformer.TextTransformer(context_length=24, vocab_size=258, width=16, heads=2, layers=2, output_dim=DIM)
write("transformer", dict(context_length=24, vocab_size=258, width=16, heads=2, layers=2, tokenizer="byte"), open_clip=open_clip(text, ""))
resnet = modified_resnet.ModifiedResNet(layers=[1, 1, 1, 1], output_dim=DIM, heads=2, image_size=32, width=4)
write("resnet-attnpool", dict(layers=[1, 1, 1, 1], heads=2, image_size=32, width=4), open_clip=open_clip(resnet, "visual."))
averages()
tuned()
