"""Records what a network computes, layer by layer, while somebody profiles it."""

import contextlib
import time

import torch


class Recorder:
    """Notes the time of every leaf module's forward, and of each backward pass as a whole."""

    def __init__(self, tower):
        self.tower, self.events, self.hooks, self.started = tower, [], [], {}
        for name, m in tower.model.named_modules():
            if next(m.children(), None) is None:
                self.hooks.append(m.register_forward_pre_hook(lambda mod, _: self.started.__setitem__(mod, self._now())))
                self.hooks.append(m.register_forward_hook(lambda mod, a, out, name=name: self._note(mod, a, out, name)))

    def _now(self):
        if self.tower.device.type == "cuda":
            torch.cuda.synchronize(self.tower.device)
        return time.monotonic_ns()

    def _note(self, module, args, out, name):
        start = self.started.pop(module, None)
        if start is None:
            return
        flops = 0.0
        weight = getattr(module, "weight", None)
        if isinstance(out, torch.Tensor) and isinstance(weight, torch.Tensor) and weight.dim() >= 2 and not isinstance(module, torch.nn.Embedding):
            flops = 2.0 * out.numel() * weight[0].numel()
        self.events.append((type(module).__name__.lower(), name, False, flops, start, self._now() - start))

    @contextlib.contextmanager
    def span(self, op, backward):
        """Notes a whole pass; of a forward pass only what its layers are."""
        start = self._now()
        yield
        if backward:
            self.events.append(("autograd", "", True, 2 * self.tower.flops, start, self._now() - start))

    def drain(self, response):
        """Moves the events to a ProfileResponse."""
        names = {}
        for op, scope, backward, flops, start, took in sorted(self.events, key=lambda e: e[4]):
            response.events.add(op=names.setdefault(op, len(names)), scope=names.setdefault(scope, len(names)), backward=backward,
                                flops=flops, start_nanos=start, duration_nanos=took)
        response.names.extend(names)
        self.events = []

    def close(self):
        for h in self.hooks:
            h.remove()
