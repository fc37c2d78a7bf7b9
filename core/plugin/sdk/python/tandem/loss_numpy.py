"""A loss that its author differentiates by hand, with numpy."""

from types import SimpleNamespace

import numpy as np

from .fault import Fault


class Engine:
    """Computes an author's loss with numpy."""

    def __init__(self, plugin, config, q, initial):
        self.plugin, self.config, self.params = plugin, config, initial
        self.trained = Trained(initial, q.optimizer)
        self.backend = "numpy " + np.__version__

    def compute(self, x, differentiable, train):
        x = {n: a.view() for n, a in x.items()}
        for a in x.values():
            a.flags.writeable = False  # they are the runner's
        out = self.plugin.compute(SimpleNamespace(**x), SimpleNamespace(**{n: _value(a) for n, a in self.params.items()}), self.config)
        if not isinstance(out, tuple) or len(out) < 2 or not isinstance(out[1], dict):
            raise Fault("internal", f"compute returned {type(out).__name__}, want value and gradients", hint="this is a bug in the plugin")
        value, gradients, parts, scalars = (*out, {}, {})[:4] if len(out) < 4 else out[:4]
        if train and np.isfinite(value):
            self.trained.add(gradients)
        scalars = scalars or {n: a for n, a in self.params.items() if a.size == 1}
        return float(value), gradients, parts, scalars

    def arrays(self):
        return dict(self.params)

    def slots(self):
        return {f"optim.{slot}.{n}": a for slot, by in self.trained.state.items() for n, a in by.items()}

    def restore(self, arrays):
        self.trained.forget()
        live = {**self.params, **self.slots()}
        for n, a in arrays.items():
            live[n][...] = a


def _value(a):
    return float(a) if a.ndim == 0 else a.copy()


class Trained:
    """The optimisers of core/engine/optim over a few arrays of f32; it computes in double precision."""

    def __init__(self, params, o):
        if o.name not in ("adamw", "sgd", "lion"):
            raise Fault("invalid", f'there is no optimizer "{o.name}"', path="optimizer.name", hint="choose one of adamw, sgd, lion")
        self.params, self.o = params, o
        slots = {"adamw": ("m", "v"), "sgd": ("v",), "lion": ("m",)}[o.name]
        self.state = {s: {n: np.zeros_like(a) for n, a in params.items()} for s in slots}
        self.grads = {}

    def add(self, gradients):
        for n, a in self.params.items():
            if n not in gradients:
                raise Fault("internal", f"compute returned no gradient of the parameter {n}", hint="this is a bug in the plugin")
            g = np.asarray(gradients[n], np.float64)
            if g.shape != a.shape:
                raise Fault("internal", f"the gradient of {n} is {list(g.shape)}, want {list(a.shape)}", hint="this is a bug in the plugin")
            self.grads[n] = self.grads.get(n, 0) + g

    def order(self):
        return {n: a.size for n, a in self.params.items()}

    def read(self, name):
        return np.broadcast_to(np.asarray(self.grads.get(name, 0.0), np.float32), self.params[name].shape).reshape(-1)

    def write(self, name, values):
        self.grads[name] = values.astype(np.float64).reshape(self.params[name].shape)

    def grad_norm(self):
        return float(sum(np.sum(np.square(g)) for g in self.grads.values()))

    def forget(self):
        self.grads = {}
        for by in self.state.values():
            for a in by.values():
                a[...] = 0

    def step(self, step, lr, scale):
        if step < 1:
            raise Fault("invalid", f"step {step}, want 1 or more")
        o = self.o
        for n, p in self.params.items():
            x = p.astype(np.float64)
            g = self.grads.get(n, np.zeros_like(x)) * scale
            decay = o.weight_decay if p.ndim >= 2 else 0.0
            slot = {s: by[n].astype(np.float64) for s, by in self.state.items()}
            if o.name == "adamw":
                slot["m"] = o.beta1 * slot["m"] + (1 - o.beta1) * g
                slot["v"] = o.beta2 * slot["v"] + (1 - o.beta2) * g * g
                m, v = slot["m"] / (1 - o.beta1**step), slot["v"] / (1 - o.beta2**step)
                x -= lr * (decay * x + m / (np.sqrt(v) + o.eps))
            elif o.name == "sgd":
                slot["v"] = o.momentum * slot["v"] + g + decay * x
                x -= lr * slot["v"]
            else:
                x -= lr * (np.sign(o.beta1 * slot["m"] + (1 - o.beta1) * g) + decay * x)
                slot["m"] = o.beta2 * slot["m"] + (1 - o.beta2) * g
            p[...] = x
            for s, a in slot.items():
                self.state[s][n][...] = a
        self.grads = {}
