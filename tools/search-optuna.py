#!/usr/bin/env python3
"""Best values that Optuna's samplers find on the functions of core/experiment/propose, for docs/adr/0025-search.md.

  python tools/search-optuna.py SAMPLER REPEATS TRIALS      # random, tpe, tpe-multivariate or gp"""
import math, statistics, sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def branin(t):
    x, y = t.suggest_float("x", -5, 10), t.suggest_float("y", 0, 15)
    return (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


A = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
P = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991], [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]


def hartmann6(t):
    x = [t.suggest_float(f"x{i}", 0, 1) for i in range(6)]
    return -sum(w * math.exp(-sum(a * (v - p / 1e4) ** 2 for a, v, p in zip(A[k], x, P[k]))) for k, w in enumerate([1, 1.2, 3, 3.2]))


def mixed(t):
    lr, width = t.suggest_float("lr", 1e-5, 1e-1, log=True), t.suggest_int("width", 16, 256)
    loss = t.suggest_categorical("loss", ["clip", "siglip", "dcl"])
    v = (math.log10(lr) + 3) ** 2 + ((width - 160) / 100) ** 2 + {"clip": 0.3, "siglip": 0, "dcl": 0.6}[loss]
    if loss == "siglip":
        return v + ((t.suggest_float("bias", -12, 0) + 8) / 4) ** 2
    return v + 20 * (t.suggest_float("temperature", 0.01, 0.5, log=True) - 0.07) ** 2


samplers = {
    "random": lambda s: optuna.samplers.RandomSampler(seed=s),
    "tpe": lambda s: optuna.samplers.TPESampler(seed=s),
    "tpe-multivariate": lambda s: optuna.samplers.TPESampler(seed=s, multivariate=True, group=True),
    "gp": lambda s: optuna.samplers.GPSampler(seed=s),
}
name, repeats, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for f in branin, hartmann6, mixed:
    best = {n: [] for n in (20, 40, 100) if n <= trials}
    for seed in range(repeats):
        study = optuna.create_study(sampler=samplers[name](seed))
        study.optimize(f, n_trials=trials)
        for n in best:
            best[n].append(min(t.value for t in study.trials[:n]))
    print(f.__name__, name, *(f"{n}: {statistics.mean(b):.4f} ({statistics.median(b):.4f})" for n, b in best.items()), "optuna", optuna.__version__, flush=True)
