// retryFailureFunction of `@upstash/workflow`.
import assert from "node:assert/strict";
import { test } from "node:test";

import "./sdk-log.js";
import { ENTRIES } from "./selections.js";
import { newDlq } from "./simulator.js";

async function dlqWithFour() {
  const dlq = await newDlq();
  await dlq.seed(...ENTRIES);
  return dlq;
}

const state = async (dlq, dlqId) => {
  const { messages } = await dlq.workflow().list();
  return messages.find((message) => message.dlqId === dlqId).failureCallbackInfo.state;
};

test("a failed failure function runs again, and its entry stays", async () => {
  const dlq = await dlqWithFour();
  const answer = await dlq.workflow().retryFailureFunction({ dlqId: "one" });
  const call = await dlq.onlyCall();
  assert.deepEqual([call.method, call.path, call.query], ["POST", "/v2/workflows/dlq/callback/one", []]);
  const { workflowRunId, workflowCreatedAt } = ENTRIES[0];
  assert.deepEqual(answer, { workflowRunId, workflowCreatedAt });
  assert.equal(await state(dlq, "one"), "CALLBACK_INPROGRESS");
  assert.deepEqual(await dlq.fates(), { inDlq: ["one", "two", "three", "four"] });
});

test("a failure function that is running again is not run once more", async () => {
  const dlq = await dlqWithFour();
  await dlq.workflow().retryFailureFunction({ dlqId: "one" });
  await assert.rejects(dlq.workflow().retryFailureFunction({ dlqId: "one" }), { status: 400 });
});

for (const dlqId of ["two", "three", "four"]) {
  test(`a failure function that has not failed is not run again: entry ${dlqId}`, async () => {
    const dlq = await dlqWithFour();
    const before = await state(dlq, dlqId);
    await assert.rejects(dlq.workflow().retryFailureFunction({ dlqId }), (error) => {
      assert.deepEqual([error.name, error.status], ["QstashError", 400]);
      assert.match(JSON.parse(error.message).error, /failure function/);
      return true;
    });
    assert.equal(await state(dlq, dlqId), before);
  });
}

test("the failure function of an entry that is not there cannot be run", async () => {
  const dlq = await dlqWithFour();
  await assert.rejects(dlq.workflow().retryFailureFunction({ dlqId: "gone" }), { name: "QstashError", status: 404 });
});

test("an empty ID is refused by the SDK itself", async () => {
  const dlq = await dlqWithFour();
  await assert.rejects(dlq.workflow().retryFailureFunction({ dlqId: "" }), /cannot be empty/);
  assert.deepEqual(await dlq.calls(), []);
});
