import math

import tandem


def compute(x, p, config):
    import numpy as np

    scale = math.exp(p.logit_scale)
    cosines = x.image @ x.text.T

    def direction(logits):
        q = np.exp(logits - logits.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
        return -np.log(np.diag(q)), (q - np.eye(len(q))) / len(q)

    rows, d = direction(scale * cosines)
    columns, e = direction(scale * cosines.T)
    g = (d + e.T) / 2
    gradients = {"image": scale * g @ x.text, "text": scale * g.T @ x.image, "logit_scale": scale * (g * cosines).sum()}
    return (rows.mean() + columns.mean()) / 2, gradients, {"image_to_text": rows, "text_to_image": columns}, {"logit_scale": scale}


tandem.serve(tandem.Loss("npclip", compute, backend="numpy", params={"logit_scale": math.log(1 / 0.07)}, summary="CLIP's loss by hand"))
