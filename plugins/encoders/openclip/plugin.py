#!/usr/bin/env python3
"""encoders/openclip: either tower of any model of OpenCLIP (github.com/mlfoundations/open_clip), in PyTorch."""

import difflib
import json
from dataclasses import dataclass

import tandem


@dataclass
class Config:
    model: str = tandem.field(help="name of the model, one of open_clip.list_models(): ViT-B-32, ViT-B-16-SigLIP, convnext_base, EVA02-B-16, …")
    weights: str = tandem.field("", path=True, help="file of the model's weights (.safetensors, .pt, .bin); default: random, init.weights applies")
    image_size: int = tandem.field(0, min=0, max=4096, help="side of the pictures; 0: the model's")
    context_length: int = tandem.field(0, min=0, max=4096, help="most tokens of a text; 0: the model's")
    vision: dict[str, str] = tandem.field({}, help='changes of the model\'s vision_cfg as JSON values: {layers: "4", width: "128"}')
    text: dict[str, str] = tandem.field({}, help="changes of the model's text_cfg, likewise")
    mean: list[float] = tandem.field([], help="of red, green and blue, pixels being 0 … 1; default: OpenCLIP's for these weights or this model")
    std: list[float] = tandem.field([], help="their standard deviations")


def model_config(c, embed_dim):
    """Returns OpenCLIP's configuration of the model with the changes of the with block."""
    import open_clip

    known = open_clip.get_model_config(c.model)
    if known is None:
        raise tandem.Fault("invalid", f'OpenCLIP {open_clip.__version__} has no model "{c.model}"', path="with.model",
                           hint="near names are " + ", ".join(difflib.get_close_matches(c.model, open_clip.list_models(), 5, 0)))
    if c.weights and known["embed_dim"] != embed_dim:
        raise tandem.Fault("invalid", f"{embed_dim}, but the weights of {c.model} have {known['embed_dim']}", path="embed_dim")
    for part, changes in (("vision", c.vision), ("text", c.text)):
        known.setdefault(part + "_cfg", {})
        for key, value in changes.items():
            try:
                known[part + "_cfg"][key] = json.loads(value)
            except ValueError:
                known[part + "_cfg"][key] = value  # a word
    vision, text = known["vision_cfg"], known["text_cfg"]
    if c.image_size:
        vision["image_size"] = c.image_size
    if c.context_length:
        text["context_length"] = c.context_length
    vision["timm_model_pretrained"] = text["hf_model_pretrained"] = False  # weights come from files alone
    vision["output_tokens"] = text["output_tokens"] = False
    return known


def published(model):
    """Returns how OpenCLIP prepares pictures for the first of a model's published weights; {} where there are none."""
    from open_clip import pretrained

    tags = pretrained.list_pretrained_tags_by_model(model)
    return pretrained.get_pretrained_cfg(model, tags[0]) if tags else {}


def build(c, embed_dim, modality):
    import open_clip
    from open_clip import model as parts
    from torch import nn

    class Tower(nn.Module):
        """Gives the parameters OpenCLIP's names, which begin with visual. or text. in most models."""

        def __init__(self, name, net):
            super().__init__()
            setattr(self, name, net)
            self.only, self.set_grad_checkpointing = name, net.set_grad_checkpointing

        def forward(self, x):
            return getattr(self, self.only)(x)

    cfg = model_config(c, embed_dim)
    quick = cfg.get("quick_gelu", False)
    try:
        if modality == "image":
            net = parts._build_vision_tower(embed_dim, cfg["vision_cfg"], quick)
            tower, size = Tower("visual", net), net.image_size
            if c.image_size and hasattr(getattr(net, "trunk", None), "set_input_size"):  # OpenCLIP leaves timm's size as it is
                net.trunk.set_input_size(img_size=c.image_size)
            width = getattr(getattr(net, "trunk", None), "num_features", embed_dim)
            if cfg["vision_cfg"].get("timm_proj") in ("", "none") and width != embed_dim:
                raise tandem.Fault("invalid", f"{c.model} gives {width} numbers and has no projection to {embed_dim}", path="with.vision",
                                   hint=f"set embed_dim: {width}, or with: {{vision: {{timm_proj: linear}}}}")
            own = published(c.model)
            tower.image_size = size[0] if isinstance(size, (tuple, list)) else size
            tower.mean, tower.std = c.mean or own.get("mean"), c.std or own.get("std")
        else:
            net = parts._build_text_tower(embed_dim, cfg["text_cfg"], quick)
            custom = cfg.get("custom_text") or "hf_model_name" in cfg["text_cfg"]
            tower = Tower("text", net) if custom else net
            tokenizer = open_clip.get_tokenizer(c.model, context_length=net.context_length)
            tower.tokenize, tower.context_length, tower.vocab_size = tokenizer, net.context_length, net.vocab_size
            if isinstance(tokenizer, open_clip.SimpleTokenizer):
                tower.count_tokens = lambda texts: [len(tokenizer.encode(t)) + 2 for t in texts]
    except (TypeError, OSError) as e:  # a key that is none, a tokenizer that is on no disk
        raise tandem.Fault("invalid", f"{c.model}: {e}", path="with") from e
    if c.weights:
        _load(tower, open_clip.load_state_dict(c.weights), c.weights)
    return tower


def _load(tower, state, file):
    own = {k: v for k, v in state.items() if k in tower.state_dict()}
    missing = sorted(set(tower.state_dict()) - set(own))
    if missing:
        raise tandem.Fault("invalid", f"{file} lacks {missing[0]}", path="with.weights", detail="\n".join(missing),
                           hint="are they the weights of another model, or of other sizes?")
    tower.load_state_dict(own)


if __name__ == "__main__":
    tandem.serve(tandem.Encoder("openclip", build, modality=None, config=Config, version="1.0.0",
                                summary="either tower of any model of OpenCLIP, in PyTorch"))
