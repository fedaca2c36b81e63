// list of `@upstash/workflow`: filters, pages, and the shape of a message.
import assert from "node:assert/strict";
import { test } from "node:test";

import { QstashEmptyArrayError } from "@upstash/qstash";

import "./sdk-log.js";
import { ENTRIES, FILTERS, LIST_FILTERS, START } from "./selections.js";
import { inOrder, newDlq } from "./simulator.js";

const ids = (answer) => answer.messages.map((message) => message.dlqId);

async function dlqWithFour() {
  const dlq = await newDlq();
  await dlq.seed(...ENTRIES);
  return dlq;
}

test("list asks /v2/dlq for the workflow entries, and for nothing else", async () => {
  const dlq = await dlqWithFour();
  assert.deepEqual(ids(await dlq.workflow().list()), inOrder(["one", "two", "three", "four"]));
  const call = await dlq.onlyCall();
  assert.deepEqual([call.method, call.path, call.query], ["GET", "/v2/dlq", [["source", "workflow"]]]);
  assert.equal(call.operation, "list");
});

for (const [name, filter, selected] of [...FILTERS, ...LIST_FILTERS]) {
  test(`list gives what a filter selects: ${name}`, async () => {
    const dlq = await dlqWithFour();
    const answer = await dlq.workflow().list({ filter });
    assert.deepEqual(ids(answer), inOrder(selected));
    assert.equal(answer.cursor, undefined);
  });
}

test("list sends the values of one field as repeated parameters, and dates as Unix milliseconds", async () => {
  const dlq = await dlqWithFour();
  await dlq.workflow().list({ filter: { label: ["red", "blue"], fromDate: new Date(START) } });
  assert.deepEqual((await dlq.onlyCall()).query, [
    ["label", "red"],
    ["label", "blue"],
    ["fromDate", String(START)],
    ["source", "workflow"],
  ]);
});

test("list of an empty DLQ has no messages and no cursor", async () => {
  const dlq = await newDlq();
  assert.deepEqual(await dlq.workflow().list(), { messages: [], cursor: undefined });
});

test("list gives a message all the fields of the SDK's type", async () => {
  const dlq = await newDlq();
  await dlq.seed({
    ...ENTRIES[1],
    createdAt: START + 1500,
    labels: ["first", "second"],
    retries: 7,
    retryDelay: "1000 * retried",
    flowControlValue: "parallelism=5, rate=2, period=1m",
    failureCallback: "https://app.example.com/failed",
  });
  const { messages } = await dlq.workflow().list();
  const { messageId, method, header, body, responseHeader, responseBody, ...known } = messages[0];
  assert.equal(messageId, "msg_two");
  assert.equal(method, "POST");
  for (const text of [body, responseBody]) {
    assert.equal(typeof text, "string");
  }
  for (const headers of [header, responseHeader]) {
    assert.equal(headers.constructor, Object);
    assert.ok(Object.values(headers).flat().every((value) => typeof value === "string"));
    assert.ok(Object.values(headers).every(Array.isArray));
  }
  for (const [field, value] of Object.entries({
    dlqId: "two",
    url: ENTRIES[1].workflowUrl,
    workflowUrl: ENTRIES[1].workflowUrl,
    workflowRunId: "wfr_alpha_2",
    workflowCreatedAt: START + 1,
    createdAt: START + 1500,
    notBefore: START + 1500,
    callerIP: "192.0.2.2",
    maxRetries: 7,
    retryDelayExpression: "1000 * retried",
    flowControlKey: "fast lane",
    parallelism: 5,
    rate: 2,
    period: 60,
    flowControlValue: undefined,
    responseStatus: 503,
    failureCallback: "https://app.example.com/failed",
    failureCallbackInfo: { state: "CALLBACK_SUCCESS" },
    label: "first",
    labels: ["first", "second"],
  })) {
    assert.deepEqual(known[field], value, field);
  }
});

test("list leaves out what an entry does not have", async () => {
  const dlq = await newDlq();
  await dlq.seed({ dlqId: "bare" });
  const { messages } = await dlq.workflow().list();
  for (const field of ["failureCallback", "failureCallbackInfo", "label"]) {
    assert.ok(!(field in messages[0]), field);
  }
  assert.deepEqual(messages[0].labels ?? [], []);
  assert.equal(messages[0].responseStatus, 500);
});

