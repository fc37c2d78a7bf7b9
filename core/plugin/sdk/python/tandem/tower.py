"""An author's network in PyTorch: device, modes, randomness, and the autograd graphs that wait for their gradients."""

import contextlib
import random

import numpy as np
import torch

from . import blocks, plugins
from .fault import Fault
from .stream import Stream
from .training import Trained

EVAL, TRAIN, EMBED, RAW = range(4)


def seed_all(seed, purpose, *at):
    """Seeds every generator that a network may use: the same numbers, the same bits."""
    s = Stream(seed, purpose, *at).uint64()
    torch.manual_seed(s & (1 << 63) - 1)
    np.random.seed(s & 0xFFFFFFFF)
    random.seed(s)


def device_of(compute):
    """Returns the device that a configuration asks for."""
    name = compute.device
    if name in ("", "auto"):
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name in ("cpu", "host"):
        return torch.device("cpu")
    try:
        d = torch.device(name)
    except RuntimeError:
        raise Fault("invalid", f'there is no device "{name}"', path="device", hint="auto, cpu or cuda:0") from None
    if d.type == "cuda":
        n = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (d.index or 0) >= n:
            raise Fault("unavailable", f"PyTorch {torch.__version__} sees {n} GPUs, want {name}", path="device",
                        hint="take device: cpu, or install a PyTorch that is built for this machine's driver")
    return d


def prepare(compute, device):
    """Sets up PyTorch for a configuration: threads, precision, determinism."""
    torch.set_num_threads(max(1, compute.threads))
    tf32 = compute.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        if compute.memory_limit:
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, compute.memory_limit / total), device)


