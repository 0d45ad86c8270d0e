"""Tests of the parts that compute: `python3 -m unittest harness.tests` in perf/."""

import os
import unittest
import xml.etree.ElementTree as xml

from harness import cases, machine, measure, report


def results(**contestants):
    found = report.Results()
    for name, reports in contestants.items():
        for number in reports:
            found.add("4k-read-1x32", name.replace("_", "-"), {"server_cpu_us_per_io": number, "iops": 1e6 / number})
    return found


class Reports(unittest.TestCase):
    def test_ratios_are_of_medians(self):
        found = results(floor=[1, 9, 2], ringsan_spin0=[3, 2.2, 2.4])
        self.assertAlmostEqual(found.ratio("4k-read-1x32", "ringsan-spin0", "floor", "server_cpu_us_per_io"), 1.2)
        self.assertIsNone(found.ratio("4k-read-1x32", "tgt", "floor", "iops"))

    def test_goals_that_were_measured(self):
        found = results(floor=[1.0], ringsan_spin0=[1.2], tgt=[6.0])
        checked = {text: reached for text, _, _, _, reached in report.check_goals(cases.goals(), found)}
        self.assertEqual(checked, {"4k-read-1x32: CPU per I/O over floor's": True,
                                   "4k-read-1x32: CPU per I/O of tgt over ringsan's": False})

    def test_what_is_compared_with_before_is_compared_round_by_round(self):
        found = results(before=[1.0, 2.0, 4.0], ringsan_spin0=[1.01, 2.02, 4.2])
        goals = cases.goals_compared(cases.compared(cases.cases()))
        (text, number, _, _, reached), = report.check_goals(goals, found)
        self.assertEqual((text, reached), ("4k-read-1x32: CPU per I/O over that of before", True))
        self.assertAlmostEqual(number, 1.01)
        self.assertEqual(report.check_goals(goals, results(before=[1.0], ringsan_spin0=[1.0, 1.0])), [])

    def test_before_stands_beside_each_case_of_ringsan(self):
        compared = {case.name: case.contestants for case in cases.compared(cases.cases())}
        self.assertEqual(compared["digests-4k-read"]["before"], ("before", ["--digests", "both"]))
        self.assertEqual(compared["file-4k-read-qd1"]["before"], ("before-file", []))
        self.assertNotIn("idle", compared)
        self.assertTrue(all(list(both) == ["before", "ringsan-spin0"] for both in compared.values()))

    def test_spread(self):
        self.assertEqual(report.spread([3, 1, 2], 1), "2.0 (1.0..3.0)")
        self.assertEqual(report.spread([1234.5], 0), "1,234")
        self.assertEqual(report.spread([], 0), "-")

    def test_the_plot_is_well_formed(self):
        found = results(floor=[1.0, 1.1], ringsan_spin0=[1.2], tgt=[1e9])
        root = xml.fromstring(report.plot(cases.cases(), found))
        self.assertGreater(len(root), 5)
        xml.fromstring(report.plot(cases.cases(), report.Results()))

    def test_tables(self):
        case = next(case for case in cases.cases() if case.name == "4k-read-1x32")
        text = report.case_text(case, results(floor=[1.0], ringsan_spin0=[1.5]))
        self.assertIn("1.50", text)
        self.assertEqual(report.case_text(case, report.Results()), "")


class Measures(unittest.TestCase):
    def test_share_of_the_second_core(self):
        self.assertAlmostEqual(measure.lesser_core_percent({"1": 100}, {"1": 400, "2": 100, "3": 1}), 25.0)
        self.assertEqual(measure.lesser_core_percent({}, {"1": 400}), 0.0)

    def test_fio(self):
        side = {"total_ios": 10, "iops": 1000.0, "bw_bytes": 4096000, "lat_ns": {"mean": 5000.0},
                "clat_ns": {"max": 9000, "percentile": {"50.000000": 4000}}}
        job = {"read": {**side, "total_ios": 0}, "write": side, "usr_cpu": 1.0, "sys_cpu": 4.0}
        found = measure.from_fio({"jobs": [job]})
        self.assertEqual((found["iops"], found["server_cpu_us_per_io"]), (1000.0, 50.0))
        self.assertEqual(found["latency"]["p50_us"], 4.0)


class Machine(unittest.TestCase):
    def test_waits_for_a_core(self):
        ms = 1_000_000
        # Ten gaps of 10 ms in 10 s: in 1 % of all cases one waits, in 0.1 % for more than 9 ms.
        self.assertAlmostEqual(machine.wait_us([[10 * ms] * 10, []], 10, 0.001), 9_000)
        self.assertAlmostEqual(machine.wait_us([[10 * ms] * 5, [10 * ms] * 5 + [ms] * 3], 10, 0.001), 9_000)
        self.assertAlmostEqual(machine.wait_us([[ms] * 5, [ms] * 15], 10, 0.001), 500)
        self.assertEqual(machine.wait_us([[ms] * 9, []], 10, 0.001), 0)
        self.assertEqual(machine.wait_us([[], []], 10, 0.001), 0)

    def test_a_gap_is_seen(self):
        found = machine.gaps([min(os.sched_getaffinity(0))], 0.2)
        self.assertEqual(len(found), 1)
        self.assertTrue(all(gap > machine.LEAST_NS for gap in found[0]))


class Cases(unittest.TestCase):
    def test_goals_name_what_there_is(self):
        by_name = {case.name: case for case in cases.cases()}
        for goal in cases.goals():
            contestants = by_name[goal.case].contestants
            self.assertIn(goal.contestant, contestants)
            self.assertTrue(goal.over is None or goal.over in contestants)


if __name__ == "__main__":
    unittest.main()
