#!/usr/bin/env python3
"""encoders/timm: any backbone of timm (github.com/huggingface/pytorch-image-models) with a linear projection."""

import difflib
from dataclasses import dataclass

import tandem


@dataclass
class Config:
    model: str = tandem.field(help="name of the backbone, one of timm.list_models(): resnet18, convnext_tiny, vit_small_patch16_224, …")
    weights: str = tandem.field("", path=True, help="file of the backbone's weights (.safetensors, .pth); default: random")
    image_size: int = tandem.field(0, min=0, max=4096, help="side of the pictures; 0: the backbone's")
    drop_path: float = tandem.field(0.0, min=0, max=0.9, help="share of residual branches left out in training (stochastic depth)")
    head: str = tandem.field("linear", enum=["linear", "mlp"], help="projection to the embedding: linear without bias, or two layers with GELU")
    mean: list[float] = tandem.field([], help="of red, green and blue, pixels being 0 … 1; default: the backbone's")
    std: list[float] = tandem.field([], help="their standard deviations")


def build(c, embed_dim):
    import timm
    from torch import nn

    if not timm.models.is_model(c.model):
        raise tandem.Fault("invalid", f'timm {timm.__version__} has no model "{c.model}"', path="with.model",
                           hint="near names are " + ", ".join(difflib.get_close_matches(c.model, timm.list_models(), 5, 0)))
    sized = {"img_size": c.image_size} if c.image_size else {}
    options = {"pretrained": False, "num_classes": 0, "drop_path_rate": c.drop_path}
    try:
        trunk = timm.create_model(c.model, **options, **sized)
    except TypeError:  # a convolutional network takes any size
        trunk = timm.create_model(c.model, **options)
    if c.weights:
        timm.models.load_checkpoint(trunk, c.weights, strict=False)
    width, cfg = trunk.num_features, trunk.pretrained_cfg
    head = nn.Linear(width, embed_dim, bias=False)
    if c.head == "mlp":
        head = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, embed_dim, bias=False))
    net = nn.Sequential()
    net.trunk, net.head = trunk, head
    net.image_size = c.image_size or cfg["input_size"][-1]
    net.mean, net.std = c.mean or cfg["mean"], c.std or cfg["std"]
    net.set_grad_checkpointing = trunk.set_grad_checkpointing
    return net


if __name__ == "__main__":
    tandem.serve(tandem.Encoder("timm", build, modality="image", config=Config, version="1.0.0",
                                summary="any backbone of timm with a projection, in PyTorch"))
