import tandem


def compute(x, p, config):
    import numpy as np

    b, d = x.image.shape
    negatives = x.text_negatives.reshape(b, -1, d)
    k = negatives.shape[1]
    weight = 1 / np.bincount(x.groups)[x.groups]  # samples of large groups count less
    right = (x.image * x.text).sum(1)
    wrong = np.einsum("bd,bkd->bk", x.image, negatives)
    apart = x.image - x.image_view2
    hard, views = (wrong**2).mean(1), (apart**2).sum(1)
    value = np.mean(weight * (p.weight * hard + views - right))
    w = (weight / b)[:, None]
    gradients = {
        "image": w * (2 * p.weight / k * np.einsum("bk,bkd->bd", wrong, negatives) + 2 * apart - x.text), "text": -w * x.image,
        "text_negatives": (w[:, :, None] * 2 * p.weight / k * wrong[:, :, None] * x.image[:, None, :]).reshape(-1, d),
        "image_view2": -2 * w * apart, "weight": np.mean(weight * hard)}
    return value, gradients, {"hard": hard, "views": views}


tandem.serve(tandem.Loss("byhand", compute, backend="numpy", inputs=["text_negatives", "image_view2", "groups"], params={"weight": 0.5},
                         summary="hard negatives and second views, differentiated by hand"))
