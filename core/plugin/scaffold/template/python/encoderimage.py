#!/usr/bin/env python3
"""myplugin: an image encoder in PyTorch."""

from dataclasses import dataclass

import tandem


@dataclass
class Config:
    width: int = tandem.field(32, min=1, help="channels of the first convolution")
    image_size: int = tandem.field(32, min=8, help="side of the pictures in pixels")


def build(config, embed_dim):
    from torch import nn  # here, not above: the runner asks often what a plugin is

    w = config.width
    return nn.Sequential(  # f32 [B, 3, S, S] → [B, embed_dim]
        nn.Conv2d(3, w, 4, 4), nn.GELU(),
        nn.Conv2d(w, 2 * w, 3, 2, 1), nn.GELU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(8 * w, embed_dim))


tandem.serve(tandem.Encoder("myplugin", build, config=Config, image_size=lambda config: config.image_size,
                            summary="two convolutions and a projection"))