class Tower:
    """A configured encoder."""

    def __init__(self, plugin, config, q):
        self.plugin, self.config, self.dim = plugin, config, q.embed_dim
        self.modality = plugin.modality or q.modality
        if self.modality not in ("image", "text"):
            raise Fault("invalid", f'modality is "{self.modality}", want image or text')
        if q.embed_dim < 1:
            raise Fault("invalid", f"{q.embed_dim}, want at least 1", path="embed_dim")
        if q.compute.threads < 1:
            raise Fault("invalid", f"{q.compute.threads}, want at least 1", path="compute.threads")
        if q.compute.precision not in ("", "f32", "tf32", "bf16", "bf16-emulated"):
            raise Fault("invalid", f'there is no precision "{q.compute.precision}"', path="compute.precision")
        self.device = device_of(q.compute)
        prepare(q.compute, self.device)
        self.bf16 = q.compute.precision in ("bf16", "bf16-emulated")
        self.seed = q.seed
        seed_all(q.seed, "init")
        more = {"captions": list(q.captions)} if plugin.vocabulary else {}
        if plugin.modality is None:
            more["modality"] = self.modality
        self.model = plugin.build(config, q.embed_dim, **more)
        if not isinstance(self.model, torch.nn.Module):
            raise Fault("internal", f"build returned {type(self.model).__name__}, want a torch.nn.Module", hint="this is a bug in the plugin")
        self.model.to(self.device)
        if q.compute.checkpointing and hasattr(self.model, "set_grad_checkpointing"):
            self.model.set_grad_checkpointing(True)
        # Blocks that are computed again may accumulate several times in one pass: gradients are then complete at its end.
        self.checkpointed = q.compute.checkpointing
        self.buckets = self.hooked = None  # buckets: the service's
        self.params = dict(self.model.named_parameters())
        self.trained = Trained(self.params, q.optimizer, q.freeze if q.HasField("freeze") else None, self._place(), self._is_embedding)
        self.model.eval()
        self.fixed_norms = self._frozen_norms()
        self.image_size = int(self.attribute("image_size", 0) or 0)
        if self.modality == "image":
            self._set_pixels()
        self.tickets, self.last = {}, 0
        self.work = 0.0
        self.flops = self._probe()

    def attribute(self, name, default=None):
        """Returns what the author gave to Encoder, as a value or a function of the config, or the module's attribute."""
        v = self.plugin.given.get(name)
        if v is None:
            v = getattr(self.model, name, default)
        elif callable(v):
            v = v(self.config)
        return v

    def _set_pixels(self):
        if self.image_size < 1:
            raise Fault("internal", "the side of the pictures is not known", hint="give image_size to tandem.Encoder, or set it on the module")
        shape = (1, 3, 1, 1)
        mean, std = self.attribute("mean") or plugins.CLIP_MEAN, self.attribute("std") or plugins.CLIP_STD
        self.mean = torch.tensor(mean, dtype=torch.float32, device=self.device).view(shape)
        self.std = torch.tensor(std, dtype=torch.float32, device=self.device).view(shape)

    def _place(self):
        sizes = {n: p.numel() for n, p in self.params.items()}
        block = self.plugin.block or getattr(self.model, "block", None)
        if not callable(block):
            return blocks.place(sizes)
        where = {n: block(n) for n in sizes}
        return where, 1 + max((w for w in where.values() if isinstance(w, int)), default=-1)

    def _is_embedding(self, name):
        own = self.plugin.embedding or getattr(self.model, "is_embedding", None)
        if callable(own):
            return own(name)
        listed = getattr(self.model, "no_weight_decay", None)  # timm's
        return blocks.is_embedding(name) or (callable(listed) and name in listed())

    def _frozen_norms(self):
        """Returns the batch normalisations whose parameters are all frozen: they keep their running statistics."""
        out, frozen = [], self.trained.frozen
        for name, m in self.model.named_modules():
            own = [n for n in self.params if n.rpartition(".")[0] == name]
            if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and own and all(n in frozen for n in own):
                out.append(m)
        return out

    def _probe(self):
        """Runs one sample to see that the network gives what it must; returns its floating-point operations."""
        from torch.utils.flop_counter import FlopCounterMode

        x = self.images(np.zeros((1, self.image_size, self.image_size, 3), np.uint8)) if self.modality == "image" else self.texts(["a"])
        counter = FlopCounterMode(display=False)
        seed_all(self.seed, "probe")
        # The counter's hooks fail on a module that gets a view of a parameter as its input while no gradients are computed.
        trained = [p for p in self.params.values() if p.requires_grad]
        for p in trained:
            p.requires_grad_(False)
        with torch.no_grad(), counter:
            out = self._call(x)
        for p in trained:
            p.requires_grad_(True)
        self._check(out, 1)
        self.tokens_seen = None
        return float(counter.get_total_flops())

    def _check(self, out, n):
        if not isinstance(out, torch.Tensor) or tuple(out.shape) != (n, self.dim):
            got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
            raise Fault("internal", f"the network gives {got}, want ({n}, {self.dim})", hint="forward returns [B, embed_dim]; this is a bug in the plugin")

    def images(self, pixels):
        """Returns pictures, u8 [B, S, S, 3], as the network takes them."""
        s = self.image_size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (s, s, 3) or len(pixels) < 1:
            raise Fault("invalid", f"pictures are {pixels.dtype} {list(pixels.shape)}, want uint8 [B, {s}, {s}, 3]")
        x = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return x.div_(255).sub_(self.mean).div_(self.std)

    def texts(self, texts):
        """Returns texts as the network takes them."""
        tokenize = self.plugin.tokenize or getattr(self.model, "tokenize", None)
        if tokenize is None:
            raise Fault("internal", "there is no tokenizer", hint="give tokenize to tandem.Encoder, or define it in the module")
        return _to(tokenize(list(texts)), self.device)

    def _call(self, x, method=None):
        f = method or self.model
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            if hasattr(x, "keys"):
                return f(**x)
            return f(*x) if isinstance(x, tuple) else f(x)

    def forward(self, x, n, mode, step, micro, ema=False, tokens=False):
        """Returns the embeddings f32 [B, D] (with tokens: also their tokens and lengths), and a ticket or 0."""
        training = mode in (TRAIN, EMBED) and bool(self.trained.params)
        keep = mode == TRAIN and training
        if ema and mode not in (EVAL, RAW):
            raise Fault("invalid", "averaged weights serve evaluations alone")
        self.model.train(training)
        for m in self.fixed_norms:
            m.eval()
        seed_all(self.seed, "forward", *((step, micro) if training else ()))
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(keep))
            if ema:
                stack.enter_context(self.trained.averaged())
            if mode == EMBED:
                stack.enter_context(_KeepBuffers(self.model))
            out = self._call(x, self.model.forward_tokens if tokens else None)
            rows, lengths = None, None
            if tokens:
                out, rows, lengths = (*out, None)[:3]
            self._check(out, n)
            z = out.float()
            if mode != RAW:
                z = torch.nn.functional.normalize(z, dim=-1)
            if tokens:
                rows, lengths = _finish_tokens(rows, lengths, n, self.dim)
        self.model.eval()
        host = z.detach().cpu().numpy()
        if not np.isfinite(host).all():
            at = int(np.argwhere(~np.isfinite(host))[0][0])
            raise Fault("numeric", f"the {self.modality} embedding of sample {at} of {n} is not finite",
                        hint="a learning rate that is too high is the usual cause; lower train.lr or set train.max_grad_norm")
        self.work += self.flops * n
        ticket = 0
        if keep and z.requires_grad:
            self.last += 1
            ticket = self.last
            self.tickets[ticket] = (z, rows)
            if self.buckets:
                self.buckets.opened()
        if not tokens:
            return host, ticket
        return host, rows.detach().cpu().numpy(), lengths.cpu().numpy().astype(np.int32), ticket

    def backward(self, ticket, grad, token_grad=None, last=False):
        """Adds the gradients of the parameters to those accumulated, and closes the ticket. The last pass before a step
        completes buckets while it goes on."""
        try:
            self._backward(ticket, grad, token_grad, last)
        finally:  # after an error too: who waits for gradients learns of it from this call
            if last:
                self.buckets.end()

    def _backward(self, ticket, grad, token_grad, last):
        if ticket not in self.tickets:
            raise Fault("conflict", f"ticket {ticket} is unknown or used")
        z, rows = self.tickets[ticket]
        outs, grads = [z], [grad]
        if token_grad is not None:
            outs, grads = [z, rows], [grad, token_grad]
        for t, g in zip(outs, grads):
            if t is None or g.dtype != np.float32 or g.shape != tuple(t.shape):
                raise Fault("invalid", f"the gradient is {g.dtype} {list(g.shape)}, want float32 {list(t.shape) if t is not None else None}")
        del self.tickets[ticket]
        if last:
            self._watch()
        if self.buckets:
            self.buckets.closed()
        torch.autograd.backward(outs, [torch.from_numpy(g.copy()).to(self.device) for g in grads])
        self.work += 2 * self.flops * len(z)

    def _watch(self):
        """Lets the backward pass that follows tell which gradients are complete."""
        if self.hooked is None:
            self.hooked = []
            for name, p in self.trained.params.items():
                hook = getattr(p, "register_post_accumulate_grad_hook", None)  # PyTorch 2.1
                if hook is not None and not self.checkpointed:
                    hook(lambda _, name=name: self.buckets.complete(name))
                    self.hooked.append(name)
        self.buckets.begin(self.trained.params)


