"""A plugin's gRPC server: handshake, health, lifecycle, errors. The services of the kinds are in other modules."""

import json
import logging
import os
import queue
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

from . import describe, fault, memory, plugins
from . import protocol as pb

PLANNING, CONFIGURING, USING, CLOSING = range(4)

_CODES = {"invalid": grpc.StatusCode.INVALID_ARGUMENT, "not_found": grpc.StatusCode.NOT_FOUND, "conflict": grpc.StatusCode.FAILED_PRECONDITION,
          "unavailable": grpc.StatusCode.FAILED_PRECONDITION, "exhausted": grpc.StatusCode.RESOURCE_EXHAUSTED, "corrupt": grpc.StatusCode.DATA_LOSS,
          "numeric": grpc.StatusCode.OUT_OF_RANGE, "canceled": grpc.StatusCode.CANCELLED, "internal": grpc.StatusCode.INTERNAL}


class Unimplemented(Exception):
    """Answers that the plugin has no such method, which is no error."""


class Server:
    """Runs the methods of one plugin. Those of encoders and losses run one at a time on the main thread, because
    OpenMP keeps a pool of threads for each thread that calls it; those of datasets run where they arrive."""

    def __init__(self, plugin):
        self.plugin, self.window = plugin, memory.Window()
        self.home = describe.home()
        self.threaded = plugin.kind == "dataset"
        self.work = queue.SimpleQueue()
        self.ready = self.ended = False
        self.state = threading.Lock()
        self.open, self.calls = {}, 0
        self.descriptor = None
        self.folder = ""  # of the socket
        self.once = False  # a developer started it, for one run

    def beside(self, phase, f):
        """Returns a gRPC handler of f(request, context), which runs where the request arrives, beside other methods."""
        return self.method(phase, f, beside=True)

    def method(self, phase, f, beside=False):
        """Returns a gRPC handler of f(request, context)."""

        def handle(request, context):
            number, done = self._begin()
            try:
                if not (self.threaded or beside):
                    slot = []
                    ran = threading.Event()
                    self.work.put((lambda: slot.append(self._run(phase, f, request, context)), ran))
                    ran.wait()
                    answer, error = slot[0]
                else:
                    answer, error = self._run(phase, f, request, context)
            finally:
                self._end(number, done)
            if error is not None:
                _abort(context, error)
            return answer

        return handle

    def _run(self, phase, f, request, context):
        try:
            if not context.is_active():
                raise fault.Fault("canceled", "the call was cancelled")
            self._enter(phase)
            start = time.monotonic_ns()
            answer = f(request, context)
            if phase == CONFIGURING:
                self.ready = True
            if phase == CLOSING and self.once:
                threading.Timer(0.3, self.leave).start()
            if "kernel_nanos" in answer.DESCRIPTOR.fields_by_name:
                answer.start_nanos, answer.kernel_nanos = start, time.monotonic_ns() - start
            return answer, None
        except Unimplemented as e:
            return None, e
        except BaseException as e:  # SystemExit of an author's library too: the process stays
            return None, fault.from_exception(e, self.home)

    def _enter(self, phase):
        kind = self.plugin.kind
        if self.ended and phase != CLOSING:
            raise fault.Fault("conflict", f"the {kind} is closed")
        if phase in (PLANNING, CONFIGURING) and self.ready:
            raise fault.Fault("conflict", f"the {kind} is configured already")
        if phase == USING and not self.ready:
            raise fault.Fault("conflict", f"the {kind} is not configured yet")
        if phase == CLOSING:
            self.ended = True

    def leave(self):
        """Ends a process that a developer started."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(0)

    def _begin(self):
        with self.state:
            self.calls += 1
            done = self.open[self.calls] = threading.Event()
            return self.calls, done

    def _end(self, number, done):
        with self.state:
            del self.open[number]
        done.set()

    # The service Plugin.

    def describe(self, request, context):
        if self.descriptor is None:
            self.descriptor = json.dumps(self.plugin.descriptor()).encode()
        return pb.Descriptor(json=self.descriptor)

    def settle(self, request, context):
        with self.state:
            waiting = list(self.open.values())
        for done in waiting:
            while context.is_active() and not done.wait(0.05):
                pass
        return pb.Empty()

    def loop(self):
        """Runs the work of encoders and losses until the process ends."""
        while True:
            job, ran = self.work.get()
            if job is None:
                return
            job()
            ran.set()


def run(plugin, handshake, once=False):
    """Serves a plugin until the runner says stop, or, once, until a run has closed it."""
    logging.basicConfig(level=logging.WARNING)
    server = Server(plugin)
    server.once = once
    if plugin.kind == "encoder":
        from .encoder import Service
    elif plugin.kind == "loss":
        from .loss import Service
    else:
        from .dataset import Service
    service = Service(plugin, server)
    rpc = grpc.server(ThreadPoolExecutor(32, thread_name_prefix="tandem-call"), options=[
        ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0),
        ("grpc.max_metadata_size", 1 << 20), ("grpc.absolute_max_metadata_size", 1 << 20)])
    _add(rpc, f"{pb.package}.Plugin", pb.services["Plugin"], {"Describe": server.describe, "Settle": server.settle, **service.inspection()})
    name = plugin.kind.capitalize()
    _add(rpc, f"{pb.package}.{name}", pb.services[name], service.methods())
    stopped = threading.Event()

    def shutdown(request, context):
        stopped.set()
        server.work.put((None, None))
        return b""

    raw = (lambda b: b)
    rpc.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(lambda q, c: b"\x08\x01", raw, raw)}),  # SERVING, for every service
        grpc.method_handlers_generic_handler("plugin.GRPCController", {
            "Shutdown": grpc.unary_unary_rpc_method_handler(shutdown, raw, raw)})))
    folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp(prefix="tandem-plugin-")
    server.folder = folder
    socket = os.path.join(folder, "plugin")
    rpc.add_insecure_port("unix:" + socket)
    rpc.start()
    print(f"1|{plugins.PROTOCOL}|unix|{socket}|grpc|", file=handshake, flush=True)
    handshake.close()
    if server.threaded:
        stopped.wait()
    else:
        server.loop()
    rpc.stop(0.2).wait(0.2)


def _add(rpc, service, known, methods):
    handlers = {}
    for name, f in methods.items():
        if name not in known:
            continue  # of a later protocol
        request, response = known[name]
        handlers[name] = grpc.unary_unary_rpc_method_handler(f, request.FromString, response.SerializeToString)
    rpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


_DETAIL = 6 << 10  # it travels in an HTTP/2 header, which the other side limits too


def _abort(context, error):
    """Answers with an error: a gRPC status whose details are the faults."""
    if isinstance(error, Unimplemented):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, str(error))
    many = isinstance(error, fault.Faults)
    list_ = error.faults if many else [error]
    faults = pb.Faults(list=many)
    for e in list_:
        faults.faults.append(pb.Fault(kind=e.kind, msg=_shorten(e.msg), path=e.path, hint=_shorten(e.hint), detail=_shorten(e.detail), file=e.file, line=e.line, reason=e.reason))
    code = _CODES[list_[0].kind]
    msg = _shorten("\n".join(e.msg for e in list_))
    any_ = _field(1, f"type.googleapis.com/{pb.package}.Faults".encode()) + _field(2, faults.SerializeToString())
    status = b"\x08" + _varint(code.value[0]) + _field(2, msg.encode()) + _field(3, any_)  # google.rpc.Status
    context.set_trailing_metadata((("grpc-status-details-bin", status),))
    context.abort(code, msg)


def _shorten(text):
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _DETAIL else text[: _DETAIL // 2] + "\n…\n" + text[-_DETAIL // 2:]


def _field(number, data):
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)
