"""delete and delete_many of `qstash`."""

import unittest

from qstash.errors import QStashError

from selections import ALL, ENTRIES
from simulator import Dlq


class Delete(unittest.TestCase):
    def setUp(self):
        self.dlq = Dlq()
        self.dlq.seed(*ENTRIES)

    def test_of_one_deletes_that_entry_and_reads_no_body(self):
        self.assertIsNone(self.dlq.client().delete("two"))
        self.assertEqual(self.dlq.calls(), [("DELETE", "/v2/dlq/two", [])])
        self.assertEqual(self.dlq.fates(), {"inDlq": ["one", "three", "four"], "deleted": ["two"]})

    def test_of_one_that_is_gone_is_404(self):
        self.dlq.client().delete("two")
        for gone in ["two", "never-there"]:
            with self.assertRaisesRegex(QStashError, "status: 404, body: .*not found"):
                self.dlq.client().delete(gone)

    def test_of_many_sends_them_in_the_body_and_gives_their_number(self):
        self.assertEqual(self.dlq.client().delete_many(["one", "four"]), 2)
        call = self.dlq.ledger()["calls"][0]
        self.assertEqual((call["method"], call["path"], call["query"]), ("DELETE", "/v2/dlq", ""))
        self.assertEqual(call["headers"]["content-type"], "application/json")
        self.assertEqual(self.dlq.fates(), {"inDlq": ["two", "three"], "deleted": ["one", "four"]})

    def test_of_many_counts_only_those_that_are_there(self):
        self.assertEqual(self.dlq.client().delete_many(["gone", "three", "three"]), 1)
        self.assertEqual(self.dlq.fates(), {"inDlq": ["one", "two", "four"], "deleted": ["three"]})

    def test_takes_ids_as_they_are(self):
        for odd in ["a/b?c&d=e#f", "a b+c%41", 'ü"\\']:
            with self.subTest(dlq_id=odd):
                self.dlq.seed({"dlqId": odd})
                self.assertEqual(self.dlq.client().delete_many([odd]), 1)
                self.assertIn(odd, self.dlq.fates()["deleted"])
        self.assertEqual(self.dlq.fates()["inDlq"], ALL)

    def test_takes_an_id_with_a_comma_for_one_id(self):
        self.dlq.seed({"dlqId": "one,two"})
        self.assertEqual(self.dlq.client().delete_many(["one,two"]), 1)
        self.assertEqual(self.dlq.fates(), {"inDlq": ALL, "deleted": ["one,two"]})

    def test_of_more_than_fifty_is_refused(self):
        dlq = Dlq()
        dlq_ids = dlq.generate(51)
        with self.assertRaisesRegex(QStashError, "status: 400"):
            dlq.client().delete_many(dlq_ids)
        self.assertEqual(dlq.client().delete_many(dlq_ids[:50]), 50)
        self.assertEqual(dlq.fates(), {"inDlq": dlq_ids[50:], "deleted": dlq_ids[:50]})

    def test_with_a_read_only_token_is_403(self):
        token = self.dlq.add_token(f"reader-of-{self.dlq.name}", read_only=True)
        client = self.dlq.client(token)
        for refused in [lambda: client.delete("one"), lambda: client.delete_many(["one"])]:
            with self.assertRaisesRegex(QStashError, "status: 403, body: .*only read"):
                refused()
        self.assertEqual(len(client.list().messages), 4)
        self.assertEqual(self.dlq.fates(), {"inDlq": ALL})


if __name__ == "__main__":
    unittest.main()