def _to(x, device):
    if isinstance(x, torch.Tensor):
        return x.to(device)
    if hasattr(x, "keys"):
        return {k: _to(x[k], device) for k in x.keys()}
    if isinstance(x, tuple):
        return tuple(_to(v, device) for v in x)
    if isinstance(x, (list, np.ndarray)):
        return torch.as_tensor(np.asarray(x)).to(device)
    return x


def _finish_tokens(rows, lengths, n, dim):
    """Returns tokens with rows of unit norm, zero beyond each length."""
    if rows.dim() != 3 or rows.shape[0] != n or rows.shape[2] != dim:
        raise Fault("internal", f"forward_tokens gives tokens {tuple(rows.shape)}, want ({n}, T, {dim})", hint="this is a bug in the plugin")
    rows = torch.nn.functional.normalize(rows.float(), dim=-1)
    if lengths is None:
        return rows, torch.full((n,), rows.shape[1])
    lengths = torch.as_tensor(lengths, device=rows.device)
    inside = torch.arange(rows.shape[1], device=rows.device)[None, :] < lengths[:, None]
    return rows * inside[..., None], lengths


class _KeepBuffers:
    """Puts the buffers of a network back: running statistics change in training alone."""

    def __init__(self, model):
        self.buffers = [(b, b.detach().clone()) for b in model.buffers()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with torch.no_grad():
            for b, old in self.buffers:
                b.copy_(old)
