#!/usr/bin/env python3
"""Writes the golden files of SigLIP's towers (Zhai et al. 2023): timm's VisionTransformer with an attention pool, and
OpenCLIP's TextTransformer as its SigLIP configs set it. What they hold is described in towers.py. The parameters have
tandem's names; core/engine/weights/keymap knows timm's.

Usage, at the root of the repository, where open_clip_torch and timm are installed: siglip.py
"""
import functools

import timm
import torch
from open_clip import transformer
from torch import nn

import towers
from common import ids, pictures

IMAGE = [("patch_embed.proj.", "conv1."), ("blocks.", "transformer.resblocks."), ("norm1.", "ln_1."), ("norm2.", "ln_2."),
         ("attn.qkv.", "attn.in_proj_"), ("attn.proj.", "attn.out_proj."), ("mlp.fc1.", "mlp.c_fc."), ("mlp.fc2.", "mlp.c_proj.")]


class Flat(nn.Module):
    """A network whose parameters are kept under tandem's names and shapes; forward puts them in place."""

    def __init__(self, net, translate):
        super().__init__()
        self.net, self.of = [net], {}  # a list hides the module
        for name, p in list(net.named_parameters()):
            self.of[name] = translate(name, p.detach())  # (tandem's name, values) of each part, and the way back
            for ours, value in self.of[name][0]:
                self.register_parameter(ours.replace(".", "/"), nn.Parameter(value.clone()))

    def named_parameters(self, *args, **kwargs):
        return ((n.replace("/", "."), p) for n, p in super().named_parameters(*args, **kwargs))

    def state_dict(self, *args, **kwargs):
        return {n.replace("/", "."): p for n, p in super().state_dict(*args, **kwargs).items()}

    def forward(self, x):
        mine = dict(self.named_parameters())
        values = {name: back(torch.cat([mine[ours] for ours, _ in parts])) for name, (parts, back) in self.of.items()}
        return torch.func.functional_call(self.net[0].train(self.training), values, (x,))


def of_timm(name, p):
    """tandem's names of a parameter of timm's VisionTransformer, and what makes it of them."""
    ours = {"pos_embed": "positional_embedding"}.get(name, name)
    if name.startswith("norm."):
        ours = "ln_post." + name[5:]
    elif not name.startswith("attn_pool."):
        for a, b in IMAGE:
            ours = ours.replace(a, b)
    value = p[0] if name in ("pos_embed", "attn_pool.latent") else p
    parts = [(ours, value)]
    if ".kv." in name:
        parts = list(zip((ours.replace(".kv.", ".k."), ours.replace(".kv.", ".v.")), p.chunk(2)))
    return parts, lambda x: x.reshape(p.shape)


def of_openclip(name, p):
    if name == "text_projection.weight":
        return [("text_projection", p.T)], lambda x: x.T
    return [(name, p)], lambda x: x


def image(name, act="gelu"):
    m = timm.models.vision_transformer.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=towers.DIM, depth=2, num_heads=2, num_classes=0, global_pool="map", class_token=False, act_layer=act)
    config = dict(image_size=16, patch_size=8, width=towers.DIM, layers=2, heads=2, act=act, norm_eps=1e-6, pool_type="map", no_class_token=True,
                  no_ln_pre=True, no_proj=True, patch_bias=True)
    towers.golden(f"vit/testdata/{name}.safetensors", Flat(m, of_timm), "visual.", pictures("pictures", 16, 3), config, (0.9, 0.95), steps=False)


class Registers(transformer.VisionTransformer):
    """OpenCLIP's network with registers, which have no position (Darcet et al. 2024)."""

    def __init__(self, number, **more):
        super().__init__(**more)
        self.register_tokens = nn.Parameter(torch.zeros(number, more["width"]))

    def forward(self, x):
        x, n = self._embeds(x), len(self.register_tokens)
        x = torch.cat([self.ln_pre(self.register_tokens).expand(len(x), -1, -1), x], dim=1)
        pooled, _ = self._pool(self.transformer(x)[:, n:])
        return pooled @ self.proj


def registers(name, pool):
    m = Registers(3, image_size=16, patch_size=8, width=16, layers=2, heads=2, mlp_ratio=2.0, output_dim=towers.DIM, pool_type=pool)
    config = dict(image_size=16, patch_size=8, width=16, layers=2, heads=2, mlp_ratio=2.0, pool_type=pool, registers=3)
    towers.golden(f"vit/testdata/{name}.safetensors", m, "visual.", pictures("pictures", 16, 3), config, (0.9, 0.98), steps=False)


def text(name, act="gelu"):
    m = transformer.TextTransformer(
        context_length=24, vocab_size=258, width=16, heads=2, layers=2, output_dim=towers.DIM, pool_type="last", no_causal_mask=True,
        proj_bias=True, norm_layer=functools.partial(transformer.LayerNorm, eps=1e-6), act_layer=ACT[act])
    config = dict(context_length=24, vocab_size=258, width=16, heads=2, layers=2, act=act, pool_type="last", causal=False,
                  proj_bias=True, norm_eps=1e-6, tokenizer="byte")
    captions = ["cat", "a photo of a dog", "this caption is longer than the context of 24 tokens"]
    towers.golden(f"transformer/testdata/{name}.safetensors", Flat(m, of_openclip), "", ids(captions, 24, 258), config, (0.9, 0.95),
                  steps=False, captions=captions)


ACT = {"gelu": nn.GELU, "gelu_tanh": functools.partial(nn.GELU, approximate="tanh")}

torch.set_num_threads(1)
image("siglip")
image("siglip2", "gelu_tanh")
registers("registers-tok", "tok")
registers("registers-avg", "avg")
text("siglip")
text("siglip2", "gelu_tanh")
