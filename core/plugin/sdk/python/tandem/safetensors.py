"""Reads and writes safetensors files, with numpy alone. Equal content gives equal bytes."""

import json
import os
import struct

import numpy as np

from .fault import Fault

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
          "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_NAMES = {np.dtype(v): k for k, v in reversed(_TYPES.items()) if k != "BF16"}
_MOST = 100_000_000  # bytes of a header


def write(path, tensors, metadata):
    """Writes arrays by name; bfloat16 comes as ("BF16", array of its bits)."""
    pairs = {name: v if isinstance(v, tuple) else (_NAMES[v.dtype], v) for name, v in tensors.items()}
    order = sorted(pairs, key=lambda n: (-pairs[n][1].dtype.itemsize, n))
    header, at = {"__metadata__": dict(sorted(metadata.items()))}, 0
    for name in order:
        kind, v = pairs[name]
        header[name] = {"dtype": kind, "shape": list(v.shape), "data_offsets": [at, at + v.nbytes]}
        at += v.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            f.write(np.ascontiguousarray(pairs[name][1]).tobytes())


class File:
    """An open safetensors file. Its header has been checked against the size of the file."""

    def __init__(self, path):
        self.path = path
        if not os.path.exists(path):
            raise Fault("not_found", "there is no such file", file=path)
        size = os.path.getsize(path)
        with open(path, "rb") as f:
            head = f.read(8)
            n = struct.unpack("<Q", head)[0] if len(head) == 8 else _MOST + 1
            if n > min(_MOST, size - 8):
                raise self._corrupt("it is cut short, or no safetensors file")
            text = f.read(n)
        try:
            header = json.loads(text)
            self.metadata = header.pop("__metadata__", {}) or {}
            self.infos = {k: (v["dtype"], tuple(v["shape"]), *v["data_offsets"]) for k, v in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise self._corrupt(f"its header cannot be read: {e}") from None
        self.start, end = 8 + n, 0
        for name, (kind, shape, a, b) in sorted(self.infos.items(), key=lambda x: x[1][2:]):
            if kind not in _TYPES or a != end or b - a != int(np.prod(shape, dtype=np.int64)) * np.dtype(_TYPES[kind]).itemsize:
                raise self._corrupt(f'tensor "{name}" is {kind} {list(shape)} at bytes {a} to {b}')
            end = b
        if self.start + end != size:
            raise self._corrupt(f"its tensors end at byte {self.start + end} of {size}: it is cut short")

    def _corrupt(self, msg):
        return Fault("corrupt", msg, file=self.path)

    def read(self, name):
        """Returns a tensor's dtype as the format names it, and its elements."""
        kind, shape, a, b = self.infos[name]
        with open(self.path, "rb") as f:
            f.seek(self.start + a)
            data = f.read(b - a)
        if len(data) != b - a:
            raise self._corrupt(f'tensor "{name}" is cut short')
        return kind, np.frombuffer(data, _TYPES[kind]).reshape(shape).copy()
