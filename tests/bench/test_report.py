"""The tables and pictures that are made of results."""

import itertools
import unittest
import xml.etree.ElementTree as ElementTree

from measure import curves, report
from measure.rows import PATTERNS, rows


def document(name, **median):
    figures = {path.replace("__", "."): value for path, value in median.items()}
    return {"contestant": name, "date": "2026-01-31", "environment": {"cores": 2}, "runs": [{}, {}], "median": figures}


def at_rest(policies, rss, peak):
    return {f"B1__policies_{policies}__at_rest__rss_mb": rss, f"B1__policies_{policies}__first_start__peak_mb": peak,
            f"B1__policies_{policies}__first_start__cpu_s": 1.25}


OURS = document("ours", **at_rest(0, 8, 9), **at_rest(10_000, 30, 41), **at_rest(1000, 10, 12), B5__p50_ms=4,
                **{"B1__policies_0__first_start__requests__LIST dlqpolicies": 1})
THEIRS = document("theirs", **at_rest(0, 32, 36), B5__p50_ms=2, B6__binary_mb=60)


class Tables(unittest.TestCase):
    def test_a_figure_has_a_row_with_how_much_better_the_first_contestant_is(self):
        page = report.comparison([OURS, THEIRS])
        self.assertIn("| B1 0 policies: RSS at rest, first start (MiB) | 8.0 | 32.0 | 4.00× better |", page)
        self.assertIn("| B5 apply to first call, p50 (ms) | 4.00 | 2.00 | 2.00× worse |", page)

    def test_what_one_contestant_lacks_is_left_open(self):
        page = report.comparison([OURS, THEIRS])
        self.assertIn("| B6 binary (MB) | – | 60.00 |  |", page)

    def test_ratios_near_one_are_equal_and_more_is_better_only_where_it_is(self):
        self.assertEqual(report.verdict(100, 101, -1), "equal")
        self.assertEqual(report.verdict(200, 100, 1), "2.00× better")
        self.assertEqual(report.verdict(100, 150, 0), "1.50")
        self.assertEqual(report.verdict(0, 150, -1), "")

    def test_sizes_ascend_as_numbers(self):
        names = [row.name for row in rows(OURS["median"]) if row.path.endswith("rss_mb")]
        self.assertEqual([name.split(":")[0] for name in names], ["B1 0 policies", "B1 1,000 policies", "B1 10,000 policies"])

    def test_requests_have_a_row_for_each_phase_and_verb(self):
        page = report.requests_by_verb([OURS, THEIRS, document("script", B6__binary_mb=2)])
        self.assertIn("| B1, 0 policies, first start: LIST dlqpolicies | 1 | 0 | – |", page)

    def test_a_replicas_memory_has_room_above_what_was_measured(self):
        lines = report.sizing(OURS).splitlines()[2:]
        self.assertEqual(lines[2], "| 10,000 | 30 | 41 | 1.2 | 48Mi | 64Mi |")
        self.assertEqual([line.split()[1] for line in lines], ["0", "1,000", "10,000"])

    def test_a_report_of_a_phase_alone_has_what_it_measured(self):
        page = report.report([document("ours", B6__binary_mb=7.5)])
        self.assertIn("| B6 binary (MB) | 7.50 |", page)
        self.assertNotIn("Requests", page)

    def test_no_two_rows_have_the_same_name(self):
        names = [row.name for row in PATTERNS]
        self.assertEqual(len(names), len(set(names)))


class Curves(unittest.TestCase):
    def pictures(self, *documents):
        return dict(curves.pictures(documents))

    def test_a_figure_with_several_sizes_has_a_picture_with_a_curve_for_each_contestant(self):
        theirs = document("theirs & co", **at_rest(0, 32, 36), **at_rest(100_000, 900, 1200))
        drawn = self.pictures(OURS, theirs)
        self.assertEqual(sorted(drawn), ["cpu-first-start", "memory-at-rest", "memory-peak"])
        picture = ElementTree.fromstring(drawn["memory-at-rest"])
        curves_drawn = picture.findall("{*}polyline")
        self.assertEqual([len(line.get("points").split()) for line in curves_drawn], [3, 2])
        words = [element.text for element in picture.findall("{*}text")]
        for expected in ["Memory at rest (MiB)", "policies", "ours", "theirs & co", "100,000", "900"]:
            self.assertIn(expected, words)

    def test_results_of_one_contestant_are_one_curve(self):
        picture = ElementTree.fromstring(self.pictures(THEIRS, document("theirs", **at_rest(5000, 40, 50)))["memory-peak"])
        self.assertEqual(len(picture.findall("{*}polyline")), 1)

    def test_more_is_further_right_and_higher_up(self):
        picture = ElementTree.fromstring(self.pictures(OURS)["memory-at-rest"])
        places = [tuple(map(float, point.split(","))) for point in picture.find("{*}polyline").get("points").split()]
        for (x, y), (right, up) in itertools.pairwise(places):
            self.assertLess(x, right)
            self.assertGreater(y, up)

    def test_every_point_is_within_the_picture(self):
        for values in [[0, 0], [0.004, 12_345], [7, 7]]:
            scale = curves.Scale(values, 0, 100)
            for value in values:
                self.assertTrue(0 <= scale(value) <= 100, (values, value))

    def test_one_size_makes_no_picture(self):
        self.assertEqual(self.pictures(THEIRS), {})


if __name__ == "__main__":
    unittest.main()
