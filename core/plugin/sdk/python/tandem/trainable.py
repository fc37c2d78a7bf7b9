"""What encoders and losses share: gradient norm, step, save and load."""

import os

from . import protocol as pb
from .server import USING


class Trainable:
    """Serves the methods of clip.Trainable and clip.Bucketed. A subclass sets trained, buckets and checkpoint when it is
    configured."""

    def __init__(self, plugin, server):
        self.plugin, self.server = plugin, server
        self.trained = self.buckets = self.checkpoint = None
        self.base = 0

    def methods(self):
        m = self.server.method
        return {"GradNorm": m(USING, self.grad_norm), "Step": m(USING, self.step), "Save": m(USING, self.save), "Load": m(USING, self.load),
                "Gradients": self.server.beside(USING, self.gradients)}

    def grad_norm(self, q, context):
        return pb.GradNormResponse(sum_of_squares=self.trained.grad_norm())

    def step(self, q, context):
        if q.gradients:
            self.buckets.replace([self.server.window.array(t) for t in q.gradients])
        self.trained.step(q.step, q.lr, q.scale)
        self.buckets.stepped()
        return pb.Done()

    def gradients(self, q, context):
        r = pb.GradientsResponse()
        values = self.buckets.gradients(q.bucket, context)
        r.gradients.CopyFrom(self.server.window.answer("bucket of gradients", values, q.out if q.HasField("out") else None, pb.Tensor))
        return r

    def save(self, q, context):
        self.checkpoint.save(q.path)
        return pb.Done()

    def load(self, q, context):
        self.checkpoint.load(q.path)
        self.buckets.stepped()
        return pb.Done()


def base_bytes():
    """Returns the memory that the program takes by itself, without what it shares with others."""
    try:
        with open("/proc/self/statm") as f:
            _, resident, shared = f.read().split()[:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