for (const [order, listed] of [
  ["oldestFirst", ["one", "two", "three", "four"]],
  ["newestFirst", ["four", "three", "two", "one"]],
]) {
  test(`list keeps to the service's order, and gives a cursor when there are more: ${order}`, async () => {
    const dlq = await newDlq();
    await dlq.service({ order });
    await dlq.seed(...ENTRIES.toReversed());
    const first = await dlq.workflow().list({ count: 3 });
    assert.deepEqual(ids(first), listed.slice(0, 3));
    const rest = await dlq.workflow().list({ count: 3, cursor: first.cursor });
    assert.deepEqual(rest, { messages: rest.messages, cursor: undefined });
    assert.deepEqual(ids(rest), listed.slice(3));
  });
}

for (const [name, filter, count, pages] of [
  ["everything, a hundred at a time as the API has it", undefined, undefined, 3],
  ["everything, forty at a time", undefined, 40, 6],
  ["what a filter selects", { label: ["mine", "his"] }, 50, 4],
]) {
  test(`list in a cursor loop gives each entry once: ${name}`, async () => {
    const dlq = await newDlq();
    const theirs = await dlq.generate(30, { labels: ["theirs"], failedAt: 1000 });
    const mine = await dlq.generate(200, { labels: ["mine"], failedAt: 2000 });
    const listed = [];
    let cursor;
    let calls = 0;
    do {
      const answer = await dlq.workflow().list({ cursor, count, filter });
      listed.push(...ids(answer));
      cursor = answer.cursor;
      calls += 1;
    } while (cursor);
    assert.equal(calls, pages);
    assert.deepEqual(listed, inOrder(filter ? mine : [...theirs, ...mine]));
  });
}

test("list with a cursor goes on where it was, though entries left meanwhile", async () => {
  const dlq = await newDlq();
  const dlqIds = inOrder(await dlq.generate(20));
  const first = await dlq.workflow().list({ count: 10 });
  await dlq.workflow().delete(dlqIds.slice(5, 12));
  const second = await dlq.workflow().list({ count: 10, cursor: first.cursor });
  assert.deepEqual(ids(second), dlqIds.slice(12));
});

for (const [name, request, reason] of [
  ["a count of zero", { count: 0 }, /count/],
  ["a count above a hundred", { count: 101 }, /count/],
  ["a cursor of nobody's", { cursor: "nobody's" }, /cursor/],
  ["an unknown state of the failure function", { filter: { failureFunctionState: "CALLBACK_LOST" } }, /CALLBACK_LOST/],
]) {
  test(`list is refused: ${name}`, async () => {
    const dlq = await dlqWithFour();
    await assert.rejects(dlq.workflow().list(request), (error) => {
      assert.deepEqual([error.name, error.status], ["QstashError", 400]);
      assert.match(JSON.parse(error.message).error, reason);
      return true;
    });
  });
}

test("list ignores what it does not know, a host and a path among it", async () => {
  const dlq = await dlqWithFour();
  await dlq.service({ deleteRefusesUnknown: true });
  const filter = { host: "app.example.com", path: "/api/orders", label: "red" };
  assert.deepEqual(ids(await dlq.workflow().list({ filter })), ["one"]);
  const sent = (await dlq.onlyCall()).query.map(([name]) => name);
  assert.ok(sent.includes("host") && sent.includes("path"), sent);
});

test("list refuses a cursor of another DLQ", async () => {
  const [mine, theirs] = [await newDlq(), await newDlq()];
  await mine.generate(2);
  await theirs.generate(2);
  const { cursor } = await theirs.workflow().list({ count: 1 });
  await assert.rejects(mine.workflow().list({ cursor }), { name: "QstashError", status: 400 });
});

test("list refuses an empty list in a filter by itself, and calls nobody", async () => {
  const dlq = await dlqWithFour();
  await assert.rejects(dlq.workflow().list({ filter: { label: [] } }), QstashEmptyArrayError);
  assert.deepEqual(await dlq.calls(), []);
});
