"""The service Encoder. torch is imported when the encoder is configured."""

from . import config as _config
from . import protocol as pb
from .buckets import Buckets
from .fault import Fault
from .server import CLOSING, CONFIGURING, PLANNING, USING, Unimplemented
from .trainable import Trainable, base_bytes


class Service(Trainable):
    """Serves an encoder in PyTorch."""

    def __init__(self, plugin, server):
        super().__init__(plugin, server)
        self.tower = self.recorder = None

    def methods(self):
        m = self.server.method
        out = {"Configure": m(CONFIGURING, self.configure), "Forward": m(USING, self.forward), "Backward": m(USING, self.backward),
               "Discard": m(USING, self.discard), "Close": m(CLOSING, self.close), **super().methods()}
        before, after = m(PLANNING, self.count_tokens), m(USING, self.count_tokens)
        if self.plugin.modality != "image":
            out["CountTokens"] = lambda q, c: (before if q.HasField("config") else after)(q, c)
        return out

    def inspection(self):
        m = self.server.method
        return {"Memory": m(USING, self.memory), "Profile": m(USING, self.profile)}

    def configure(self, q, context):
        values = _config.decode(self.plugin.config, getattr(q, "with"))
        import torch

        from .checkpoint import Checkpoint
        from .tower import Tower

        base = base_bytes()
        t = Tower(self.plugin, values, q)
        self.tower, self.trained, self.base = t, t.trained, base
        self.checkpoint = Checkpoint(t)
        self.buckets = t.buckets = Buckets(t.trained, t.trained.order())
        text = t.modality == "text"
        count = {n: p.numel() for n, p in t.params.items()}
        where = torch.cuda.get_device_name(t.device) if t.device.type == "cuda" else f"{torch.get_num_threads()} threads"
        return pb.EncoderInfo(
            modality=t.modality, embed_dim=t.dim, parameters=sum(count.values()),
            frozen=sum(count[n] for n in t.trained.frozen), image_size=0 if text else t.image_size,
            context_length=int(t.attribute("context_length", 0) or 0) if text else 0,
            vocab_size=int(t.attribute("vocab_size", 0) or 0) if text else 0,
            token_count=int(t.attribute("token_count", 0) or 0) if "tokens" in self.plugin.outputs else 0,
            bucket_sizes=self.buckets.sizes, flops=t.flops, backend=f"torch {torch.__version__} ({where})")

    def forward(self, q, context):
        t = self.tower
        if q.HasField("images") == bool(q.texts):
            raise Fault("invalid", "forward wants images or texts, one of the two")
        if bool(q.texts) != (t.modality == "text"):
            raise Fault("invalid", f"this encoder reads {t.modality}s")
        if not 0 <= q.mode <= 3:
            raise Fault("invalid", f"mode {q.mode} is unknown")
        if q.texts:
            n, x = len(q.texts), t.texts(q.texts)
        else:
            pixels = self.server.window.array(q.images)
            n, x = len(pixels), t.images(pixels)
        work = t.work
        with self.recorded("forward"):
            out = t.forward(x, n, q.mode, q.step, q.micro, ema=q.weights == 1, tokens=q.tokens)
        answer = self.server.window.answer
        r = pb.ForwardResponse(ticket=out[-1], work=t.work - work)
        r.embedding.CopyFrom(answer("embedding", out[0], q.out if q.HasField("out") else None, pb.Tensor))
        if q.tokens:
            r.tokens.CopyFrom(answer("tokens", out[1], q.out_tokens if q.HasField("out_tokens") else None, pb.Tensor))
            r.lengths.CopyFrom(answer("lengths", out[2], q.out_lengths if q.HasField("out_lengths") else None, pb.Tensor))
        return r

    def backward(self, q, context):
        if not q.HasField("grad"):
            raise Fault("invalid", "the request lacks the gradient")
        array, t = self.server.window.array, self.tower
        work = t.work
        with self.recorded("backward", backward=True):
            t.backward(q.ticket, array(q.grad), array(q.grad_tokens) if q.HasField("grad_tokens") else None, q.last)
        r = pb.Done(work=t.work - work)
        if q.grad_norm:
            r.sum_of_squares = self.trained.grad_norm()
        return r

    def discard(self, q, context):
        if self.tower.tickets.pop(q.ticket, None) is not None:
            self.buckets.closed()
        return pb.Done()

    def count_tokens(self, q, context):
        values = None
        if q.HasField("config"):
            values = _config.decode(self.plugin.config, getattr(q.config, "with"))
        count = self.plugin.count_tokens or getattr(self.tower.model if self.tower else None, "count_tokens", None)
        if count is None:
            raise Unimplemented("this encoder does not count tokens")
        limit = self.plugin.given["context_length"]
        if limit is None and self.tower:
            limit = self.tower.attribute("context_length", 0)
        if callable(limit):
            limit = limit(values if values is not None else self.tower.config)
        return pb.CountTokensResponse(tokens=[int(n) for n in count(list(q.texts))], limit=int(limit or 0))

    def close(self, q, context):
        self.tower = self.trained = self.buckets = None
        return pb.Done()

    # Inspection.

    def memory(self, q, context):
        t, tr = self.tower, self.trained

        def size(tensors):
            return sum(x.numel() * x.element_size() for x in tensors)

        parts = {"parameters": size(t.params.values()), "buffers": size(t.model.buffers()),
                 "gradients": size(p.grad for p in t.params.values() if p.grad is not None),
                 "optimizer": sum(size(by.values()) for by in tr.state.values()), "average": size((tr.average or {}).values())}
        if t.device.type == "cuda":
            import torch

            held = torch.cuda.memory_reserved(t.device)
            parts["activations"] = max(0, held - sum(parts.values()))
        r = pb.MemoryResponse(base_bytes=self.base)
        for name, n in parts.items():
            r.parts.add(name=name, bytes=n)
        return r

    def recorded(self, op, backward=False):
        from contextlib import nullcontext

        return self.recorder.span(op, backward) if self.recorder else nullcontext()

    def profile(self, q, context):
        from .recorder import Recorder

        r = pb.ProfileResponse()
        if self.recorder:
            self.recorder.drain(r)
        if q.on and not self.recorder:
            self.recorder = Recorder(self.tower)
        elif not q.on and self.recorder:
            self.recorder.close()
            self.recorder = None
        return r
