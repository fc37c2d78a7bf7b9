#!/usr/bin/env python3
"""Writes core/experiment/preset/models.csv, what makes the models of OpenCLIP that tandem's encoders can express: sizes,
activations and the names of published weights; and beside it, in testdata/cost.csv, how many parameters OpenCLIP's own modules
have, and how many floating-point operations torch counts for a picture and a text, on its meta device.

Usage, at the root of the repository, where open_clip_torch and timm are installed: models.py
"""
import csv
import pathlib

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP
from timm.layers import to_2tuple
from torch.utils.flop_counter import FlopCounterMode

OUT = pathlib.Path("core/experiment/preset")
COLUMNS = ("name embed_dim loss image_size patch_size width layers heads mlp_ratio act "
           "context_length vocab_size text_width text_heads text_layers text_mlp_ratio text_act pretrained").split()
IMAGE = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "timm_model_name", "timm_model_pretrained", "timm_pool", "timm_proj"}
TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "hf_tokenizer_name", "tokenizer_kwargs", "no_causal_mask", "proj_bias",
        "pool_type", "norm_kwargs", "act_kwargs"}
SIGLIP = {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}


def row(name):
    """The columns of a model; None for one that tandem's encoders cannot express."""
    c = open_clip.get_model_config(name)
    v, t = c["vision_cfg"], c["text_cfg"]
    siglip = "siglip" in v.get("timm_model_name", "")
    other = set(v) - IMAGE or set(t) - TEXT or set(c) - {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "init_logit_bias", "custom_text"}
    if other or siglip != ("timm_model_name" in v) or {k: t[k] for k in SIGLIP if k in t} != (SIGLIP if siglip else {}):
        return None
    act = "quick_gelu" if c.get("quick_gelu") else "gelu"
    out = dict(name=name, embed_dim=c["embed_dim"], loss="siglip" if siglip else "clip", image_size=v["image_size"], act=act, text_act=act,
               context_length=t["context_length"], vocab_size=t["vocab_size"], text_width=t["width"], text_heads=t["heads"], text_layers=t["layers"],
               text_mlp_ratio=t.get("mlp_ratio", 4), pretrained=" ".join(
                   tag for tag in open_clip.list_pretrained_tags_by_model(name)  # OpenAI's are listed under both activations
                   if bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu")) == (act == "quick_gelu")))
    if t.get("act_kwargs") == {"approximate": "tanh"}:
        out["text_act"] = "gelu_tanh"
    if siglip:
        with torch.device("meta"):
            m = open_clip.timm_model.timm.create_model(v["timm_model_name"], num_classes=0, global_pool="map")
        block, side = m.blocks[0], m.patch_embed.patch_size[0]
        if v["image_size"] % side:
            return None
        ratio = 4 if block.mlp.fc1.out_features == 4 * m.embed_dim else t["mlp_ratio"]
        assert int(m.embed_dim * ratio) == block.mlp.fc1.out_features
        tanh = getattr(block.mlp.act, "approximate", None) == "tanh" or "Tanh" in type(block.mlp.act).__name__
        out |= dict(patch_size=side, width=m.embed_dim, layers=len(m.blocks), heads=block.attn.num_heads, mlp_ratio=ratio, act="gelu_tanh" if tanh else "gelu")
    elif isinstance(v["layers"], list):
        out |= dict(patch_size=0, width=v["width"], layers=" ".join(map(str, v["layers"])), heads=v["width"] * 32 // v.get("head_width", 64), mlp_ratio=0)
    else:
        out |= dict(patch_size=v["patch_size"], width=v["width"], layers=v["layers"], heads=v["width"] // v.get("head_width", 64), mlp_ratio=v.get("mlp_ratio", 4))
    return out


def cost(name):
    c = open_clip.get_model_config(name)
    custom = c.pop("custom_text", False)
    with torch.device("meta"):
        m = (CustomTextCLIP if custom else CLIP)(**c)
    image = sum(p.numel() for p in m.visual.parameters())
    scalars = sum(p.numel() for n, p in m.named_parameters() if n.startswith("logit_"))
    picture = torch.zeros(1, 3, *to_2tuple(c["vision_cfg"]["image_size"]), device="meta")
    ids = torch.zeros(1, c["text_cfg"]["context_length"], dtype=torch.long, device="meta")
    flops = []
    for embed, x in (m.encode_image, picture), (m.encode_text, ids):
        with FlopCounterMode(display=False) as counter:
            embed(x)
        flops.append(counter.get_total_flops())
    return image, sum(p.numel() for p in m.parameters()) - image - scalars, *flops


rows = [r for r in map(row, open_clip.list_models()) if r]
with open(OUT / "models.csv", "w") as f:
    w = csv.DictWriter(f, COLUMNS, lineterminator="\n")
    w.writeheader()
    w.writerows(rows)
with open(OUT / "testdata" / "cost.csv", "w") as f:
    w = csv.writer(f, lineterminator="\n")
    w.writerow(["name", "image", "text", "image_flops", "text_flops"])
    for r in rows:
        w.writerow([r["name"], *cost(r["name"])])
print(len(rows), "models of", len(open_clip.list_models()))
