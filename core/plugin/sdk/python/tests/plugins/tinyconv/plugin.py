from dataclasses import dataclass

import tandem


@dataclass
class Config:
    width: int = tandem.field(8, min=1, help="channels of the first layer")
    image_size: int = tandem.field(16, min=8, help="side of the pictures in pixels")
    norm: bool = tandem.field(False, help="batch normalisation")
    dropout: float = tandem.field(0.0, min=0, max=0.9, help="share of features left out in training")


def build(config, embed_dim):
    from torch import nn

    w = config.width
    return nn.Sequential(
        nn.Conv2d(3, w, 4, 4), nn.BatchNorm2d(w) if config.norm else nn.Identity(), nn.GELU(), nn.Conv2d(w, 2 * w, 3, 1, 1), nn.GELU(),
        nn.Flatten(), nn.Dropout(config.dropout), nn.Linear(2 * w * (config.image_size // 4) ** 2, embed_dim))


tandem.serve(tandem.Encoder("tinyconv", build, config=Config, image_size=lambda c: c.image_size, summary="two convolutions and a projection"))
