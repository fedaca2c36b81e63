// The DLQ calls of `@upstash/qstash`, which know nothing of workflows but reach the same entries.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { QstashEmptyArrayError, QstashError } from "@upstash/qstash";

import "./sdk-log.js";
import { ENTRIES, START } from "./selections.js";
import { inOrder, newDlq } from "./simulator.js";

const ids = (answer) => answer.messages.map((message) => message.dlqId);
const ALL = ENTRIES.map((entry) => entry.dlqId);
const [ORDERS, , INVOICES] = ENTRIES.map((entry) => entry.workflowUrl);

const FILTERS = [
  ["messageId", { messageId: "msg_two" }, ["two"]],
  ["url", { url: INVOICES }, ["three"]],
  ["url, several", { url: [ORDERS, INVOICES] }, ["one", "three"]],
  ["responseStatus", { responseStatus: 404 }, ["three"]],
  ["responseStatus, several", { responseStatus: [404, 503] }, ["two", "three"]],
  ["fromDate as a number", { fromDate: START + 3000 }, ["three", "four"]],
  ["fromDate as a Date", { fromDate: new Date(START + 3001) }, ["four"]],
  ["toDate as a number", { toDate: START + 2000 }, ["one", "two"]],
  ["toDate as a Date", { toDate: new Date(START + 1999) }, ["one"]],
  ["callerIp", { callerIp: "192.0.2.2" }, ["two"]],
  ["callerIp, several", { callerIp: ["192.0.2.2", "2001:db8::3"] }, ["two", "three"]],
  ["label", { label: "dark" }, ["two"]],
  ["label, several", { label: ["red", "blue"] }, ["one", "three"]],
  ["flowControlKey", { flowControlKey: "fast lane" }, ["two"]],
  ["flowControlKey, several", { flowControlKey: ["slow", "fair"] }, ["one", "three"]],
  ["fields joined by AND", { url: [ORDERS, INVOICES], responseStatus: 404 }, ["three"]],
  ["urlGroup, which no workflow entry has", { urlGroup: "group" }, []],
  ["urlGroup, several", { urlGroup: ["group", "other"] }, []],
  ["queueName, which no workflow entry has", { queueName: "queue" }, []],
  ["queueName, several", { queueName: ["queue", "other"] }, []],
  ["scheduleId, which no workflow entry has", { scheduleId: "schedule" }, []],
  ["scheduleId, several", { scheduleId: ["schedule", "other"] }, []],
];

async function dlqWithFour() {
  const dlq = await newDlq();
  await dlq.seed(...ENTRIES);
  return dlq;
}

async function assertDeleted(dlq, dlqIds) {
  const { entries } = await dlq.ledger();
  assert.deepEqual(entries.filter((entry) => entry.fate === "deleted").map((entry) => entry.dlqId), dlqIds);
}

describe("listMessages", () => {
  test("asks /v2/dlq, without a source", async () => {
    const dlq = await dlqWithFour();
    assert.deepEqual(ids(await dlq.qstash().listMessages()), inOrder(ALL));
    const call = await dlq.onlyCall();
    assert.deepEqual([call.method, call.path, call.query], ["GET", "/v2/dlq", []]);
  });

  for (const [name, filter, selected] of FILTERS) {
    test(`gives what a filter selects: ${name}`, async () => {
      const dlq = await dlqWithFour();
      assert.deepEqual(ids(await dlq.qstash().listMessages({ filter })), inOrder(selected));
    });
  }

  test("gives the same messages as the workflow SDK", async () => {
    const dlq = await dlqWithFour();
    const { messages } = await dlq.workflow().list();
    const others = (await dlq.qstash().listMessages()).messages;
    assert.deepEqual(
      others,
      messages.map((message) => ({ ...message, urlGroup: undefined, ratePerSecond: message.rate })),
    );
  });

  for (const [name, dlqIds, selected] of [
    ["one", "two", ["two"]],
    ["several", ["one", "three"], ["one", "three"]],
    ["some that are gone", ["gone", "four"], ["four"]],
  ]) {
    test(`gives the entries of given IDs: ${name}`, async () => {
      const dlq = await dlqWithFour();
      assert.deepEqual(ids(await dlq.qstash().listMessages({ dlqIds })), selected);
    });
  }

  test("in a cursor loop gives each entry once", async () => {
    const dlq = await newDlq();
    const dlqIds = await dlq.generate(120);
    const pages = [];
    let cursor;
    do {
      const answer = await dlq.qstash().listMessages({ cursor, count: 50 });
      pages.push(ids(answer));
      cursor = answer.cursor;
    } while (cursor);
    assert.deepEqual(pages.map((page) => page.length), [50, 50, 20]);
    assert.deepEqual(pages.flat(), inOrder(dlqIds));
  });

  test("refuses an empty list of IDs by itself, and calls nobody", async () => {
    const dlq = await dlqWithFour();
    await assert.rejects(dlq.qstash().listMessages({ dlqIds: [] }), QstashEmptyArrayError);
    assert.deepEqual(await dlq.calls(), []);
  });

  test("cannot begin with a cursor of null, and calls nobody", async () => {
    const dlq = await dlqWithFour();
    await assert.rejects(dlq.qstash().listMessages({ cursor: null }), TypeError);
    assert.deepEqual(await dlq.calls(), []);
  });

  test("with a token that nobody knows fails with 401", async () => {
    const dlq = await dlqWithFour();
    const client = dlq.qstash({ token: `not-${dlq.token}` });
    await assert.rejects(client.listMessages(), { name: "QstashError", status: 401 });
  });
});

