"""Tensors of requests and answers: in the shared memory of a run, or inside the messages."""

import mmap
import os
import struct

import numpy as np

from .fault import Fault

_MAGIC, _HEADER = 0x4D444E54, 64
F32, BF16, U8, I32 = 1, 2, 3, 4
_DTYPES = {F32: np.dtype("<f4"), BF16: np.dtype("<u2"), U8: np.dtype("u1"), I32: np.dtype("<i4")}


class Window:
    """The shared memory as a plugin sees it."""

    def __init__(self):
        self.map = None
        if os.environ.get("RUNNER_ARENA_FD"):
            fd = int(os.environ["RUNNER_ARENA_FD"])
            # Without MAP_NORESERVE a limit on memory would count all 64 GiB of it.
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_NORESERVE", 0)
            self.map = mmap.mmap(fd, int(os.environ["RUNNER_ARENA_SIZE"]), flags=flags)
            os.close(fd)  # the mapping stays

    def array(self, t):
        """Returns the elements of a tensor of a request; valid until the call ends."""
        dtype = _DTYPES.get(t.dtype)
        if dtype is None or any(d < 0 for d in t.shape):
            raise Fault("invalid", f"a tensor has the dtype {t.dtype} and the shape {list(t.shape)}")
        shape = tuple(t.shape)
        n = dtype.itemsize
        for d in shape:
            n *= d
        if t.arena == 0:
            if len(t.inline) != n:
                raise Fault("invalid", f"a tensor {shape} has {len(t.inline)} bytes, want {n}")
            return np.frombuffer(t.inline, dtype).reshape(shape).copy()
        if self.map is None or t.arena != 1:
            raise Fault("internal", f"a tensor is in arena {t.arena}, which this plugin was not given")
        if t.offset < _HEADER or t.offset % _HEADER or t.offset + n > len(self.map):
            raise Fault("internal", f"a tensor of {n} bytes at {t.offset} is outside shared memory ({len(self.map)} bytes)")
        magic, generation, capacity = struct.unpack_from("<QQQ", self.map, t.offset - _HEADER)
        if (magic, generation) != (_MAGIC, t.generation):
            raise Fault("internal", f"slot {t.offset} is of generation {generation}, want {t.generation}")
        if n > capacity:
            raise Fault("internal", f"a tensor of {n} bytes is in a slot of {capacity}")
        return np.frombuffer(self.map, dtype, count=n // dtype.itemsize, offset=t.offset).reshape(shape)

    def answer(self, what, values, out, message):
        """Puts a result where the request wants it: in out, or into a message made by message()."""
        values = np.asarray(values)
        kind = {"f": F32, "u": U8, "i": I32}.get(values.dtype.kind)
        values = np.ascontiguousarray(values, _DTYPES[kind])
        if out is not None and out.arena:
            to = self.array(out)
            if to.shape != values.shape or to.dtype != values.dtype:
                raise Fault("internal", f"the {what} is {values.dtype} {values.shape}, want {to.dtype} {to.shape}")
            to[...] = values
            return out
        return message(dtype=kind, shape=values.shape, inline=values.tobytes())
