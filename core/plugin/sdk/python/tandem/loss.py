"""The service Loss, for losses that autograd differentiates and for those differentiated by hand."""

import math
from types import SimpleNamespace

import numpy as np

from . import config as _config
from . import protocol as pb
from . import safetensors
from .buckets import Buckets
from .fault import Fault
from .server import CLOSING, CONFIGURING, USING
from .trainable import Trainable, base_bytes

FORMAT = "tandem loss 1"
DIFFERENTIABLE = ("text_negatives", "image_view2", "image_tokens", "text_tokens")


class Service(Trainable):
    """Serves a loss."""

    def methods(self):
        m = self.server.method
        return {"Configure": m(CONFIGURING, self.configure), "Compute": m(USING, self.compute), "Close": m(CLOSING, self.close), **super().methods()}

    def inspection(self):
        return {"Memory": self.server.method(USING, self.memory)}

    def configure(self, q, context):
        values = _config.decode(self.plugin.config, getattr(q, "with"))
        self.base = base_bytes()
        if self.plugin.backend == "torch":
            from .loss_torch import Engine
        else:
            from .loss_numpy import Engine
        self.inputs = SimpleNamespace(negatives=q.negatives, teacher_image_dim=q.teacher_image_dim, teacher_text_dim=q.teacher_text_dim)
        engine = Engine(self.plugin, values, q, _initial(self.plugin.params, values))
        self.engine, self.trained, self.checkpoint = engine, engine.trained, _Checkpoint(engine)
        self.buckets = Buckets(self.trained, self.trained.order())
        return pb.LossInfo(parameters=sum(a.size for a in engine.arrays().values()), backend=engine.backend, bucket_sizes=self.buckets.sizes)

    def compute(self, q, context):
        array = self.server.window.array
        if not (q.HasField("image") and q.HasField("text")):
            raise Fault("invalid", "the request lacks an embedding")
        if q.rows or q.row_offset:
            raise Fault("invalid", "this loss scores no part of the rows (capability rows)")
        x = {"image": array(q.image), "text": array(q.text)}
        if x["image"].shape != x["text"].shape or x["image"].ndim != 2 or len(x["image"]) < 2:
            raise Fault("invalid", f"image is {list(x['image'].shape)}, text {list(x['text'].shape)}: want equal shapes of at least 2 rows")
        b, outs = len(x["image"]), {"image": q.out_image if q.HasField("out_image") else None, "text": q.out_text if q.HasField("out_text") else None}
        for i in q.inputs:
            x[i.name] = array(i.value)
            if i.HasField("lengths"):
                x[i.name + "_lengths"] = array(i.lengths)
            outs[i.name] = i.out if i.HasField("out") else None
        for name in self.plugin.inputs:
            self._check_input(name, x)
        differentiable = ["image", "text", *(i for i in self.plugin.inputs if i in DIFFERENTIABLE)]
        value, gradients, parts, scalars = self.engine.compute(x, differentiable, q.train)
        if not math.isfinite(value):
            raise Fault("numeric", f"the loss is {value}")
        r = pb.LossResponse(value=value)
        for name, v in parts.items():
            v = np.asarray(v, np.float32)
            r.parts[name] = float(v.mean(dtype=np.float64))
            if q.per_sample and v.shape == (b,):
                r.per_sample[name].values.extend(v.tolist())
        for name, v in scalars.items():
            r.scalars[name] = float(v)
        if q.train:
            for name in differentiable:
                if name not in gradients:
                    raise Fault("internal", f"compute returned no gradient of {name}", hint="this is a bug in the plugin")
                g = np.asarray(gradients[name], np.float32)
                if g.shape != x[name].shape:
                    raise Fault("internal", f"the gradient of {name} is {list(g.shape)}, want {list(x[name].shape)}", hint="this is a bug in the plugin")
                message = self.server.window.answer("gradient of " + name, g, outs[name], pb.Tensor)
                if name in ("image", "text"):
                    getattr(r, "d_" + name).CopyFrom(message)
                else:
                    r.gradients[name].CopyFrom(message)
        if q.grad_norm:
            r.sum_of_squares = self.trained.grad_norm()
        return r

    def _check_input(self, name, x):
        """Raises a Fault unless the request has an input in its shape."""
        if name not in x:
            raise Fault("invalid", f"the request lacks the input {name}")
        (b, d), got = x["image"].shape, x[name]
        want = {"text_negatives": (b * self.inputs.negatives, d), "image_view2": (b, d), "teacher_image": (b, self.inputs.teacher_image_dim),
                "teacher_text": (b, self.inputs.teacher_text_dim), "groups": (b,)}.get(name, (b, got.shape[1] if got.ndim == 3 else 0, d))
        lengths = x.get(name + "_lengths")
        if got.shape != want or got.dtype != (np.int32 if name == "groups" else np.float32):
            raise Fault("invalid", f"the input {name} is {got.dtype} {list(got.shape)}, want {list(want)}")
        if name.endswith("_tokens") and (lengths is None or lengths.shape != (b,) or lengths.dtype != np.int32):
            raise Fault("invalid", f"the input {name} lacks its lengths")

    def close(self, q, context):
        self.engine = self.trained = self.buckets = self.checkpoint = None
        return pb.Done()

    def memory(self, q, context):
        r = pb.MemoryResponse(base_bytes=self.base)
        r.parts.add(name="parameters", bytes=sum(a.nbytes for a in self.engine.arrays().values()))
        r.parts.add(name="optimizer", bytes=sum(a.nbytes for a in self.engine.slots().values()))
        return r


def _initial(params, config):
    """Returns the initial values of the learnable parameters, as f32 arrays by name."""
    given = params(config) if callable(params) else params or {}
    return {n: np.array(v.detach().cpu() if hasattr(v, "detach") else v, np.float32) for n, v in given.items()}


class _Checkpoint:
    """Saves and loads parameters and optimiser state. Load checks everything before it changes anything."""

    def __init__(self, engine):
        self.engine = engine

    def save(self, path):
        safetensors.write(path, {**self.engine.arrays(), **self.engine.slots()}, {"format": FORMAT, "plugin": self.engine.plugin.name})

    def load(self, path):
        file = safetensors.File(path)
        own = file.metadata.get("format", "").startswith("tandem ")
        if own and file.metadata["format"] != FORMAT:
            raise Fault("invalid", f'format is "{file.metadata["format"]}", want "{FORMAT}"', file=path)
        params = self.engine.arrays()
        want = {**params, **self.engine.slots()} if own else params
        for name, a in want.items():
            if name not in file.infos:
                raise Fault("invalid", f'tensor "{name}" is missing', file=path)
            if file.infos[name][:2] != ("F32", a.shape):
                raise Fault("invalid", f'tensor "{name}" is {file.infos[name][0]} {list(file.infos[name][1])}, want F32 {list(a.shape)}', file=path)
        if own and set(file.infos) - set(want):
            raise Fault("invalid", f'tensor "{sorted(set(file.infos) - set(want))[0]}" is none of this loss\'s', file=path)
        self.engine.restore({n: file.read(n)[1] for n in want})