describe("delete", () => {
  test("of one ID deletes that entry, and reads no body", async () => {
    const dlq = await dlqWithFour();
    assert.deepEqual(await dlq.qstash().delete("two"), { deleted: 1 });
    const call = await dlq.onlyCall();
    assert.deepEqual([call.method, call.path, call.query], ["DELETE", "/v2/dlq/two", []]);
    await assertDeleted(dlq, ["two"]);
  });

  test("of one ID that is gone fails with 404", async () => {
    const dlq = await dlqWithFour();
    await assert.rejects(dlq.qstash().delete("gone"), (error) => {
      assert.equal(error.constructor, QstashError);
      assert.equal(error.status, 404);
      assert.match(JSON.parse(error.message).error, /not found/);
      return true;
    });
    await assertDeleted(dlq, []);
  });

  for (const [name, request, selected] of [
    ["a list of IDs", ["one", "four"], ["one", "four"]],
    ["{dlqIds} with a list", { dlqIds: ["two", "three"] }, ["two", "three"]],
    ["{dlqIds} with a string", { dlqIds: "three" }, ["three"]],
    ["IDs of which one is gone", ["gone", "two"], ["two"]],
    ["everything", { all: true }, ALL],
  ]) {
    test(`deletes ${name}`, async () => {
      const dlq = await dlqWithFour();
      assert.deepEqual(await dlq.qstash().delete(request), { deleted: selected.length });
      const call = await dlq.onlyCall();
      assert.deepEqual([call.method, call.path], ["DELETE", "/v2/dlq"]);
      await assertDeleted(dlq, selected);
    });
  }

  for (const [name, filter, selected] of FILTERS) {
    test(`deletes what a filter selects: ${name}`, async () => {
      const dlq = await dlqWithFour();
      assert.deepEqual(await dlq.qstash().delete({ filter }), { deleted: selected.length });
      await assertDeleted(dlq, selected);
    });
  }

  test("in a cursor loop deletes each entry once", async () => {
    const dlq = await newDlq();
    const dlqIds = await dlq.generate(120);
    const deleted = [];
    let cursor;
    do {
      const answer = await dlq.qstash().delete({ all: true, cursor });
      deleted.push(answer.deleted);
      cursor = answer.cursor;
    } while (cursor);
    assert.deepEqual(deleted, [50, 50, 20]);
    assert.deepEqual((await dlq.calls()).flatMap((call) => call.dlqIds), inOrder(dlqIds));
    await assertDeleted(dlq, dlqIds);
  });

  test("of an empty list calls nobody", async () => {
    const dlq = await dlqWithFour();
    assert.deepEqual(await dlq.qstash().delete([]), { deleted: 0 });
    await assert.rejects(dlq.qstash().delete({ dlqIds: [] }), /Empty dlqIds/);
    assert.deepEqual(await dlq.calls(), []);
  });

  test("with a read-only token fails with 403", async () => {
    const dlq = await dlqWithFour();
    const token = await dlq.newToken({ name: `reader-of-${dlq.name}`, readOnly: true });
    for (const request of ["one", ["one"], { all: true }]) {
      await assert.rejects(dlq.qstash({ token }).delete(request), { name: "QstashError", status: 403 });
    }
    await assertDeleted(dlq, []);
  });

  test("has an older name for lists of IDs", async () => {
    const dlq = await dlqWithFour();
    assert.deepEqual(await dlq.qstash().deleteMany({ dlqIds: ["one", "two"] }), { deleted: 2 });
    await assertDeleted(dlq, ["one", "two"]);
  });
});

for (const [name, request] of [["one ID", "one"], ["IDs", ["one", "two"]], ["everything", { all: true }]]) {
  test(`retry is not simulated, and acts on nothing: ${name}`, async () => {
    const dlq = await dlqWithFour();
    await assert.rejects(dlq.qstash().retry(request), { name: "QstashError", status: 404 });
    assert.deepEqual([(await dlq.onlyCall()).path, await dlq.fates()], ["/v2/dlq/retry", { inDlq: ALL }]);
  });
}
