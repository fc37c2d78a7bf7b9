"""The optimiser of a network in PyTorch, with the meaning that core/clip gives to its settings."""

import numpy as np
import torch

from . import blocks
from .fault import Fault

NAMES = ("adamw", "sgd", "lion")


class Trained:
    """Trains the parameters of a network. Parameters without a gradient count as having a gradient of zero."""

    def __init__(self, params, optimizer, freeze, place, is_embedding):
        """params are all parameters by name; place is that of blocks.place."""
        _check(optimizer)
        self.name, self.o = optimizer.name, optimizer
        self.all, self.where, self.count = params, *place
        self.frozen = self._freeze(freeze)
        for name, p in params.items():
            p.requires_grad_(name not in self.frozen)
        self.params = {n: p for n, p in params.items() if n not in self.frozen}
        self.scales, self.decays = self._rates(is_embedding)
        self.state = {slot: {n: torch.zeros_like(p) for n, p in self.params.items()} for slot in self._slots()}
        self.ema_decay = getattr(optimizer, "ema_decay", 0.0)
        self.average = None  # by name, from the first step on
        self.adamw = self._adamw() if self.name == "adamw" and self.params else None
        self.at = 0  # steps that adamw has counted

    def _slots(self):
        return {"adamw": ("m", "v"), "sgd": ("v",) if self.o.momentum else (), "lion": ("m",)}[self.name]

    def _freeze(self, f):
        if f is None:
            return set()
        out = set(self.all) if f.all else set()
        if f.HasField("blocks"):
            n = f.blocks
            if self.count == 0:
                raise Fault("invalid", "the network has no blocks to count", path="freeze.blocks",
                            hint="freeze: all, or freeze: {params: [a glob of parameter names]}")
            if abs(n) > self.count:
                raise Fault("invalid", f"{n}, but the number of blocks is {self.count}", path="freeze.blocks")
            n += self.count if n < 0 else 0
            out |= {k for k, w in self.where.items() if w == blocks.STEM or (w != blocks.HEAD and w < n)}
        for glob in f.params:
            out |= set(self._matching(glob, "freeze.params"))
        return out

    def _matching(self, glob, path):
        found = [n for n in self.all if blocks.matches(glob, n)]
        if not found:
            first = next(iter(self.all), "none")
            raise Fault("invalid", f'no parameter matches "{glob}"', path=path, hint=f"names are those of the module; the first is {first}")
        return found

    def _rates(self, is_embedding):
        """Returns the factor of the learning rate and the weight decay of each parameter."""
        o, groups = self.o, list(getattr(self.o, "groups", ()))
        member = {}
        for i, g in enumerate(groups):
            for glob in g.params:
                for name in self._matching(glob, f"optimizer.groups[{i}].params"):
                    member.setdefault(name, g)
        scales, decays = {}, {}
        decay = getattr(o, "layer_decay", 0.0)
        if decay not in (0, 1) and self.count == 0:
            raise Fault("invalid", "the network has no blocks to count", path="optimizer.layer_decay")
        for name, p in self.params.items():
            where = self.where[name]
            layer = 0 if where == blocks.STEM else self.count + 1 if where == blocks.HEAD else where + 1
            scales[name] = decay ** (self.count + 1 - layer) if decay not in (0, 1) else 1.0
            decays[name] = o.weight_decay if p.dim() >= 2 and (o.decay_embeddings or not is_embedding(name)) else 0.0
            g = member.get(name)
            if g is not None and g.HasField("lr_scale"):
                scales[name] *= g.lr_scale
            if g is not None and g.HasField("weight_decay"):
                decays[name] = g.weight_decay
        return scales, decays

    def _buckets(self):
        """Returns lists of parameters that share a rate and a decay."""
        out = {}
        for name in self.params:
            out.setdefault((self.scales[name], self.decays[name]), []).append(name)
        return out

    def _adamw(self):
        o = self.o
        groups = [{"params": [self.params[n] for n in names], "weight_decay": decay, "scale": scale} for (scale, decay), names in self._buckets().items()]
        first = next(iter(self.params.values()))
        try:
            opt = torch.optim.AdamW(groups, lr=0.0, betas=(o.beta1, o.beta2), eps=o.eps, fused=first.dtype == torch.float32)
        except (RuntimeError, TypeError, ValueError):
            opt = torch.optim.AdamW(groups, lr=0.0, betas=(o.beta1, o.beta2), eps=o.eps)
        for name, p in self.params.items():
            opt.state[p] = {"step": torch.zeros((), dtype=torch.float32, device=p.device), "exp_avg": self.state["m"][name], "exp_avg_sq": self.state["v"][name]}
        return opt

    def grad_norm(self):
        """Returns the sum of the squares of all gradients; it may be NaN or infinite."""
        grads = [p.grad for p in self.params.values() if p.grad is not None]
        if not grads:
            return 0.0
        norms = torch.stack([n.double() for n in torch._foreach_norm(grads)])
        return float((norms * norms).sum())

    @torch.no_grad()
    def step(self, step, lr, scale):
        """Takes one step; the gradients are none afterwards."""
        if step < 1:
            raise Fault("invalid", f"step {step}, want 1 or more")
        if not self.params:
            return
        for p in self.params.values():
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        if scale != 1:
            torch._foreach_mul_([p.grad for p in self.params.values()], scale)
        if self.adamw is not None:
            self._step_adamw(step, lr)
        else:
            self._step_others(lr)
        self.drop_gradients()
        self._step_average()

    def _step_adamw(self, step, lr):
        if self.at != step - 1:
            for s in self.adamw.state.values():
                s["step"].fill_(step - 1)
        for g in self.adamw.param_groups:
            g["lr"] = lr * g["scale"]
        self.adamw.step()
        self.at = step

    def _step_others(self, base):
        o = self.o
        for (scale, decay), names in self._buckets().items():
            lr = base * scale
            p, g = [self.params[n].data for n in names], [self.params[n].grad for n in names]
            if self.name == "sgd":
                v = g
                if decay:
                    torch._foreach_add_(v, p, alpha=decay)
                if o.momentum:
                    v = [self.state["v"][n] for n in names]
                    torch._foreach_mul_(v, o.momentum)
                    torch._foreach_add_(v, g)
                torch._foreach_add_(p, v, alpha=-lr)
                continue
            m = [self.state["m"][n] for n in names]
            update = torch._foreach_mul(m, o.beta1)
            torch._foreach_add_(update, g, alpha=1 - o.beta1)
            update = [u.sign_() for u in update]
            if decay:
                torch._foreach_mul_(p, 1 - lr * decay)
            torch._foreach_add_(p, update, alpha=-lr)
            torch._foreach_mul_(m, o.beta2)
            torch._foreach_add_(m, g, alpha=1 - o.beta2)

    def _step_average(self):
        if not self.ema_decay:
            return
        if self.average is None:
            self.average = {n: p.detach().clone() for n, p in self.params.items()}
            return
        names = list(self.params)
        torch._foreach_lerp_([self.average[n] for n in names], [self.params[n].data for n in names], 1 - self.ema_decay)

    def order(self):
        """Returns the number of elements of what is trained, by name, in the order in which a backward pass completes it: from
        the head to the stem."""
        rank = {blocks.STEM: -1, blocks.HEAD: self.count}
        names = sorted(reversed(self.params), key=lambda n: rank.get(self.where[n], self.where[n]), reverse=True)
        return {n: self.params[n].numel() for n in names}

    def read(self, name):
        """Returns the accumulated gradient of a parameter, f32 [n]."""
        p = self.params[name]
        if p.grad is None:
            return np.zeros(p.numel(), np.float32)
        return p.grad.detach().reshape(-1).float().cpu().numpy()

    @torch.no_grad()
    def write(self, name, values):
        """Sets the gradient of a parameter."""
        p = self.params[name]
        if p.grad is None:
            p.grad = torch.empty_like(p)
        p.grad.copy_(torch.from_numpy(values).view(p.shape))

    def drop_gradients(self):
        for p in self.params.values():
            p.grad = None

    def forget(self):
        """Starts anew: no state, no average, no gradients."""
        for by in self.state.values():
            for t in by.values():
                t.zero_()
        self.average = None
        self.at = -1  # whatever the next step is, adamw takes its number
        self.drop_gradients()

    def averaged(self):
        """Returns a context in which the parameters have their averages."""
        return _Averaged(self)


class _Averaged:
    def __init__(self, trained):
        if not trained.ema_decay:
            raise Fault("invalid", "this encoder keeps no averaged weights", hint="set train.ema_decay")
        self.pairs = [(trained.params[n], a) for n, a in (trained.average or {}).items()]

    def _swap(self):
        for p, a in self.pairs:
            p.data, a.data = a.data, p.data

    def __enter__(self):
        self._swap()

    def __exit__(self, *_):
        self._swap()


def _check(o):
    def bad(path, value, want):
        raise Fault("invalid", f"{value}, want {want}", path="optimizer." + path)

    if o.name not in NAMES:
        raise Fault("invalid", f'there is no optimizer "{o.name}"', path="optimizer.name", hint="choose one of " + ", ".join(NAMES))
    if not o.weight_decay >= 0:
        bad("weight_decay", o.weight_decay, "0 or more")
    for key in ("momentum",) if o.name == "sgd" else ("beta1", "beta2"):
        if not 0 <= getattr(o, key) < 1:
            bad(key, getattr(o, key), "a number in [0, 1)")
    if o.name == "adamw" and not o.eps > 0:
        bad("eps", o.eps, "more than 0")
