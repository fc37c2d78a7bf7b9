import math

import tandem


def compute(x, p, config):
    import torch
    from torch.nn.functional import cross_entropy

    logits = p.logit_scale.exp() * x.image @ x.text.T
    labels = torch.arange(len(logits), device=logits.device)
    rows, columns = cross_entropy(logits, labels, reduction="none"), cross_entropy(logits.T, labels, reduction="none")
    return (rows.mean() + columns.mean()) / 2, {"image_to_text": rows, "text_to_image": columns}, {"logit_scale": p.logit_scale.exp()}


tandem.serve(tandem.Loss("torchclip", compute, params={"logit_scale": math.log(1 / 0.07)}, summary="CLIP's loss by autograd"))
