"""Goldens of core/results/stat, made with scipy and statsmodels. From the repository root:

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install scipy==1.17.1 statsmodels==0.15.0
    /tmp/venv/bin/python tools/goldens/stats/generate.py core/results/stat/testdata/golden.json

All samples are drawn here from fixed seeds and rounded, so that the file holds exactly
the numbers that were computed with. What scipy draws at random (bootstrap, permutations by sampling) is
computed here from core/random's streams, written anew in Python, with scipy's or numpy's arithmetic.
"""
import itertools, json, sys
import numpy as np, pandas as pd, scipy, statsmodels
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import AnovaRM, anova_lm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

rng = np.random.default_rng(4)
MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def draw(n, std=1.0, mean=0.0):
    return [round(float(v), 6) for v in rng.normal(mean, std, n)]


def mix(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def stream(seed, purpose, *at):
    """core/random.New: the 64-bit words of a position."""
    h = 14695981039346656037
    for c in purpose.encode():
        h = (h ^ c) * 1099511628211 & MASK
    s = mix(seed + GOLDEN & MASK) ^ h
    for a in at:
        s = mix(s + GOLDEN & MASK) + a & MASK
    s = mix(s + GOLDEN & MASK)
    while True:
        s = s + GOLDEN & MASK
        yield mix(s)


def paired(n):
    a, b = draw(n, 1, 0.8), draw(n)
    t = stats.ttest_rel(a, b)
    ci = t.confidence_interval(0.95)
    wide = t.confidence_interval(0.99)
    return dict(a=a, b=b, delta=float(np.mean(np.subtract(a, b))), std=float(np.std(np.subtract(a, b), ddof=1)),
                low=ci.low, high=ci.high, low99=wide.low, high99=wide.high, p=t.pvalue)


def bootstrap(values, seed, level, resamples=9999):
    x, n = np.array(values), len(values)
    rows = np.array([[next(w) * n >> 64 for _ in range(n)] for w in (stream(seed, "bootstrap", i) for i in range(resamples))])
    r = x[rows]
    with np.errstate(divide="ignore"):  # a resample of one value repeated is infinite
        t = (r.mean(1) - x.mean()) / stats.sem(r, axis=1)
    k = round((resamples + 1) * (1 - level) / 2)
    t, err = np.sort(t), stats.sem(x)
    return dict(values=values, seed=seed, level=level, low=x.mean() - t[-k] * err, high=x.mean() - t[k - 1] * err)


def unused(*drawn):
    """Takes what the golden of a test that is gone was drawn from, so that those after it stay as they are."""
    return {}


def counts(a, b):
    exact = mcnemar([[50, a], [b, 40]], exact=True).pvalue
    mid = 2 * stats.binom.cdf(min(a, b), a + b, 0.5) - stats.binom.pmf(min(a, b), a + b, 0.5)
    return dict(only_a=a, only_b=b, exact=float(exact), mid=float(min(1, mid)))


def flips_exact(d):
    r = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
    return dict(differences=d, seed=0, p=float(r.pvalue))


def flips_sampled(d, seed, draws=9999):
    x = np.array(d)
    assert np.all(x != 0)
    words = -(-len(x) // 64)
    seen = abs(x.sum()) * (1 - 1e-12)
    hits = 0
    for i in range(draws):
        w = stream(seed, "sign flips", i)
        bits = sum(next(w) << 64 * k for k in range(words))
        hits += abs(sum(-v if bits >> j & 1 else v for j, v in enumerate(d))) >= seen
    return dict(differences=d, seed=seed, p=(hits + 1) / (draws + 1))


def grid(shape, seeds):
    """A factorial design with an effect of each factor, seeds that shift all cells, and noise."""
    names = "abc"[: len(shape)]
    shift = rng.normal(0, 0.5, seeds)
    rows = [(*levels, s, round(float(sum(levels) * 0.4 + np.prod(levels) * 0.3 + shift[s] + rng.normal()), 4))
            for levels in itertools.product(*map(range, shape)) for s in range(seeds)]
    table = pd.DataFrame(rows, columns=[*names, "seed", "y"])
    fit = anova_lm(ols("y ~ " + "*".join(f"C({n})" for n in names) + " + C(seed)", table).fit(), typ=2)
    total = float(((table.y - table.y.mean()) ** 2).sum())
    terms = {}
    for name, row in fit.iterrows():
        key = " × ".join(part[2:-1] for part in name.split(":")) if name != "Residual" else "residual"
        terms[key] = dict(ss=row.sum_sq, df=int(row.df), eta=row.sum_sq / total)
        if key not in ("residual", "seed"):
            terms[key] |= dict(f=row.F, p=row["PR(>F)"], partial=row.sum_sq / (row.sum_sq + fit.sum_sq["Residual"]))
    if len(shape) == 1:  # one way with blocks is the analysis of repeated measures
        r = AnovaRM(table, "y", "seed", within=["a"]).fit().anova_table
        assert abs(r["Pr > F"].iloc[0] - terms["a"]["p"]) < 1e-9
    return dict(shape=shape, seeds=seeds, y=list(table.y), terms=terms)


def noise(n1, n2):
    a, b = draw(n1), draw(n2, 1, 0.5)
    t = stats.ttest_ind(a, b)
    pooled = np.sqrt(((n1 - 1) * np.var(a, ddof=1) + (n2 - 1) * np.var(b, ddof=1)) / (n1 + n2 - 2))
    return dict(first=a, second=b, p=t.pvalue, std=pooled, floor5=stats.t.ppf(0.975, n1 + n2 - 2) * pooled * np.sqrt(2 / 5))


def blocks(cells, seeds):
    """A cell against the first by the residual of all cells and seeds: a contrast of the two-way model without interaction."""
    shift = rng.normal(0, 1, seeds)
    y = [[round(float(c * 0.3 + shift[s] + rng.normal()), 6) for s in range(seeds)] for c in range(cells)]
    table = pd.DataFrame([(c, s, y[c][s]) for c in range(cells) for s in range(seeds)], columns=["cell", "seed", "y"])
    fit = ols("y ~ C(cell) + C(seed)", table).fit()
    contrasts = [dict(delta=fit.params[k], p=fit.pvalues[k], low=fit.conf_int().loc[k, 0], high=fit.conf_int().loc[k, 1])
                 for k in (f"C(cell)[T.{c}]" for c in range(1, cells))]
    return dict(y=y, df=int(fit.df_resid), ms=fit.mse_resid, contrasts=contrasts)


p = [0.001, 0.04, 0.03, 0.2, 0.04, 0.0123, 0.9]
golden = dict(
    made_with=f"scipy {scipy.__version__}, statsmodels {statsmodels.__version__}, numpy {np.__version__}",
    paired=[paired(n) for n in (2, 3, 4, 5)],
    paired_p=[dict(a=a, b=b, p=stats.ttest_rel(a, b).pvalue) for a, b in
              ((draw(10, 1, 0.5), draw(10)), (draw(8, 0.01, 9), draw(8, 0.01)))],
    bootstrap=[bootstrap(draw(6), 1, 0.95), bootstrap(draw(10), 2, 0.95), bootstrap(draw(20), 3, 0.9)],
    **unused(draw(5), draw(8, 1, 0.7), draw(30, 1, 0.3), draw(60, 1, 0.2), rng.integers(-4, 6, 80)),
    mcnemar=[counts(*c) for c in ((10, 2), (0, 6), (5, 5), (1, 0), (37, 60), (812, 930), (3000, 3400), (700, 200))],
    sign_flips=[flips_exact(d) for d in (draw(3, 1, 2), draw(6, 1, 1), draw(12, 1, 0.3), [1.0, 1.0, -1.0, 2.0, 1.0, 1.0, 1.0])]
               + [flips_sampled(draw(17, 1, 0.5), 5), flips_sampled([float(v) for v in rng.choice([-1, 1, 2], 70, p=[.5, .4, .1])], 6)],
    holm=dict(p=p, adjusted=[float(v) for v in multipletests(p, method="holm")[1]]),
    anova=[grid([3], 4), grid([2, 3], 3), grid([4, 2], 5), grid([2, 3, 2], 3)],
    noise=[noise(3, 3), noise(5, 4)],
    blocks=[blocks(3, 3), blocks(5, 3), blocks(2, 8), blocks(6, 5)],
)
# ensure_ascii=False keeps × readable; numbers keep all their digits.
with open(sys.argv[1], "w", encoding="utf-8") as f:
    f.write("{\n" + ",\n".join(f'"{k}": {json.dumps(v, ensure_ascii=False, default=float)}' for k, v in golden.items()) + "\n}\n")
