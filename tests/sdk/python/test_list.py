"""list and get of `qstash`."""

import unittest

from qstash.errors import QStashError
from qstash.message import FlowControlProperties

from selections import ALL, ENTRIES, FILTERS, ORDERS, START
from simulator import Dlq, in_order


def ids(answer):
    return [message.dlq_id for message in answer.messages]


class List(unittest.TestCase):
    def setUp(self):
        self.dlq = Dlq()
        self.dlq.seed(*ENTRIES)

    def test_asks_for_everything_without_a_source_or_a_count(self):
        answer = self.dlq.client().list()
        self.assertEqual((ids(answer), answer.cursor), (in_order(ALL), None))
        self.assertEqual(self.dlq.calls(), [("GET", "/v2/dlq", [])])

    def test_gives_what_a_filter_selects(self):
        for filter, selected in FILTERS:
            with self.subTest(filter=filter):
                self.assertEqual(ids(self.dlq.client().list(filter=filter)), in_order(selected))

    def test_gives_as_many_as_counted_and_a_cursor_for_the_rest(self):
        first = self.dlq.client().list(count=3)
        self.assertEqual(ids(first), in_order(ALL)[:3])
        rest = self.dlq.client().list(count=3, cursor=first.cursor)
        self.assertEqual((ids(rest), rest.cursor), (in_order(ALL)[3:], None))

    def test_refuses_what_is_malformed(self):
        for request, reason in [
            ({"count": 0}, "count"),
            ({"count": 101}, "count"),
            ({"cursor": "nobody's"}, "cursor"),
            ({"filter": {"from_time": "yesterday"}}, "fromDate"),
        ]:
            with self.subTest(request=request):
                with self.assertRaisesRegex(QStashError, f"status: 400, body: .*{reason}"):
                    self.dlq.client().list(**request)


class CursorLoop(unittest.TestCase):
    def test_gives_each_entry_once(self):
        dlq = Dlq()
        dlq_ids = dlq.generate(230)
        for count, expected in [(None, [100, 100, 30]), (50, [50, 50, 50, 50, 30])]:
            with self.subTest(count=count):
                pages, cursor = [], None
                while True:
                    answer = dlq.client().list(cursor=cursor, count=count)
                    pages.append(ids(answer))
                    cursor = answer.cursor
                    if cursor is None:
                        break
                self.assertEqual([len(page) for page in pages], expected)
                self.assertEqual(sum(pages, []), in_order(dlq_ids))

    def test_gives_what_a_filter_selects(self):
        dlq = Dlq()
        dlq.generate(30, labels=["theirs"], failedAt=1000)
        mine = dlq.generate(30, labels=["mine"], failedAt=2000)
        first = dlq.client().list(count=20, filter={"label": "mine"})
        rest = dlq.client().list(count=20, filter={"label": "mine"}, cursor=first.cursor)
        self.assertEqual((ids(first) + ids(rest), rest.cursor), (in_order(mine), None))


class Message(unittest.TestCase):
    def setUp(self):
        self.dlq = Dlq()
        self.dlq.seed(*ENTRIES)

    def test_has_all_that_the_entry_has(self):
        message = self.dlq.client().get("one")
        self.assertEqual(self.dlq.calls(), [("GET", "/v2/dlq/one", [])])
        for name, value in {
            "dlq_id": "one",
            "message_id": "msg_one",
            "url": ORDERS,
            "method": "POST",
            "max_retries": 7,
            "created_at": START + 700,
            "not_before": START + 700,
            "caller_ip": "192.0.2.1",
            "label": "R&D 100%+ü",
            "failure_callback": "https://app.example.com/failed",
            "response_status": 503,
        }.items():
            self.assertEqual(getattr(message, name), value, name)
        self.assertIsInstance(message.body, str)
        self.assertIsInstance(message.headers, dict)
        self.assertIsInstance(message.response_headers, dict)
        self.assertIsInstance(message.response_body, str)
        self.assertIsInstance(message.flow_control, FlowControlProperties)
        flow_control = message.flow_control
        self.assertEqual(
            (flow_control.key, flow_control.parallelism, flow_control.rate, flow_control.period),
            ("slow", 1, 5, 3600),
        )
        self.assertEqual(message.retry_delay_expression, "1000 * retried")

    def test_lacks_what_the_entry_lacks(self):
        message = self.dlq.client().get("four")
        for name in ["label", "flow_control", "failure_callback", "url_group", "queue", "schedule_id"]:
            self.assertIsNone(getattr(message, name), name)

    def test_is_the_same_in_a_list(self):
        listed = self.dlq.client().list().messages
        self.assertEqual(listed, [self.dlq.client().get(dlq_id) for dlq_id in in_order(ALL)])

    def test_that_is_gone_is_404(self):
        with self.assertRaisesRegex(QStashError, "status: 404, body: .*not found"):
            self.dlq.client().get("gone")


if __name__ == "__main__":
    unittest.main()
