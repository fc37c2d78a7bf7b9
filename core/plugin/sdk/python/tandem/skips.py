"""Why samples fall out: a few words that are the same for all of a kind, so that they can be counted together."""

import struct

from . import fault

OTHER = "other"


class PictureError(ValueError):
    """A picture that cannot be used, for a reason such as "empty picture"."""

    def __init__(self, msg, reason):
        super().__init__(msg)
        self.reason = reason


def reason(e):
    """Returns the reason of an exception that came of reading a picture."""
    if isinstance(e, (PictureError, fault.Fault)) and e.reason:
        return e.reason
    if isinstance(e, FileNotFoundError):
        return "missing picture"
    if type(e).__name__ == "DecompressionBombError":
        return "too many pixels"
    if isinstance(e, (OSError, SyntaxError, ValueError, EOFError, struct.error)) and getattr(e, "errno", None) is None:
        return "truncated picture" if "truncated" in str(e).lower() else "corrupt picture"
    return fault.from_exception(e, "").kind


class Skips:
    """Counts refused records by reason. first tells of the first of each."""

    def __init__(self):
        self.counts, self.first = {}, {}

    def add(self, why, n=1, first=""):
        if n > 0:
            why = why.strip() or OTHER
            self.counts[why] = self.counts.get(why, 0) + n
            self.first.setdefault(why, first[:1000])

    def add_all(self, given):
        """Adds what an author counted: {reason: count}, or {reason: (count, what is wrong with the first)}."""
        for why, n in dict(given).items():
            n, first = n if isinstance(n, (tuple, list)) else (n, "")
            self.add(str(why), int(n), str(first))

    def total(self):
        return sum(self.counts.values())
