#!/usr/bin/env python3
"""Writes the golden files of the encoder plugins' token outputs from OpenCLIP's own modules, in double precision: for
each patch or position what output_tokens gives after the final layer norm, projected as the embedding is, with rows of
unit norm; the gradient of every parameter by a cotangent of embeddings and tokens.

Usage, at the root of the repository, where open_clip_torch is installed: tokens.py
"""
import pathlib

import torch
from open_clip import transformer
from torch.nn import functional as F

from common import ids, pictures, safetensors, uniform, value

DIM, OUT = 6, pathlib.Path("plugins/encoders")


def golden(path, model, prefix, projection, x, lengths, config, **more):
    model.double()
    for name, p in model.state_dict(keep_vars=True).items():
        p.data = value(prefix + name, tuple(p.shape))
    pooled, tokens = model(x)
    # Positions after a caption are none of it.
    own = torch.arange(tokens.shape[1])[None] < torch.tensor(lengths)[:, None]
    tokens = F.normalize(tokens @ getattr(model, projection), dim=-1) * own[..., None]
    embedding = F.normalize(pooled, dim=-1)
    inner = lambda y, name, scale: (y * (scale * torch.from_numpy(uniform(name, y.numel())).reshape(y.shape)).float().double()).sum()
    (inner(embedding, "cotangent", 100) + inner(tokens, "token cotangent", 30)).backward()
    out = {"embedding": embedding, "tokens": tokens} | {"grad." + prefix + n: p.grad for n, p in model.named_parameters()}
    safetensors(OUT / path, out, {"with": config, "embed_dim": DIM, "batch": len(x), "lengths": lengths,
                                  "parameters": sum(p.numel() for p in model.parameters()), **more})


def vit(name, pool):
    m = transformer.VisionTransformer(image_size=16, patch_size=8, width=8, layers=2, heads=2, mlp_ratio=2.0, output_dim=DIM,
                                      pool_type=pool, output_tokens=True)
    config = dict(image_size=16, patch_size=8, width=8, layers=2, head_width=4, pool_type=pool, mlp_ratio=2.0)
    golden(f"vit/testdata/tokens/{name}.safetensors", m, "visual.", "proj", pictures("pictures", 16, 3), [4, 4, 4], config)


def text(name, causal):
    m = transformer.TextTransformer(context_length=12, vocab_size=258, width=8, heads=2, layers=2, output_dim=DIM,
                                    no_causal_mask=not causal, output_tokens=True)
    config = dict(context_length=12, vocab_size=258, width=8, heads=2, layers=2, causal=causal, tokenizer="byte")
    captions = ["cat", "a dog", "longer than the context"]
    golden(f"transformer/testdata/tokens/{name}.safetensors", m, "", "text_projection", ids(captions, 12, 258), [5, 7, 12], config,
           captions=captions)


torch.set_num_threads(1)
vit("tok", "tok")
vit("avg", "avg")
text("causal", True)
text("bidirectional", False)
