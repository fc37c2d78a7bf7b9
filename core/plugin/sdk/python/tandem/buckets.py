"""Gradients in buckets, for training on several ranks."""

import threading

import numpy as np

from .fault import Fault

SIZE = 25 << 18  # gradients of a bucket: 25 MiB


class Buckets:
    """Divides the gradients of parameters into buckets. source has read(name) → f32 [n], n being the parameter's elements,
    and write(name, f32 [n]); sizes has n by name, those that a backward pass completes first in front."""

    def __init__(self, source, sizes, size=SIZE):
        self.source, self.pieces = source, []
        room = 0
        for name, n in sizes.items():
            at = 0
            while at < n:
                if room == 0:
                    self.pieces.append([])
                    room = size
                k = min(n - at, room)
                self.pieces[-1].append((name, at, at + k))
                at, room = at + k, room - k
        self.sizes = [sum(to - at for _, at, to in b) for b in self.pieces]
        self.changed = threading.Condition()
        self.open, self.last = 0, False  # tickets; whether the last backward pass of the step has begun
        self.missing = None  # parameters that the pass under way has not completed

    def opened(self):
        """Notes a new ticket."""
        with self.changed:
            self.open, self.last = self.open + 1, False

    def closed(self):
        """Notes that a ticket is used up."""
        with self.changed:
            self.open -= 1
            self.changed.notify_all()

    def begin(self, names):
        """Notes that the last backward pass of a step begins, which will complete these parameters."""
        with self.changed:
            self.last, self.missing = True, set(names)
            self.changed.notify_all()

    def complete(self, name):
        """Notes that the pass under way adds no more to a parameter's gradient."""
        with self.changed:
            if self.missing:
                self.missing.discard(name)
                self.changed.notify_all()

    def end(self):
        """Notes that the last backward pass has ended."""
        with self.changed:
            self.last, self.missing = True, None
            self.changed.notify_all()

    def stepped(self):
        """Notes that the gradients are used up."""
        with self.changed:
            self.last = False

    def gradients(self, bucket, context):
        """Returns a bucket's gradients once they are complete."""
        if not 0 <= bucket < len(self.sizes):
            raise Fault("invalid", f"bucket {bucket} of {len(self.sizes)}")
        names = [name for name, _, _ in self.pieces[bucket]]
        with self.changed:
            while (self.open > 0 and not self.last) or (self.missing and not self.missing.isdisjoint(names)):
                if not context.is_active():
                    raise Fault("canceled", "the call was cancelled")
                self.changed.wait(0.05)
        return np.concatenate([self.source.read(name)[at:to] for name, at, to in self.pieces[bucket]])

    def replace(self, gradients):
        """Puts gradients, an array for each bucket, in the place of those accumulated."""
        if [(g.dtype, g.shape) for g in gradients] != [(np.float32, (n,)) for n in self.sizes]:
            raise Fault("invalid", f"gradients are {[list(g.shape) for g in gradients]}, want f32 {self.sizes}")
        parts = {}
        for g, pieces in zip(gradients, self.pieces):
            done = 0
            for name, at, to in pieces:
                parts.setdefault(name, []).append(g[done : done + to - at])
                done += to - at
        for name, p in parts.items():
            self.source.write(name, np.concatenate(p))
