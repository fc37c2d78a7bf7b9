"""Tests of machine.py: python3 -m unittest discover -s tools/peer -p '*_test.py'"""
import subprocess
import sys
import time
import unittest

import machine


class MachineTest(unittest.TestCase):
    def test_busy_time_is_that_of_the_allowed_processors(self):
        stat = "cpu  30 3 6 900 12 3 6 9 0 0\ncpu0 10 1 2 300 4 1 2 3 0 0\ncpu1 20 2 4 600 8 2 4 6 0 0\nintr 5\n"
        self.assertEqual(machine.busy_time(stat, {0, 1}), (57 / machine.TICK, 2))
        self.assertEqual(machine.busy_time(stat, {1}), (38 / machine.TICK, 1))
        self.assertEqual(machine.busy_time("", {0}), (0, 0))

    def test_children_are_no_others(self):
        before = machine.own_time()
        child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        deadline = time.monotonic() + 60
        while machine.own_time() - before < 0.2 and time.monotonic() < deadline:
            time.sleep(0.02)
        running = machine.own_time()
        child.kill()
        child.wait()
        self.assertGreaterEqual(running - before, 0.2)
        self.assertGreaterEqual(machine.own_time(), running)

    def turns(self, eager, own, others):
        t = machine.Turns()
        for n, (a, b, share) in enumerate(zip(eager, own, others)):
            t.turns += [{"round": n + 1, "contender": "eager", "ms": a, "seconds": 1, "others_share": share},
                        {"round": n + 1, "contender": "own", "ms": b, "seconds": 1, "others_share": 0.0}]
        return t.of("eager", "own")

    def test_a_quiet_row_is_not_marked(self):
        row = self.turns([100, 101, 99], [50, 50, 51], [0.01, 0.02, 0.0])
        self.assertFalse(row["busy"] or row["apart"])
        self.assertFalse(any(r["marked"] for r in row["rounds"]))
        self.assertAlmostEqual(row["spread"]["eager"], 0.02)

    def test_rounds_beside_others_or_far_from_the_rest_are_marked_and_kept(self):
        row = self.turns([100, 150, 99], [50, 50, 51], [0.0, 0.4, 0.0])
        self.assertTrue(row["busy"] and row["apart"])
        self.assertEqual([bool(r["marked"]) for r in row["rounds"]], [False, True, False])
        self.assertEqual(len(row["rounds"][1]["marked"]), 2)

    def test_others_between_rounds_make_a_row_busy(self):
        t = machine.Turns()
        t.between = [0.3]
        t.take(1, "own", lambda: 7, lambda ms: ms)
        self.assertTrue(t.of("own")["busy"])


if __name__ == "__main__":
    unittest.main()
