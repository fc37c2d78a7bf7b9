"""Tells what else a machine does while something is measured: processor time of others, load average, spread."""
import os
import pathlib
import statistics
import time

# From which share of the processors' time on other programs make a figure doubtful: over a whole row, and in one turn.
BUSY = 0.05
BUSY_TURN = 0.10
# How far a contender's median of one round may be from the median of all its rounds.
APART = 0.10
TICK = os.sysconf("SC_CLK_TCK")


class Load:
    """What the processors that this process may use have done up to now, in seconds."""

    def __init__(self):
        self.at = time.monotonic()
        self.all, self.processors = busy_time(read("/proc/stat"), os.sched_getaffinity(0))
        self.own = own_time()

    def others_since(self, before):
        """The share of the processors' time that was not this process's, nor of its descendants."""
        whole = (self.at - before.at) * self.processors
        return min(1.0, max(0.0, (self.all - before.all - self.own + before.own) / whole)) if whole else 0.0


def read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def busy_time(stat, allowed):
    """Seconds of /proc/stat's lines "cpu0 user nice system idle iowait irq softirq steal", without idle and iowait."""
    ticks, processors = 0, 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in allowed:
            processors += 1
            ticks += sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7))
    return ticks / TICK, processors


def own_time():
    """Seconds of this process, its descendants, and those of them that were waited for."""
    times, parents = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = read(f"/proc/{entry}/stat").rpartition(")")[2].split()
            if fields:  # it may have ended
                parents[int(entry)] = int(fields[1])
                times[int(entry)] = sum(map(int, fields[11:15]))
    total = 0
    for process, ticks in times.items():
        up = process
        while up in parents and up != os.getpid():
            up = parents[up]
        if up == os.getpid():
            total += ticks
    return total / TICK


def load_average():
    return float((read("/proc/loadavg") or "0").split()[0])


def idle_look(seconds):
    """The share of others during a pause of ours."""
    before = Load()
    time.sleep(seconds)
    return Load().others_since(before)


class Turns:
    """Records what contenders took in turn, round by round, and what else the machine did."""

    def __init__(self):
        self.turns = []  # of a row: round, contender, median ms, seconds, share of others
        self.between = []  # shares of others while all contenders waited

    def pause(self, seconds=0.5):
        self.between.append(idle_look(seconds))

    def take(self, round, contender, work, ms):
        """Calls work() and returns its result; ms(result) is the time that counts."""
        before = Load()
        result = work()
        after = Load()
        self.turns.append({"round": round, "contender": contender, "ms": ms(result), "seconds": after.at - before.at,
                           "others_share": after.others_since(before)})
        return result

    def of(self, *contenders):
        """What a row of these contenders says of the machine. Rounds that are doubtful are marked, none is dropped."""
        turns = [t for t in self.turns if t["contender"] in contenders]
        middle = {c: statistics.median(t["ms"] for t in turns if t["contender"] == c) for c in contenders}
        spread = {}
        for c in contenders:
            values = [t["ms"] for t in turns if t["contender"] == c]
            spread[c] = (max(values) - min(values)) / middle[c]
        rounds = []
        for n in sorted({t["round"] for t in turns}):
            of_round = [t for t in turns if t["round"] == n]
            why = [f"others took {t['others_share']:.0%} beside {t['contender']}" for t in of_round if t["others_share"] > BUSY_TURN]
            why += [f"{t['contender']} is {t['ms'] / middle[t['contender']] - 1:+.0%} from its median" for t in of_round
                    if abs(t["ms"] / middle[t["contender"]] - 1) > APART]
            rounds.append({"round": n, "ms": {t["contender"]: t["ms"] for t in of_round},
                           "others_share": {t["contender"]: t["others_share"] for t in of_round}, "marked": why})
        during = sum(t["others_share"] * t["seconds"] for t in turns) / sum(t["seconds"] for t in turns)
        between = statistics.mean(self.between) if self.between else 0.0
        return {"others_share": during, "others_between": between, "spread": spread, "rounds": rounds,
                "busy": max(during, between) > BUSY, "apart": max(spread.values()) > 2 * APART}
