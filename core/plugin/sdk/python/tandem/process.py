"""The life of a plugin's process: by hand, and under the runner."""

import json
import os
import signal
import sys
import threading

from . import describe


def serve(plugin):
    """Serves a plugin; the last line of its script. Started by hand it prints what the plugin is, and imported by a test
    it does nothing."""
    by_hand = sys.argv[1:] == ["--serve"]
    if os.environ.get("RUNNER_PLUGIN") != "tandem" and not by_hand:
        if sys._getframe(1).f_globals.get("__name__") != "__main__" and sys.argv[1:] != ["--describe"]:
            return
        sys.exit(_by_hand(plugin, sys.argv[1:]))
    if by_hand:
        keep = _Announcement(plugin)
    else:
        keep = claim_stdout()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # A batch system that ends a job tells the runner too, which writes a checkpoint with our help first and then stops us.
        runner = os.getppid()
        signal.signal(signal.SIGTERM, lambda *_: os.getppid() == runner or end_with_family())
        _end_with_runner()
    try:
        from . import server
    except ImportError as e:
        print(f"{plugin.name}: the SDK needs grpcio, protobuf and numpy: {e}\n  hint: {sys.executable} -m pip install grpcio protobuf numpy", file=sys.stderr)
        sys.exit(1)
    server.run(plugin, keep, once=by_hand)
    sys.stderr.flush()
    os._exit(0)  # also while a cancelled call still computes


class _Announcement:
    """Takes the handshake of a plugin that a developer started, in a debugger perhaps, and prints what a runner needs to
    use it. It serves one run."""

    def __init__(self, plugin):
        self.plugin = plugin

    def write(self, handshake):
        if "|" not in handshake:
            return
        _, protocol, _, socket, *_ = handshake.split("|")
        d = self.plugin.descriptor()
        name = {"encoder": "encoders", "loss": "losses", "dataset": "datasets"}[d["kind"]] + "/" + d["name"]
        value = json.dumps({name: {"socket": socket, "pid": os.getpid(), "protocol": int(protocol)}})
        print(f"{name} {d['version']} waits for one run; Ctrl-C ends it. In another terminal:\n\n"
              f"  export RUNNER_REATTACH='{value}'\n  runner run SPEC.yaml\n", flush=True)

    def flush(self):
        pass

    close = flush


def _by_hand(plugin, args):
    if not args or args[0] in ("--help", "-h", "help"):
        print(describe.usage(plugin.descriptor()))
    elif args == ["--describe"]:
        print(json.dumps(plugin.descriptor(), indent=2, ensure_ascii=False), file=claim_stdout(), flush=True)
    elif args == ["--version"]:
        d = plugin.descriptor()
        print(f"{d['kind']} {d['name']} {d['version']} (protocol {d['protocol']})")
    else:
        print(f"{plugin.name}: unknown argument {args[0]!r}\n  hint: --describe, --serve, --version and --help are known", file=sys.stderr)
        return 2
    return 0


_stdout = None


def claim_stdout():
    """Returns stdout, with stderr in its place: what libraries print is neither a handshake nor a descriptor."""
    global _stdout
    if _stdout is None:
        sys.stdout.flush()
        _stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
    return _stdout


def is_asked():
    """Reports whether a runner reads what this process writes to stdout."""
    return os.environ.get("RUNNER_PLUGIN") == "tandem" or sys.argv[1:] == ["--describe"]


def _end_with_runner():
    """Ends this process when the runner ends, in whatever way: it holds the other end of a pipe and never writes."""
    text = os.environ.get("RUNNER_PARENT_FD")
    if not text:
        return
    fd = int(text)
    os.set_inheritable(fd, False)

    def watch():
        try:
            os.read(fd, 1)
        except OSError:
            pass
        end_with_family()

    threading.Thread(target=watch, daemon=True, name="tandem-parent").start()


def end_with_family():
    """Removes the socket, which nobody can call any more, and kills the process group that the runner made."""
    import shutil

    folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR", "")
    if os.path.basename(folder).startswith("plugin-dir"):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            session = os.path.dirname(folder)
            if os.path.basename(session).startswith("tandem-"):
                os.rmdir(session)
        except OSError:
            pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
