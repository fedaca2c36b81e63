"""How refusals and failed connections reach the caller of `qstash`."""

import functools
import unittest

import httpx
from qstash.errors import DailyMessageLimitExceededError, QStashError, RateLimitExceededError

from simulator import Dlq

CALLS = {
    "list": lambda client: client.list(),
    "get": lambda client: client.get("one"),
    "delete": lambda client: client.delete("one"),
    "delete_many": lambda client: client.delete_many(["one"]),
}
QUICKLY = {"retries": 2, "backoff": lambda attempt: 1}


def with_every_call(test):
    """Runs a test once for every call of the SDK, each time on a DLQ with one entry."""

    @functools.wraps(test)
    def run(self):
        for name, call in CALLS.items():
            with self.subTest(call=name):
                dlq = Dlq()
                dlq.seed({"dlqId": "one"})
                test(self, dlq, call)

    return run


class Failures(unittest.TestCase):
    @with_every_call
    def test_an_unknown_token_is_401(self, dlq, call):
        with self.assertRaises(QStashError) as raised:
            call(dlq.client("nobodys-token"))
        self.assertIs(type(raised.exception), QStashError)
        self.assertIn('status: 401, body: {"error":"invalid or missing token"}', str(raised.exception))
        self.assertEqual(dlq.fates(), {"inDlq": ["one"]})

    @with_every_call
    def test_a_short_term_limit_has_its_class_and_numbers(self, dlq, call):
        limits = {"Limit": "10", "Remaining": "0", "Reset": "1700000007"}
        headers = {f"Burst-RateLimit-{name}": value for name, value in limits.items()}
        dlq.fault({"status": {"code": 429, "headers": headers}})
        with self.assertRaises(RateLimitExceededError) as raised:
            call(dlq.client())
        error = raised.exception
        self.assertEqual((error.limit, error.remaining, error.reset), ("10", "0", "1700000007"))

    @with_every_call
    def test_a_daily_limit_has_its_class_and_numbers(self, dlq, call):
        limits = {"Limit": "1000", "Remaining": "0", "Reset": "1700006400"}
        headers = {f"RateLimit-{name}": value for name, value in limits.items()}
        dlq.fault({"status": {"code": 429, "headers": headers}})
        with self.assertRaises(DailyMessageLimitExceededError) as raised:
            call(dlq.client())
        error = raised.exception
        self.assertEqual((error.limit, error.remaining, error.reset), ("1000", "0", "1700006400"))

    @with_every_call
    def test_a_429_without_headers_is_taken_for_a_short_term_limit(self, dlq, call):
        dlq.fault({"status": {"code": 429}})
        with self.assertRaises(RateLimitExceededError) as raised:
            call(dlq.client())
        self.assertIsNone(raised.exception.limit)

    @with_every_call
    def test_a_server_error_carries_its_body_and_is_not_repeated(self, dlq, call):
        dlq.fault({"status": {"code": 502, "body": "<h1>Bad</h1>", "contentType": "text/html"}})
        with self.assertRaisesRegex(QStashError, "status: 502, body: <h1>Bad</h1>"):
            call(dlq.client(retry=QUICKLY))
        self.assertEqual(len(dlq.calls()), 1)

    @with_every_call
    def test_a_call_whose_connection_drops_is_repeated(self, dlq, call):
        dlq.fault({"drop": {"when": "beforeAction"}}, nth=1)
        call(dlq.client(retry=QUICKLY))
        self.assertEqual([made["status"] for made in dlq.ledger()["calls"]], [0, 200])

    @with_every_call
    def test_a_call_is_not_repeated_when_the_client_was_told_so(self, dlq, call):
        dlq.fault({"drop": {"when": "beforeAction"}})
        with self.assertRaises(httpx.TransportError):
            call(dlq.client())
        self.assertEqual(len(dlq.calls()), 1)
        self.assertEqual(dlq.fates(), {"inDlq": ["one"]})


class LostAnswers(unittest.TestCase):
    """The SDK repeats the call, and finds that the entry has left."""

    def lose_first_answer(self, fault):
        self.dlq = Dlq()
        self.dlq.seed({"dlqId": "one"}, {"dlqId": "two"})
        self.dlq.fault(fault, nth=1)
        return self.dlq.client(retry=QUICKLY)

    def assert_repeated_and_deleted_once(self):
        self.assertEqual(len(self.dlq.calls()), 2)
        self.assertEqual(self.dlq.fates(), {"deleted": ["one"], "inDlq": ["two"]})

    def test_a_lost_answer_of_delete_ends_in_404(self):
        client = self.lose_first_answer({"lostAnswer": {"how": "close"}})
        with self.assertRaisesRegex(QStashError, "status: 404"):
            client.delete("one")
        self.assert_repeated_and_deleted_once()

    def test_a_lost_answer_of_delete_many_ends_in_a_count_of_zero(self):
        client = self.lose_first_answer({"lostAnswer": {"how": "close"}})
        self.assertEqual(client.delete_many(["one"]), 0)
        self.assert_repeated_and_deleted_once()

    def test_a_call_whose_answer_breaks_off_is_repeated_too(self):
        client = self.lose_first_answer({"drop": {"when": "duringBody"}})
        self.assertEqual(client.delete_many(["one"]), 0)
        self.assert_repeated_and_deleted_once()


if __name__ == "__main__":
    unittest.main()
