#!/usr/bin/env python3
from dataclasses import dataclass

from faulty import PIXELS, SIDE, Fault, Plugin, Service, os, process, random, safetensors, tandem, threading, time


@dataclass
class Config:
    fault: str = tandem.field("", help="the rule that it breaks")


class Linear(Service):
    """A product W [12, D] with the values of pictures of 2×2."""

    names = ["Configure", "Forward", "Backward", "Discard", "GradNorm", "Step", "Gradients", "Save", "Load", "Close"]

    def Configure(self, q, context):
        import numpy as np
        from tandem import protocol as pb

        self.options(q)
        if self.fault != "any configuration" and (q.embed_dim < 1 or q.optimizer.name not in ("sgd", "adamw")):
            raise Fault("invalid", f"embed_dim {q.embed_dim}, optimizer {q.optimizer.name}")
        self.d, self.tickets, self.last, self.calls = q.embed_dim, {}, 0, 0
        self.momentum, self.frozen = q.optimizer.name == "adamw", q.freeze.all
        self.w = np.random.default_rng(0 if self.fault == "ignores the seed" else q.seed).normal(size=(PIXELS, self.d)).astype(np.float32)
        self.g, self.m = np.zeros_like(self.w), np.zeros_like(self.w)
        parameters = self.w.size * (3 if self.fault == "too many parameters" else 1)
        self.changed, self.waiting = threading.Condition(), False
        return pb.EncoderInfo(modality="image", embed_dim=self.d, image_size=SIDE, backend="numpy", parameters=parameters, frozen=parameters if self.frozen else 0,
                              bucket_sizes=[] if self.frozen else [parameters])

    def Forward(self, q, context):
        import numpy as np
        from tandem import protocol as pb

        self.calls += 1
        images = self.window.array(q.images) if q.HasField("images") else None
        if images is None or images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
            if self.fault != "any shape":
                raise Fault("invalid", "want pictures of 2×2")
            images = np.zeros((2, SIDE, SIDE, 3), np.uint8)
        b = len(images)
        x = images.reshape(b, PIXELS).astype(np.float32) / 255 - 0.5
        if self.fault == "deaf":
            time.sleep(b * 0.008)
        elif self.fault == "exits":
            os._exit(0)
        elif self.fault == "writes its input":
            images[0, 0, 0, 0] ^= 1
        elif self.fault == "neighbours":
            x[0, 0] += x[-1, 0]
        elif self.fault == "place":
            x[1, 0] += 0.1
        elif self.fault == "embeds otherwise" and q.mode == pb.messages["ForwardRequest"].DESCRIPTOR.fields_by_name["mode"].enum_type.values_by_name["EMBED"].number:
            x[0, 0] += 0.1
        elif self.fault == "random":
            x[0, 0] += self.calls
        elif self.fault == "random in evaluation" and q.mode == 0:
            x[0, 0] += random.random()
        y = np.stack([row @ self.w for row in x])  # row by row: the place in the batch changes no bit
        norms = np.sqrt((y.astype(np.float64) ** 2).sum(1, keepdims=True)).astype(np.float32)
        out = y / (norms * np.float32(1.01 if self.fault == "long rows" else 1))
        if self.fault == "wrong shape":
            out = out[1:]
        elif self.fault == "wrong dtype":
            out = out.astype(np.int32)
        elif self.fault == "NaN":
            out[0, 1] = np.nan
        r = pb.ForwardResponse()
        r.embedding.CopyFrom(self.window.answer("embedding", out, q.out if q.HasField("out") else None, pb.Tensor))
        if q.mode == 1 and self.fault != "no ticket" and (not self.frozen or self.fault == "tickets though frozen"):
            self.last += 1
            self.tickets[self.last] = x, y
            r.ticket = self.last
            self.wait_for_backward(True)
        return r

    def Backward(self, q, context):
        import numpy as np
        from tandem import protocol as pb

        if q.ticket not in self.tickets:
            raise Fault("conflict", f"ticket {q.ticket}")
        x, y = self.tickets[q.ticket]
        grad = self.window.array(q.grad)
        if grad.shape != y.shape:
            raise Fault("invalid", f"gradient {grad.shape}")
        if self.fault != "reuses tickets":
            del self.tickets[q.ticket]
        if self.fault == "overwrites gradients":
            self.g[:] = 0
        norms = np.sqrt((y.astype(np.float64) ** 2).sum(1, keepdims=True))
        along = (y * grad).sum(1, keepdims=True, dtype=np.float64) / norms**2 * (self.fault != "no gradient of the norm")
        dy = (grad - along * y) / norms * {"wrong sign": -1, "scaled gradient": 1.05}.get(self.fault, 1)
        self.g += x.T @ dy.astype(np.float32)
        if q.last or not self.tickets:
            self.wait_for_backward(False)
        return pb.Done()

    def wait_for_backward(self, waiting):
        with self.changed:
            self.waiting = waiting
            self.changed.notify_all()

    def Gradients(self, q, context):
        with self.changed:
            while self.waiting and self.fault != "early bucket" and context.is_active():
                self.changed.wait(0.05)
        return self.read_bucket(q, self.g)

    def Discard(self, q, context):
        from tandem import protocol as pb

        self.tickets.pop(q.ticket, None)
        if not self.tickets:
            self.wait_for_backward(False)
        return pb.Done()

    def GradNorm(self, q, context):
        from tandem import protocol as pb

        n = float((self.g.astype(float) ** 2).sum())
        if self.fault == "root of GradNorm":
            n **= 0.5
        return pb.GradNormResponse(sum_of_squares=0 if self.fault == "hides NaN" and n != n else n)

    def Step(self, q, context):
        from tandem import protocol as pb

        g = self.write_bucket(q, self.g) * (1 if self.fault == "ignores scale" else q.scale)
        if self.momentum:
            self.m = g = (0.9 * self.m + g).astype("f4")
        self.w -= (q.lr * g).astype("f4")
        if self.fault != "keeps gradients":
            self.g[:] = 0
        return pb.Done()

    def Save(self, q, context):
        from tandem import protocol as pb

        if self.fault == "no safetensors":
            with open(q.path, "wb") as f:
                f.write(self.w.tobytes())
        else:
            safetensors.write(q.path, {"w": self.w, "m": self.m * (self.fault != "forgets momentum")}, {})
        return pb.Done()

    def Load(self, q, context):
        from tandem import protocol as pb

        def half():
            self.w[0] = 0

        tensors = self.load(q.path, half)
        if tensors is not None:
            self.w, self.m = tensors["w"], tensors["m"]
        return pb.Done()


process.serve(Plugin("encoder", Linear, Config, modality="image", capabilities=["freeze", "buckets"]))
