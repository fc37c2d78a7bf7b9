#!/usr/bin/env python3
"""myplugin: a loss in PyTorch."""

import math
from dataclasses import dataclass

import tandem


@dataclass
class Config:
    temperature: float = tandem.field(0.07, min=0.01, max=1, help="divides the cosines, at the start; it is learned")
    text_weight: float = tandem.field(0.5, min=0, max=1, help="share of the captions' part in the value")


def compute(x, p, config):  # x.image and x.text are [B, D] with rows of norm 1
    import torch
    from torch.nn.functional import cross_entropy

    logits = p.logit_scale.exp() * x.image @ x.text.T
    pairs = torch.arange(len(logits), device=logits.device)
    images = cross_entropy(logits, pairs, reduction="none")
    texts = cross_entropy(logits.T, pairs, reduction="none")
    value = (1 - config.text_weight) * images.mean() + config.text_weight * texts.mean()
    return value, {"image_to_text": images, "text_to_image": texts}


tandem.serve(tandem.Loss("myplugin", compute, config=Config, params=lambda config: {"logit_scale": math.log(1 / config.temperature)},
                         summary="contrastive loss with a weight for each direction"))
