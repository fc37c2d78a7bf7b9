"""Random numbers by position, those of core/random: SplitMix64, whose numbers depend on seed, purpose and place alone."""

_M = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mix(z):
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & _M
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _M
    return z ^ z >> 31


class Stream:
    """The sequence of random numbers of a position: a seed, what the numbers are for, and coordinates."""

    def __init__(self, seed, purpose, *at):
        h = 14695981039346656037
        for b in purpose.encode():
            h = ((h ^ b) * 1099511628211) & _M
        s = _mix((seed + _GOLDEN) & _M) ^ h
        for a in at:
            s = (_mix((s + _GOLDEN) & _M) + a) & _M
        self._state = _mix((s + _GOLDEN) & _M)

    def uint64(self):
        """Returns 64 uniform bits."""
        self._state = (self._state + _GOLDEN) & _M
        return _mix(self._state)

    def random(self):
        """Returns a uniform number in [0, 1)."""
        return (self.uint64() >> 11) * 2.0**-53

    def uniform(self, lo, hi):
        """Returns a uniform number in [lo, hi)."""
        return lo + (hi - lo) * self.random()

    def integer(self, n):
        """Returns a uniform integer in [0, n)."""
        return self.uint64() * n >> 64

    def perm(self, n):
        """Returns a uniformly random order of 0 … n-1."""
        p = list(range(n))
        for i in range(n):
            j = self.integer(i + 1)
            p[i], p[j] = p[j], i
        return p

    def choice(self, items):
        """Returns one of a list."""
        return items[self.integer(len(items))]
