#!/usr/bin/env python3
"""Writes core/experiment/eval/testdata/clip_benchmark.json: random features (seed 0) and what CLIP_benchmark 1.6.2 makes of them.

    pip install --no-deps --target /tmp/cb clip_benchmark==1.6.2 "numpy<2.4"
    PYTHONPATH=/tmp/cb tools/goldens/clipbenchmark/make.py

Needs torch, scikit-learn and tqdm. The features are drawn in float32, so that they come back from JSON as they are.
"""
import json
import os
import sys

import numpy as np
import torch

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "../.."))
from clipbenchmark import Stored, classify, retrieve  # noqa: E402

N, D, CLASSES, TEMPLATES = 60, 8, 7, ["{}", "a picture of {}"]
rng = np.random.default_rng(0)


def unit(n):
    x = rng.standard_normal((n, D)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


labels = [int(v) for v in rng.integers(0, CLASSES, N)]
classes = [f"class {c}" for c in range(CLASSES)]
captions = [[f"caption {i} {k}" for k in range(1 + i % 3)] for i in range(N)]
texts = [t.replace("{}", c) for c in classes for t in TEMPLATES] + [c for own in captions for c in own]
centres = unit(CLASSES)
images = unit(N) + centres[labels] * 0.8  # better than chance, and far from perfect
images /= np.linalg.norm(images, axis=1, keepdims=True)
features = unit(len(texts))
features[: CLASSES * len(TEMPLATES)] += np.repeat(centres, len(TEMPLATES), axis=0)
at = CLASSES * len(TEMPLATES)
for i, own in enumerate(captions):
    for _ in own:
        features[at] += images[i] * 1.2
        at += 1
features /= np.linalg.norm(features, axis=1, keepdims=True)
images, features = images.astype(np.float32), features.astype(np.float32)

model = Stored(torch.from_numpy(images), texts, torch.from_numpy(features))
zero, predicted = classify(model, labels, classes, TEMPLATES)
found, hits = retrieve(model, captions, [1, 5, 10])
out = {"images": images.tolist(), "labels": labels, "classes": classes, "templates": TEMPLATES, "captions": captions, "texts": texts,
       "text_features": features.tolist(), "metrics": {**zero, **found}, "predicted": predicted, "hits": hits}
path = os.path.join(here, "../../../core/experiment/eval/testdata/clip_benchmark.json")
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, "w") as f:
    json.dump(out, f, separators=(",", ":"))
print(path, os.path.getsize(path), "bytes", out["metrics"])
