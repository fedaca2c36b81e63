"""The same calls with the client for asyncio."""

import logging
import unittest

from qstash.errors import DailyMessageLimitExceededError, QStashError, RateLimitExceededError

from selections import ALL, ENTRIES, FILTERS
from simulator import Dlq, in_order

# In a test, asyncio says when something took long, such as the SDK's making of a client.
logging.getLogger("asyncio").setLevel(logging.ERROR)


def ids(answer):
    return [message.dlq_id for message in answer.messages]


class Asyncio(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.dlq = Dlq()
        self.dlq.seed(*ENTRIES)

    async def test_list_gives_what_a_filter_selects(self):
        client = self.dlq.async_client()
        self.assertEqual(ids(await client.list()), in_order(ALL))
        for filter, selected in FILTERS:
            with self.subTest(filter=filter):
                self.assertEqual(ids(await client.list(filter=filter)), in_order(selected))

    async def test_list_gives_each_entry_once_in_a_cursor_loop(self):
        dlq = Dlq()
        dlq_ids = dlq.generate(120)
        client, listed, cursor = dlq.async_client(), [], None
        while True:
            answer = await client.list(cursor=cursor, count=50)
            listed += ids(answer)
            cursor = answer.cursor
            if cursor is None:
                break
        self.assertEqual((listed, len(dlq.calls())), (in_order(dlq_ids), 3))

    async def test_get_gives_the_same_as_list(self):
        client = self.dlq.async_client()
        self.assertEqual([await client.get(dlq_id) for dlq_id in in_order(ALL)], (await client.list()).messages)

    async def test_delete_deletes_one_entry(self):
        client = self.dlq.async_client()
        self.assertIsNone(await client.delete("two"))
        with self.assertRaisesRegex(QStashError, "status: 404"):
            await client.delete("two")
        self.assertEqual(self.dlq.fates(), {"inDlq": ["one", "three", "four"], "deleted": ["two"]})

    async def test_delete_many_gives_the_number_of_deleted_entries(self):
        self.assertEqual(await self.dlq.async_client().delete_many(["gone", "one", "three"]), 2)
        self.assertEqual(self.dlq.fates(), {"inDlq": ["two", "four"], "deleted": ["one", "three"]})

    async def test_refusals_have_the_same_classes(self):
        self.dlq.fault({"status": {"code": 429, "headers": {"RateLimit-Limit": "9"}}}, nth=1)
        self.dlq.fault({"status": {"code": 429, "headers": {"Burst-RateLimit-Limit": "9"}}}, nth=2)
        with self.assertRaisesRegex(DailyMessageLimitExceededError, "9"):
            await self.dlq.async_client().list()
        with self.assertRaisesRegex(RateLimitExceededError, "9"):
            await self.dlq.async_client().list()
        with self.assertRaisesRegex(QStashError, "status: 401"):
            await self.dlq.async_client("nobodys-token").list()


if __name__ == "__main__":
    unittest.main()
