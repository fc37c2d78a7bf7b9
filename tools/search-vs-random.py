#!/usr/bin/env python3
"""Is a search better than random points? Runs experiments/search.yaml and a random design over the same space, side by side,
once per repetition with other seeds, and compares what they find, paired by repetition. docs/ablations/search.md has its answer.

  tools/search-vs-random.py                     # 5 repetitions: 500 runs, under half an hour on two idle cores
  tools/search-vs-random.py -n 2 --trials 14 --steps 12    # a minute, to try it

Run again, it goes on. It needs bin/runner (make build) and nothing but Python's standard library."""
import argparse, json, math, os, re, sqlite3, statistics, subprocess, sys

T975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("-n", type=int, default=5, help="repetitions")
parser.add_argument("--first", type=int, default=0, help="number of the first repetition, and with it the seeds")
parser.add_argument("--trials", type=int, default=40, help="points of each")
parser.add_argument("--steps", type=int, default=0, help="training steps of a trial; 0: those of the experiment")
parser.add_argument("--out", default="results/search-vs-random", help="where specs and the database go")
parser.add_argument("--runner", default="bin/runner")
options = parser.parse_args()

root = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
os.chdir(root)
os.makedirs(options.out, exist_ok=True)
db = os.path.join(options.out, "results.db")
metric = re.search(r"^  metric: (\S+)", open("experiments/search.yaml").read(), re.M).group(1)
fresh = int(re.search(r"confirm: {seeds: (\d+)}", open("experiments/search.yaml").read()).group(1))


def write(name, ablate):
    """Writes the experiment under another name, with the lines of its block from `design` to `confirm` replaced."""
    text = open("experiments/search.yaml").read()
    text = text.replace("extends: [quickstart.yaml]", f"extends: [{root}/experiments/quickstart.yaml]").replace("name: search\n", f"name: {name}\n")
    if options.steps:
        text = re.sub(r"max_steps: \d+", f"max_steps: {options.steps}", text)
    text = ablate(text)
    path = os.path.join(options.out, name + ".yaml")
    with open(path, "w") as f:
        f.write(text)
    return path


def runner(*args, read=False):
    done = subprocess.run([options.runner, *args], stdout=subprocess.PIPE if read else subprocess.DEVNULL, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{options.runner} {' '.join(args)}: exit {done.returncode}; run this again, and it goes on")
    return done.stdout


def values(experiment, where):
    """Returns (variant, seed, value) of the done cells of an experiment, in their order."""
    with sqlite3.connect(db) as c:
        return c.execute(f"""SELECT c.variant, c.seed, m.value FROM v_cells c LEFT JOIN v_cell_metrics m
            ON m.experiment = c.experiment AND m.variant = c.variant AND m.seed = c.seed AND m.metric = ?
            WHERE c.experiment = ? AND c.planned AND {where} ORDER BY c.position""", (metric, experiment)).fetchall()


def head(design):
    return lambda text: re.sub(r"  design: search\n  budget: .*\n  confirm: .*\n", design, text)


def search(r):
    name = f"search-{r}"
    path = write(name, head(f"  design: search\n  budget: {{trials: {options.trials}}}\n  confirm: {{seeds: {fresh}}}\n  random_seed: {r}\n  seeds: [{100 + r}]\n"))
    runner("run", path, "--db", db, "-q")
    found = [v for _, _, v in values(name, "phase = 'search'")]
    return found, [v for _, _, v in values(name, "c.variant = 'winner'")]


def at_random(r):
    name = f"random-{r}"
    path = write(name, head(f"  design: random\n  trials: {options.trials}\n  random_seed: {r}\n  seeds: [{100 + r}]\n"))
    runner("run", path, "--db", db, "-q")
    rows = values(name, "c.variant LIKE 'random-%'")
    found = [v for _, _, v in rows]
    best = min((v for v in found if v is not None))
    variant = next(name for name, _, v in rows if v == best)
    trials = json.loads(runner("explain", path, "--trials", "--json", read=True))
    cell = next(c for t in trials for c in t["cells"] if c["variant"] == variant)
    block = {"design": "list", "baseline": {"point": "base"}, "list": [{"point": "best"}], "seeds": list(range(fresh)), "metric": metric,
             "factors": {"point": {"base": {}, "best": {o["key"]: o["value"] for o in cell["overrides"]}}}}
    name += "-best"
    path = write(name, lambda text: text[:text.index("ablate:")] + "ablate: " + json.dumps(block) + "\n")
    runner("run", path, "--db", db, "-q")
    return found, [v for _, _, v in values(name, "c.variant = 'point=best'")]


def best_of(found, n):
    return min(v for v in found[:n] if v is not None)


def paired(title, a, b):
    """Prints a, b, their difference, and the ratio of their geometric means, with 95 % intervals by Student's t."""
    d = [x - y for x, y in zip(a, b)]
    ratio = [math.exp(v) for v in interval([math.log(x / y) for x, y in zip(a, b)])]
    print(f"{title}: search {statistics.mean(a):.2f}, random {statistics.mean(b):.2f}, difference {span('+.2f', *interval(d))}, "
          f"ratio {span('.3f', *ratio)}; search is better in {sum(x < 0 for x in d)} of {len(d)}", flush=True)


def interval(d):
    """Returns the mean, and its 95 % interval where there is more than one."""
    mean = statistics.mean(d)
    if len(d) < 2:
        return [mean]
    half = T975.get(len(d) - 1, 1.96) * statistics.stdev(d) / math.sqrt(len(d))
    return [mean, mean - half, mean + half]


def span(form, mean, *ends):
    return format(mean, form) + (f" [{', '.join(format(v, form) for v in ends)}]" if ends else "")


print(f"{metric}, smaller is better; {options.trials} points, {options.n} repetitions; fresh: mean of the best point under {fresh} seeds\n")
print("| repetition | search: best | fresh | random: best | fresh |\n|---|---|---|---|---|", flush=True)
both = []
for r in range(options.first, options.first + options.n):
    (sf, sw), (rf, rw) = search(r), at_random(r)
    both.append((sf, statistics.mean(sw), rf, statistics.mean(rw)))
    print(f"| {r} | {best_of(sf, options.trials):.2f} | {both[-1][1]:.2f} | {best_of(rf, options.trials):.2f} | {both[-1][3]:.2f} |", flush=True)
print()
for n in [k for k in (10, 20, 30, 40) if k <= options.trials]:
    paired(f"best of {n} points", [best_of(x[0], n) for x in both], [best_of(x[2], n) for x in both])
paired("its mean under fresh seeds", [x[1] for x in both], [x[3] for x in both])
