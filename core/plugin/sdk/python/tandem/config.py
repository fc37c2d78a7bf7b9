"""The with block of a spec: a dataclass whose fields become the schema, and the values that a spec gives them."""

import dataclasses
import difflib
import json
import math
import types
import typing

from .fault import Fault, raise_all

_META = "tandem"


def field(default=dataclasses.MISSING, *, help, min=None, max=None, enum=None, path=False, length=0):
    """Declares an option: its default, a line for a person, bounds (inclusive), the strings allowed.

    Without a default the spec must give the option. path says that the string names a file or folder; a relative
    one is relative to the spec. length is the exact length of a list.
    """
    about = {"help": help, "min": min, "max": max, "enum": list(enum) if enum else None, "path": path, "length": length}
    if isinstance(default, (list, dict, set)):
        kept = default
        return dataclasses.field(default_factory=lambda: type(kept)(kept), metadata={_META: about})
    return dataclasses.field(default=default, metadata={_META: about})


_SCALARS = {int: "int", float: "float", bool: "bool", str: "string"}


def schema(config):
    """Returns the fields of a config's dataclass as a descriptor has them; None has none."""
    return [option.field for option in options(config)]


class Option:
    """One option: its field of the schema, and the Python types behind it."""

    def __init__(self, f, kind):
        about = f.metadata.get(_META)
        if about is None:
            raise TypeError(f"option {f.name}: declare it with tandem.field(default, help=…)")
        self.name, self.about = f.name, about
        self.required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        self.default = None if self.required else (f.default if f.default is not dataclasses.MISSING else f.default_factory())
        self.type, self.elem, self.as_tuple = self._types(kind)
        d = {"name": self.name, "type": self.type, "help": about["help"]}
        if self.elem:
            d["elem"] = self.elem
        if self.required:
            d["required"] = True
        elif self.default not in (None, "", 0, False) and self.default != [] and self.default != {}:
            d["default"] = list(self.default) if isinstance(self.default, tuple) else self.default
        for key in ("min", "max", "enum"):
            if about[key] is not None:
                d[key] = about[key]
        if about["length"]:
            d["len"] = about["length"]
        self.field = d

    def _types(self, kind):
        scalar = self._scalar(kind)
        if scalar:
            return scalar, "", False
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):  # int | None: None is the default that the spec does not give
            rest = [a for a in args if a is not type(None)]
            if len(rest) == 1:
                return self._types(rest[0])
        elem = {list: args[:1], tuple: args[:1], dict: args[1:2]}.get(origin)
        if elem and self._scalar(elem[0]) and (origin is not dict or args[0] is str):
            return ("map" if origin is dict else "list"), self._scalar(elem[0]), origin is tuple
        raise TypeError(f"option {self.name}: type {kind} is not supported; take int, float, bool, str, list[int], dict[str, float] and the like")

    def _scalar(self, kind):
        if kind is str and self.about["path"]:
            return "path"
        return _SCALARS.get(kind, "")

    def read(self, value):
        """Returns the value that a spec gives, or raises a Fault."""
        if self.type == "list":
            if not isinstance(value, list):
                raise self._wrong(self.name, self.type, value)
            if self.about["length"] and len(value) != self.about["length"]:
                raise _invalid(self.name, f"has {len(value)} values, want {self.about['length']}")
            out = [self._one(f"{self.name}[{i}]", self.elem, v) for i, v in enumerate(value)]
            return tuple(out) if self.as_tuple else out
        if self.type == "map":
            if not isinstance(value, dict):
                raise self._wrong(self.name, self.type, value)
            return {k: self._one(f"{self.name}.{k}", self.elem, v) for k, v in value.items()}
        return self._one(self.name, self.type, value)

    def _one(self, path, kind, value):
        if kind == "bool" and isinstance(value, bool):
            return value
        if kind in ("string", "path") and isinstance(value, str):
            enum = self.about["enum"]
            if enum and value not in enum:
                raise _invalid(path, f'"{value}" is not allowed', f"one of {', '.join(enum)}" + _near(value, enum))
            return value
        if kind in ("int", "float") and isinstance(value, (int, float)) and not isinstance(value, bool):
            least, most = self.about["min"], self.about["max"]
            if not math.isfinite(value):
                raise _invalid(path, f"{value} is out of range")
            if least is not None and value < least:
                raise _invalid(path, f"{value} is below the minimum {least}")
            if most is not None and value > most:
                raise _invalid(path, f"{value} is above the maximum {most}")
            if kind == "float":
                return float(value)
            if value != int(value):
                raise _invalid(path, f"{value} is not a whole number")
            return int(value)
        raise self._wrong(path, kind, value)

    def _wrong(self, path, kind, value):
        want = f"{kind} of {self.elem}" if kind in ("list", "map") else kind
        return _invalid(path, f"is {json.dumps(value)}, want {want}")


def options(config):
    """Returns the options of a config's dataclass."""
    if config is None:
        return []
    if not dataclasses.is_dataclass(config):
        raise TypeError(f"config is {config!r}, want a dataclass")
    hints = typing.get_type_hints(config)
    return [Option(f, hints[f.name]) for f in dataclasses.fields(config)]


def decode(config, text):
    """Returns a config with the values of a with block (JSON). Whatever is wrong is a Fault with the path with.KEY."""
    given = json.loads(text) if text else {}
    if not isinstance(given, dict):
        raise Fault("invalid", "not a JSON object", path="with")
    known = {o.name: o for o in options(config)}
    faults, values = [], {}
    for key in sorted(given):
        if key not in known:
            names = ", ".join(known)
            hint = f"fields are {names}" + _near(key, known) if known else "this plugin has no options"
            faults.append(_invalid(key, "unknown field", hint))
    for name, option in known.items():
        value = given.get(name)
        if value is None:
            if option.required:
                faults.append(_invalid(name, "is required", option.about["help"]))
            continue
        try:
            values[name] = option.read(value)
        except Fault as e:
            faults.append(e)
    raise_all(faults)
    return config(**values) if config is not None else None


def _invalid(key, msg, hint=""):
    return Fault("invalid", msg, path="with." + key, hint=hint)


def _near(word, words):
    found = difflib.get_close_matches(word, list(words), 1)
    return f" (did you mean {found[0]}?)" if found else ""
