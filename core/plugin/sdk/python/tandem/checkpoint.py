"""What an encoder in PyTorch saves and loads: one safetensors file, whose next steps give the same bits."""

import dataclasses
import json

import numpy as np
import torch

from . import safetensors
from .fault import Fault

FORMAT = "tandem encoder 1"
_SLOT, _EMA, _VOCABULARY = "optim.", "ema.", "tokenizer"
_BY_NAME = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "I64": torch.int64, "I32": torch.int32,
            "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
_PREFIXES = ("", "visual.", "text.", "model.", "module.", "module.visual.", "module.text.")


class Checkpoint:
    """Saves and loads a tower. Load checks everything before it changes anything."""

    def __init__(self, tower):
        self.tower = tower

    def _values(self):
        """Returns the parameters and the persistent buffers by name."""
        model, params = self.tower.model, self.tower.params
        state = model.state_dict(keep_vars=True)
        known = {id(p) for p in params.values()}  # tied parameters have several names, of which one counts
        buffers = {n: t for n, t in state.items() if id(t) not in known and isinstance(t, torch.Tensor)}
        return {**params, **buffers}

    def _state(self):
        return {f"{_SLOT}{slot}.{n}": t for slot, by in self.tower.trained.state.items() for n, t in by.items()}

    def _metadata(self):
        t = self.tower
        config = dataclasses.asdict(t.config) if t.config is not None else {}
        return {"format": FORMAT, "modality": t.modality, "embed_dim": str(t.dim), "config": json.dumps(config),
                "plugin": f"{t.plugin.name} {t.plugin.version}", "seed": str(t.seed)}

    def save(self, path):
        arrays = {n: _array(t) for n, t in {**self._values(), **self._state()}.items()}
        for n, t in (self.tower.trained.average or {}).items():
            arrays[_EMA + n] = _array(t)
        if self.tower.plugin.vocabulary:
            arrays[_VOCABULARY] = np.frombuffer(json.dumps(self.tower.model.get_vocabulary()).encode(), np.uint8)
        safetensors.write(path, arrays, self._metadata())

    def load(self, path):
        file = safetensors.File(path)
        if not file.metadata.get("format", "").startswith("tandem "):
            return self._load_published(file)
        want = self._metadata()
        for key in ("format", "modality", "embed_dim"):
            if file.metadata.get(key) != want[key]:
                raise Fault("invalid", f'{key} is "{file.metadata.get(key, "")}", want "{want[key]}"', file=path)
        self._check_config(file, json.loads(want["config"]))
        try:
            seed = int(file.metadata["seed"])
        except (KeyError, ValueError):
            raise Fault("corrupt", "there is no seed in the metadata", file=path) from None
        live = {**self._values(), **self._state()}
        average = {_EMA + n: t for n, t in self.tower.trained.params.items()}
        extra = set(file.infos) - set(live)
        has_average = bool(extra & set(average))
        known = (set(average) if has_average else set()) | ({_VOCABULARY} if self.tower.plugin.vocabulary else set())
        self._check(file, {**live, **(average if has_average else {})})
        if extra - known:
            raise Fault("invalid", f'tensor "{sorted(extra - known)[0]}" is none of this encoder\'s', file=path)
        arrays = {n: file.read(n) for n in file.infos}
        vocabulary = json.loads(arrays.pop(_VOCABULARY)[1].tobytes()) if _VOCABULARY in arrays and _VOCABULARY in known else None
        if vocabulary is not None:
            self.tower.model.set_vocabulary(vocabulary)
        with torch.no_grad():
            for n, t in live.items():
                t.copy_(_tensor(*arrays[n]))
        trained = self.tower.trained
        keep = trained.ema_decay and has_average
        trained.average = {n: _tensor(*arrays[_EMA + n]).to(p.device) for n, p in trained.params.items()} if keep else None
        self.tower.seed = seed
        self._drop_stale()

    def _drop_stale(self):
        self.tower.tickets.clear()
        self.tower.trained.drop_gradients()
        self.tower.trained.at = -1

    def _check_config(self, file, want):
        try:
            got = json.loads(file.metadata.get("config", "{}"))
        except ValueError as e:
            raise Fault("corrupt", f"config in the metadata: {e}", file=file.path) from None
        for key in sorted({*got, *want}):
            if got.get(key) != want.get(key):
                raise Fault("invalid", f"the file is of a network with {key} {got.get(key)}, this one has {want.get(key)}", path="with." + key, file=file.path)

    def _check(self, file, tensors):
        for name, t in tensors.items():
            if name not in file.infos:
                raise Fault("invalid", f'tensor "{name}" is missing', file=file.path)
            kind, shape = file.infos[name][:2]
            if shape != tuple(t.shape) or kind != _kind(t):
                raise Fault("invalid", f'tensor "{name}" is {kind} {list(shape)}, want {_kind(t)} {list(t.shape)}', file=file.path)

    def _load_published(self, file):
        """Takes the parameters of a file that tandem did not save; the names are those of the module, maybe with a
        prefix. The module may translate others: load_published({name: array}) → {name: array}."""
        arrays = {n: file.read(n) for n in file.infos}
        translate = getattr(self.tower.model, "load_published", None)
        if translate is not None:
            tensors = translate({n: _tensor(*a) for n, a in arrays.items()})
        else:
            tensors = {n: _tensor(*a) for n, a in arrays.items()}
        values = self._values()
        needed = [n for n in values if not n.endswith("num_batches_tracked")]
        prefix = next((p for p in _PREFIXES if all(p + n in tensors for n in needed)), None)
        if prefix is None:
            best = max(_PREFIXES, key=lambda p: sum(p + n in tensors for n in needed))
            missing = next(n for n in needed if best + n not in tensors)
            raise Fault("invalid", f'tensor "{best + missing}" is missing', file=file.path,
                        hint="the names have to be those of the module; give it load_published(tensors) to translate others")
        for n in needed:
            if tuple(tensors[prefix + n].shape) != tuple(values[n].shape):
                raise Fault("invalid", f'tensor "{prefix + n}" is {list(tensors[prefix + n].shape)}, want {list(values[n].shape)}', file=file.path,
                            hint=f"the settings of the {self.tower.modality} encoder have to be those of the weights")
            if tensors[prefix + n].is_floating_point() and not torch.isfinite(tensors[prefix + n]).all():
                raise Fault("numeric", f'tensor "{prefix + n}" is not finite', file=file.path)
        with torch.no_grad():
            for n in needed:
                values[n].copy_(tensors[prefix + n])
        self.tower.trained.forget()
        self.tower.tickets.clear()


def _kind(t):
    if t.dtype == torch.bfloat16:
        return "BF16"
    return next(k for k, v in _BY_NAME.items() if v == t.dtype)


def _array(t):
    t = t.detach().cpu().contiguous()
    if t.dtype == torch.bfloat16:
        return "BF16", t.view(torch.int16).numpy().view(np.uint16)
    return t.numpy()


def _tensor(kind, a):
    if kind == "BF16":
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(a)
