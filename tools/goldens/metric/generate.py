"""Goldens of core/results/metric: calibration and retrieval with several positives in plain numpy, the temperature by
scipy. From the repository root:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy==2.5.1 scipy==1.17.1
    /tmp/venv/bin/python tools/goldens/metric/generate.py core/results/metric/testdata/golden.json

All scores are drawn here from a fixed seed and rounded, so that the file holds what was computed with.
"""
import json, sys
import numpy as np, scipy
from scipy.optimize import minimize_scalar

rng = np.random.default_rng(15)
N, K = 120, 6
labels = rng.integers(0, K, N)
logits = (rng.normal(0, 1, (N, K)) + 1.2 * np.eye(K)[labels]).round(4) * 3


def probabilities(t):
    z = logits / t
    p = np.exp(z - z.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def figures(t):
    p = probabilities(t)
    confidence, right = p.max(1), p.argmax(1) == labels
    # ECE as in github.com/gpleiss/temperature_scaling, the code of Guo et al. 2017.
    edges = np.linspace(0, 1, 16)
    ece, bins = 0.0, []
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        bins.append(int(inside.sum()))
        if inside.any():
            ece += abs(confidence[inside].mean() - right[inside].mean()) * inside.mean()
    adaptive = 0.0
    for part in np.array_split(np.argsort(confidence, kind="stable"), 15):
        adaptive += abs(confidence[part].mean() - right[part].mean()) * len(part) / N
    brier = ((p - np.eye(K)[labels]) ** 2).sum(1).mean()
    nll = -np.log(p[np.arange(N), labels]).mean()
    return dict(temperature=t, ece=float(ece), adaptive=float(adaptive), brier=float(brier), nll=float(nll), bins=bins)


best = minimize_scalar(lambda t: figures(t)["nll"], bounds=(.05, 20), method="bounded", options=dict(xatol=1e-12)).x

M, Q = 40, 25
of = rng.integers(0, 8, M)
scores = rng.normal(0, 1, (Q, M)).round(2)  # with ties
mine = rng.integers(0, 8, Q)
scores += (of[None] == mine[:, None]) * .5
ap, rp, rr = [], [], []
for s, g in zip(scores, mine):
    positive = of == g
    order = np.lexsort((positive, -s))  # of equal scores the wrong ones first
    hit = positive[order]
    P = positive.sum()
    if P == 0:
        continue
    precision = np.cumsum(hit) / np.arange(1, M + 1)
    ap.append((precision * hit)[:10].sum() / min(P, 10))
    rp.append(hit[:P].mean())
    rr.append(1 / (np.argmax(hit) + 1))

json.dump(dict(made="numpy " + np.__version__ + ", scipy " + scipy.__version__,
               calibration=dict(classes=K, logits=logits.ravel().tolist(), labels=labels.tolist(), figures=[figures(1.0), figures(2.5)], best=float(best)),
               retrieval=dict(candidates=of.tolist(), queries=mine.tolist(), scores=scores.ravel().round(2).tolist(),
                              map10=float(np.mean(ap)), r_precision=float(np.mean(rp)), mrr=float(np.mean(rr)))), open(sys.argv[1], "w"))
