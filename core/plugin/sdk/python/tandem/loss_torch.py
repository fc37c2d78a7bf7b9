"""A loss that autograd differentiates."""

from types import SimpleNamespace

import numpy as np
import torch

from .fault import Fault
from .tower import device_of, seed_all
from .training import Trained


class Engine:
    """Computes an author's loss in PyTorch."""

    def __init__(self, plugin, config, q, initial):
        self.plugin, self.config = plugin, config
        torch.set_num_threads(max(1, q.compute.threads))
        self.device = device_of(q.compute)
        seed_all(q.seed, "init")
        self.params = {n: torch.nn.Parameter(torch.from_numpy(a).to(self.device)) for n, a in initial.items()}
        self.trained = Trained(self.params, q.optimizer, None, ({n: "stem" for n in self.params}, 0), lambda name: False)
        self.backend = f"torch {torch.__version__} ({self.device})"

    def compute(self, x, differentiable, train):
        tensors = {n: torch.from_numpy(np.array(a)).to(self.device) for n, a in x.items()}
        for name in differentiable if train else ():
            tensors[name].requires_grad_(True)
        with torch.set_grad_enabled(train):
            out = self.plugin.compute(SimpleNamespace(**tensors), SimpleNamespace(**self.params), self.config)
        value, parts, scalars = (*out, {}, {})[:3] if isinstance(out, tuple) else (out, {}, {})
        if not isinstance(value, torch.Tensor) or value.dim() != 0:
            raise Fault("internal", f"compute returned {tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__}, want a scalar tensor",
                        hint="return value, or value and parts, or value, parts and scalars; this is a bug in the plugin")
        gradients = {}
        if train and torch.isfinite(value):
            value.backward()
            for name in differentiable:
                g = tensors[name].grad
                gradients[name] = (torch.zeros_like(tensors[name]) if g is None else g).cpu().numpy()
        host = {n: _host(v) for n, v in parts.items()}
        scalars = {n: _host(v) for n, v in scalars.items()} or {n: _host(p) for n, p in self.params.items() if p.numel() == 1}
        return float(value.detach()), gradients, host, scalars

    def arrays(self):
        return {n: p.detach().cpu().numpy() for n, p in self.params.items()}

    def slots(self):
        return {f"optim.{slot}.{n}": t.cpu().numpy() for slot, by in self.trained.state.items() for n, t in by.items()}

    def restore(self, arrays):
        self.trained.forget()
        live = {**self.params, **{f"optim.{slot}.{n}": t for slot, by in self.trained.state.items() for n, t in by.items()}}
        with torch.no_grad():
            for n, a in arrays.items():
                live[n].copy_(torch.from_numpy(a))


def _host(v):
    return v.detach().float().cpu().numpy() if isinstance(v, torch.Tensor) else v
