"""What is made of samples, of the record of a drain's calls, and of several runs."""

import unittest

from measure import figures
from measure.phases import crowd

MS = 1_000_000


def call(at_ms, took_ms, items, operation="resume", label="due-1"):
    return [at_ms * MS, took_ms * MS, operation, 200, label, -1, items]


class Quantiles(unittest.TestCase):
    def test_a_quantile_is_a_sample_by_nearest_rank(self):
        samples = list(range(100, 0, -1))
        self.assertEqual([figures.quantile(samples, q) for q in (0, 0.5, 0.99, 1)], [1, 50, 99, 100])

    def test_the_p99_of_few_samples_is_the_worst(self):
        self.assertEqual(figures.quantile([3, 1, 2], 0.99), 3)

    def test_no_samples_have_no_quantile(self):
        self.assertIsNone(figures.quantile([], 0.5))


class Drains(unittest.TestCase):
    def test_overhead_is_the_time_in_which_no_call_is_under_way(self):
        out = figures.drained([call(0, 10, 50), call(12, 10, 50), call(26, 10, 20)], 120)
        self.assertEqual((out["pages"], out["items"], out["complete"]), (3, 120, True))
        self.assertAlmostEqual(out["seconds"], 0.036)
        self.assertAlmostEqual(out["overhead_ms_per_page"], 2)
        self.assertAlmostEqual(out["gap_p99_ms"], 4)

    def test_calls_that_overlap_have_no_overhead(self):
        out = figures.drained([call(0, 10, 0, "list"), call(1, 10, 50)], 50)
        self.assertEqual(out["lists"], 1)
        self.assertNotIn("overhead_ms_per_page", out)

    def test_a_drain_that_left_entries_is_not_complete(self):
        self.assertFalse(figures.drained([call(0, 10, 50)], 100)["complete"])


class Lateness(unittest.TestCase):
    def test_each_policys_first_call_counts(self):
        calls = [call(60_100, 1, 1), call(60_050, 1, 1), call(60_300, 1, 1, label="due-2"), call(60_001, 1, 1, label="served-1")]
        got = figures.lateness(calls, 60, "due-", 3)
        self.assertAlmostEqual(got["p50_ms"], 50)
        self.assertAlmostEqual(got["max_ms"], 300)
        self.assertEqual((got["missed"], got["early"], got["unplanned"]), (1, 0, 1))

    def test_a_call_before_the_minute_is_early(self):
        self.assertEqual(figures.lateness([call(59_990, 1, 1)], 60, "due-", 1)["early"], 1)

    def test_without_calls_every_policy_was_missed(self):
        got = figures.lateness([], 60, "due-", 2)
        self.assertEqual((got["missed"], got["p99_ms"]), (2, None))

    def test_no_minute_of_the_schedule_comes_before_the_policies_have_settled(self):
        ticks = crowd.minutes(now=3590, settle=40, gap=2, count=3)
        self.assertEqual(ticks, [3660, 3780, 3900])
        self.assertEqual(crowd.schedule(ticks), "1,3,5 * * * *")


class Runs(unittest.TestCase):
    RUNS = [{"B1": {"policies_0": {"rss_mb": 10, "complete": True, "quiet": None}}, "B6": {"binary_mb": 3}},
            {"B1": {"policies_0": {"rss_mb": 30}}, "B6": {"binary_mb": 3}},
            {"B1": {"policies_0": {"rss_mb": 20}}}]

    def test_the_median_is_over_the_runs_that_have_a_figure(self):
        medians = figures.medians(self.RUNS)
        self.assertEqual(medians["B1.policies_0.rss_mb"], 20)
        self.assertEqual(medians["B6.binary_mb"], 3)

    def test_what_was_not_measured_has_no_median(self):
        self.assertNotIn("B1.policies_0.quiet", figures.medians(self.RUNS))

    def test_the_middle_of_samples_is_complete_only_if_all_are(self):
        got = figures.middle([{"s": 1, "complete": True, "how": "x"}, {"s": 9, "complete": False, "how": "x"}, {"s": 2, "complete": True}])
        self.assertEqual(got, {"s": 2, "complete": False, "how": "x"})

    def test_a_request_that_some_samples_lack_was_made_no_times_in_them(self):
        got = figures.middle([{"requests": {"GET secrets": 1}}, {"requests": {}}, {"requests": {"PATCH x": 4, "GET secrets": 3}}])
        self.assertEqual(got, {"requests": {"GET secrets": 1, "PATCH x": 0}})

    def test_a_ratio_needs_two_figures_and_something_to_divide_by(self):
        self.assertEqual(figures.ratio(2, 5), 2.5)
        self.assertIsNone(figures.ratio(0, 5))
        self.assertIsNone(figures.ratio(2, None))


if __name__ == "__main__":
    unittest.main()
