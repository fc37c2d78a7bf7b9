"""Reads runs back with the trackers' own packages, for tests: prints {run: {metric: [[step, value], …]}} as JSON, values as text
that gives the same float64 again.

    check.py tensorboard FOLDER
    check.py trackio FOLDER PROJECT
    check.py mlflow URI EXPERIMENT
    check.py wandb FOLDER
"""

import json
import os
import sys


def tensorboard(root):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs = {}
    for folder, _, names in os.walk(root):
        if any(".tfevents." in name for name in names):
            events = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
            events.Reload()
            runs[os.path.relpath(folder, root)] = {
                tag: [[e.step, repr(float(e.value))] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
            }
    return runs


def trackio(folder, project):
    os.environ["TRACKIO_DIR"] = folder
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    runs = {}
    for run in trackio.Api().runs(project):
        curves = runs.setdefault(f"{run.name} {run.config['tandem_run']} {run.config.get('status')}", {})
        for row in SQLiteStorage.get_logs(project, run.name, run_id=run.id):
            for name, value in row.items():
                if name not in ("step", "timestamp"):
                    curves.setdefault(name, []).append([row["step"], repr(float(value))])
    return runs


def mlflow(uri, experiment):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    runs = {}
    found = client.get_experiment_by_name(experiment)
    for run in client.search_runs([found.experiment_id]):
        curves = {
            name: [[m.step, repr(float(m.value))] for m in client.get_metric_history(run.info.run_id, name)] for name in run.data.metrics
        }
        runs[f"{run.info.run_name} {run.data.tags['tandem.run']} {run.info.status}"] = curves
    return runs


print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
