"""Goldens of core/experiment/probe, made with scikit-learn. From the repository root:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install scikit-learn==1.9.1
    /tmp/venv/bin/python tools/goldens/probe/generate.py core/experiment/probe/testdata/golden.json

All features are drawn here from a fixed seed and rounded, so that the file holds what was computed with.
"""
import json, sys
import numpy as np, sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

rng = np.random.default_rng(14)
DIM, CLASSES = 6, 4
centres = rng.normal(0, 1, (CLASSES, DIM)) + 2  # off the origin, as features of CLIP are


def draw(n, noise):
    y = rng.integers(0, CLASSES, n)
    y[:CLASSES] = range(CLASSES)
    x = centres[y] + rng.normal(0, noise, (n, DIM))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.round(5).astype(np.float32), y


train, y = draw(60, .9)
test, truth = draw(40, .9)
wide, tests = train.astype(np.float64), test.astype(np.float64)

fits = []
for c in (1e-3, .1, 1, 30, 1000):
    m = LogisticRegression(C=c, tol=1e-10, max_iter=20000).fit(wide, y)
    fits.append(dict(c=c, w=m.coef_.ravel().tolist(), b=m.intercept_.tolist(), accuracy=float(m.score(tests, truth))))

plain = {str(k): KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(wide, y).predict(tests).tolist() for k in (1, 3, 5, 20)}
weighted = {}
for k in (1, 5, 20):
    # DINO's eval_knn.py: the votes of the k nearest, each exp(cosine / 0.07).
    cos = tests @ wide.T
    near = np.argsort(-cos, axis=1, kind="stable")[:, :k]
    votes = np.zeros((len(tests), CLASSES))
    for i, places in enumerate(near):
        for j in places:
            votes[i, y[j]] += np.exp(cos[i, j] / .07)
    weighted[str(k)] = (votes / votes.sum(1, keepdims=True)).ravel().tolist()

means = np.stack([wide[y == c].mean(0) for c in range(CLASSES)])
means /= np.linalg.norm(means, axis=1, keepdims=True)

json.dump(dict(made="scikit-learn " + sklearn.__version__ + ", numpy " + np.__version__, dim=DIM, classes=CLASSES,
               train=[round(float(v), 5) for v in train.ravel()], y=y.tolist(),
               test=[round(float(v), 5) for v in test.ravel()], truth=truth.tolist(),
               fits=fits, plain=plain, weighted=weighted, prototypes=means.ravel().tolist()), open(sys.argv[1], "w"))
