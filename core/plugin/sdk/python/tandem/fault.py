"""The one error type of tandem: a kind, a message, where it happened and what to do about it."""

import errno
import os
import traceback

KINDS = ("invalid", "not_found", "conflict", "unavailable", "exhausted", "corrupt", "numeric", "canceled", "internal")


class Fault(Exception):
    """An error that reaches the user of a run as it is.

    kind is one of KINDS: "invalid" for the user to correct, "not_found", "conflict" (the call does not fit the
    state), "unavailable" (this machine lacks something), "exhausted", "corrupt", "numeric" (a NaN or infinity),
    "canceled", "internal" (a bug). path names the field of the spec, as in with.width. hint is the remedy. reason is a
    few words under which samples that fall out are counted: "truncated picture".
    """

    def __init__(self, kind, msg, *, path="", hint="", detail="", file="", line=0, reason=""):
        super().__init__(msg)
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of fault: {', '.join(KINDS)}")
        self.kind, self.msg, self.path, self.hint = kind, msg, path, hint
        self.detail, self.file, self.line, self.reason = detail, file, line, reason


class Faults(Exception):
    """Several faults found at once."""

    def __init__(self, faults):
        super().__init__("\n".join(f.msg for f in faults))
        self.faults = faults


def raise_all(faults):
    """Raises a list of faults; nothing when it is empty."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise Faults(faults)


_SDK = os.path.dirname(os.path.abspath(__file__))


def from_exception(e, home):
    """Returns an author's exception as a Fault. home is the plugin's folder: its lines of the traceback come first."""
    if isinstance(e, (Fault, Faults)):
        return e
    kind, hint = _judge(e)
    frames = traceback.extract_tb(e.__traceback__)
    own = [f for f in frames if _is_below(f.filename, home) and not _is_below(f.filename, _SDK)]
    at = own[-1] if own else None
    name = type(e).__name__
    msg = f"{name}: {e}" if str(e) else name
    whole = traceback.TracebackException.from_exception(e)
    _leave_out_sdk(whole)
    parts = []
    if own:
        parts.append("in the plugin:\n" + "".join(traceback.format_list(own)).rstrip("\n"))
        whole.stack = _last_of_libraries(whole.stack, home)
    parts.append("".join(whole.format()).rstrip("\n"))
    return Fault(kind, msg, hint=hint, detail="\n".join(parts), file=at.filename if at else "", line=at.lineno if at else 0)


def _last_of_libraries(stack, home):
    """Returns the last four frames that are not the author's; None when there are none."""
    frames = [f for f in stack if not _is_below(f.filename, home)][-4:]
    return traceback.StackSummary.from_list(frames) if frames else None


def _leave_out_sdk(t):
    """Leaves the SDK's own frames out of a traceback, and of those of its causes."""
    while t is not None:
        t.stack = traceback.StackSummary.from_list([f for f in t.stack if not _is_below(f.filename, _SDK)])
        t = t.__cause__ or t.__context__


def _judge(e):
    """Returns the kind of an exception, and a hint."""
    import sys

    if type(e).__name__ == "OutOfMemoryError" or isinstance(e, MemoryError):
        return "exhausted", "take a smaller train.batch_size or train.micro_batch_size, or bf16"
    if isinstance(e, ModuleNotFoundError):
        return "unavailable", f"install it for the Python that runs the plugin: {sys.executable} -m pip install {(e.name or 'it').split('.')[0]}"
    if isinstance(e, FileNotFoundError):
        return "not_found", ""
    if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
        return "exhausted", ""
    return "internal", "this is a bug in the plugin"


def _is_below(path, folder):
    return os.path.abspath(path).startswith(os.path.join(os.path.abspath(folder), ""))
