"""Plugins with a fault on request, as in the Go files beside. They serve the protocol without what the SDK does for authors,
which would make most of these faults impossible."""


import os
import random

import sys
import threading
import time
import types

import tandem
from tandem import config, process, safetensors
from tandem.fault import Fault

SIDE, PIXELS = 2, 12


class Plugin:
    def __init__(self, kind, service, config, **more):
        self.kind, self.name, self.config, self.more = kind, f"faulty-{kind}", config, more
        module = types.ModuleType(f"tandem.{kind}")  # in place of the SDK's own services
        module.Service = service
        sys.modules[f"tandem.{kind}"] = module

    def descriptor(self):
        return {"kind": self.kind, "name": self.name, "version": "1.0.0", "protocol": 2, "summary": "a fault on request",
                "schema": config.schema(self.config), **self.more}


class Service:
    fault = ""
    def __init__(self, plugin, server):
        self.plugin, self.server, self.window = plugin, server, server.window

    def inspection(self):
        return {}

    def options(self, q):
        raw = getattr(q, "with")
        if os.environ.get("TANDEM_FAULT") == "any option" and "no_such_option" in raw:
            raw = "{}"
        values = config.decode(self.plugin.config, raw)
        self.fault = values.fault
        return values

    def methods(self):
        from tandem import server

        phases = {"Configure": server.CONFIGURING, "Close": server.CLOSING}
        return {name: self.server.method(phases.get(name, server.USING), getattr(self, name), beside=name == "Gradients") for name in self.names}

    def Close(self, q, context):
        from tandem import protocol as pb

        if self.fault == "fails to close":
            raise Fault("internal", "closed already")
        return pb.Done()

    def read_bucket(self, q, g):
        """Answers with the only bucket."""
        from tandem import protocol as pb

        if q.bucket != 0:
            raise Fault("invalid", f"bucket {q.bucket} of 1")
        g = g.reshape(-1).copy()
        if self.fault == "half a bucket":
            g[: (len(g) + 1) // 2] = 0
        r = pb.GradientsResponse()
        r.gradients.CopyFrom(self.window.answer("bucket", g, q.out if q.HasField("out") else None, pb.Tensor))
        return r

    def write_bucket(self, q, g):
        """Returns the gradient to step with, f32 of g's shape."""
        if not q.gradients:
            return g
        given = [self.window.array(t) for t in q.gradients]
        if [x.shape for x in given] != [(g.size,)]:
            raise Fault("invalid", "other sizes than that of the bucket")
        return g if self.fault == "own gradients" else given[0].reshape(g.shape).copy()

    def load(self, path, half):
        """Returns the tensors of a checkpoint; None where a damaged one is to be taken for a whole one."""
        try:
            file = safetensors.File(path)
            return {name: file.read(name)[1].copy() for name in file.infos}
        except Fault:
            if self.fault == "loads damaged" and not path.endswith(".missing"):
                return None
            if self.fault == "loads half":
                half()
            raise
