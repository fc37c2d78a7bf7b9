#!/usr/bin/env python3
"""Compares the linear probe of `runner eval` with scikit-learn's on the same features.

    tools/linear-probe.py RUN [--db DB --runs-dir DIR]

It evaluates the run by a suite of two sets, emoji by their groups and Fashion-MNIST (Debian's dataset-fashion-mnist), takes the
features from --features, and fits scikit-learn's LogisticRegression for every strength of the runner's grid. It prints
the accuracy of the runner's choice, of scikit-learn at that strength, and of scikit-learn's best strength on the test set
itself, which nobody may choose. Needs numpy, scikit-learn and safetensors."""
import glob
import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../bin/runner")
SUITE = """
name: linear-probe-check
eval:
  - {name: emoji-train, dataset: emoji, with: {split: train}, zero_shot: {classes: group, templates: ["{}"]}}
  - {name: emoji-probe, dataset: emoji, with: {split: test}, train: {with: {split: train}}, linear_probe: {classes: group}}
  - {name: clothes-train, dataset: fashion-mnist, with: {split: train}, max_samples: 3000, zero_shot: {classes: label, templates: ["{}"]}}
  - {name: clothes-probe, dataset: fashion-mnist, with: {split: test}, train: {with: {split: train}, max_samples: 3000}, linear_probe: {classes: label}}
"""


def features(folder, name):
    for path in glob.glob(os.path.join(folder, "**", "*.safetensors"), recursive=True):
        with safe_open(path, "np") as f:
            if f.metadata()["evaluation"] == name:
                return {k: f.get_tensor(k) for k in f.keys()}
    sys.exit(f"no features of {name} in {folder}")


def main():
    warnings.filterwarnings("ignore")
    run, where = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as d:
        suite, folder = os.path.join(d, "suite.yaml"), os.path.join(d, "features")
        with open(suite, "w") as f:
            f.write(SUITE)
        told = subprocess.run([RUNNER, "eval", run, "--suite", suite, "--features", folder, "--json", *where], check=True, stdout=subprocess.PIPE, text=True).stdout
        found = {e["evaluation"]: e["metrics"] for e in json.loads(told)}
        for name, target in ("emoji", "group"), ("clothes", "label"):
            train, test = features(folder, name + "-train"), features(folder, name + "-probe")
            x, y = train["image_features"].astype(np.float64), train["labels." + target]
            u, v = test["image_features"].astype(np.float64), test["labels." + target]
            mine = found[name + "-probe"]
            c, top1 = (mine[f"eval/{name}-probe/linear_probe_{what}"] for what in ("C", "top1"))

            def accuracy(c):
                return LogisticRegression(C=c, max_iter=1000).fit(x, y).score(u, v)

            grid = np.logspace(-2, 5, 15)
            scores = [accuracy(g) for g in grid]
            chosen = LogisticRegressionCV(Cs=grid, cv=4, max_iter=1000).fit(x, y)
            print(f"{name}: {len(y)} training samples, {len(v)} test samples, {x.shape[1]} features\n"
                  f"  runner eval, C = {c:.4g}: {100 * top1:.2f} %\n  scikit-learn at this C: {100 * accuracy(c):.2f} %\n"
                  f"  scikit-learn's own choice (LogisticRegressionCV, C = {chosen.C_[0]:.4g}): {100 * chosen.score(u, v):.2f} %\n"
                  f"  scikit-learn's best on the test samples (C = {grid[int(np.argmax(scores))]:.4g}): {100 * max(scores):.2f} %")

main()
