// How refusals and broken answers reach the caller of the SDK.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { QstashDailyRatelimitError, QstashError, QstashRatelimitError } from "@upstash/qstash";

import { sdkLog } from "./sdk-log.js";
import { newDlq } from "./simulator.js";

/** Every call, and how many entries its answer speaks of. */
const CALLS = {
  list: [(dlq) => dlq.list(), (answer) => answer.messages.length],
  resume: [(dlq) => dlq.resume({ all: true }), (answer) => answer.workflowRuns.length],
  restart: [(dlq) => dlq.restart({ all: true }), (answer) => answer.workflowRuns.length],
  delete: [(dlq) => dlq.delete({ all: true }), (answer) => answer.deleted],
  retryFailureFunction: [
    (dlq) => dlq.retryFailureFunction({ dlqId: "one" }),
    (answer) => (answer.workflowRunId.startsWith("wfr_") ? 1 : 0),
  ],
};

async function dlqWithOne() {
  const dlq = await newDlq();
  await dlq.seed({ dlqId: "one", failureFunctionState: "CALLBACK_FAIL" });
  return dlq;
}

const status = (code, rest) => ({ status: { code, ...rest } });

for (const [name, [call, entriesIn]] of Object.entries(CALLS)) {
  describe(name, () => {
    test("with a token that nobody knows fails with 401 and the API's reason", async () => {
      const dlq = await dlqWithOne();
      await assert.rejects(call(dlq.workflow({ token: `not-${dlq.token}` })), (error) => {
        assert.equal(error.constructor, QstashError);
        assert.equal(error.status, 401);
        assert.deepEqual(JSON.parse(error.message), { error: "invalid or missing token" });
        return true;
      });
      assert.deepEqual(await dlq.fates(), { inDlq: ["one"] });
    });

    test("fails with the class, limit, remaining and reset of a short-term limit", async () => {
      const dlq = await dlqWithOne();
      const headers = {
        "Burst-RateLimit-Limit": "10",
        "Burst-RateLimit-Remaining": "0",
        "Burst-RateLimit-Reset": "1700000007",
      };
      await dlq.fault({ fault: status(429, { headers }) });
      await assert.rejects(call(dlq.workflow()), (error) => {
        assert.equal(error.constructor, QstashRatelimitError);
        const { name, status, limit, remaining, reset } = error;
        assert.deepEqual(
          { name, status, limit, remaining, reset },
          { name: "QstashRatelimitError", status: 429, limit: "10", remaining: "0", reset: "1700000007" },
        );
        return true;
      });
    });

    test("fails with the class, limit, remaining and reset of a daily limit", async () => {
      const dlq = await dlqWithOne();
      const headers = {
        "RateLimit-Limit": "1000",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "1700006400",
      };
      await dlq.fault({ fault: status(429, { headers }) });
      await assert.rejects(call(dlq.workflow()), (error) => {
        assert.equal(error.constructor, QstashDailyRatelimitError);
        const { name, status, limit, remaining, reset } = error;
        assert.deepEqual(
          { name, status, limit, remaining, reset },
          { name: "QstashDailyRatelimitError", status: 429, limit: "1000", remaining: "0", reset: "1700006400" },
        );
        return true;
      });
    });

    test("takes a 429 without headers for a short-term limit", async () => {
      const dlq = await dlqWithOne();
      await dlq.fault({ fault: status(429) });
      await assert.rejects(call(dlq.workflow()), (error) => {
        assert.equal(error.constructor, QstashRatelimitError);
        assert.deepEqual([error.limit, error.remaining, error.reset], [null, null, null]);
        return true;
      });
    });

    for (const [kind, fault, message] of [
      ["JSON", status(500), '{"error":"simulated 500 Internal Server Error"}'],
      ["HTML", status(502, { body: "<h1>Bad Gateway</h1>", contentType: "text/html" }), "<h1>Bad Gateway</h1>"],
      ["an empty body", status(500, { body: "" }), "Error: status=500"],
    ]) {
      test(`fails with the body of a server error that is ${kind}`, async () => {
        const dlq = await dlqWithOne();
        await dlq.fault({ fault });
        await assert.rejects(call(dlq.workflow()), { name: "QstashError", status: fault.status.code, message });
        assert.deepEqual(await dlq.fates(), { inDlq: ["one"] });
      });
    }

    test("does not repeat what was answered, whatever the answer", async () => {
      const dlq = await dlqWithOne();
      await dlq.fault({ nth: 1, fault: status(429) });
      await dlq.fault({ nth: 2, fault: status(503) });
      const client = dlq.workflow({ retry: { retries: 3, backoff: () => 1 } });
      await assert.rejects(call(client), { status: 429 });
      await assert.rejects(call(client), { status: 503 });
      assert.deepEqual((await dlq.calls()).map((made) => made.status), [429, 503]);
    });

    for (const [kind, fault] of [
      ["is no JSON", { body: { kind: "invalidJson" } }],
      ["is cut off", { body: { kind: "truncated" } }],
      ["is empty", { body: { kind: "empty" } }],
      ["breaks off", { drop: { when: "duringBody" } }],
      ["never begins", { drop: { when: "afterHeaders" } }],
    ]) {
      test(`fails, but not with a QstashError, and repeats nothing, when a body of 200 ${kind}`, async () => {
        const dlq = await dlqWithOne();
        await dlq.fault({ fault });
        const client = dlq.workflow({ retry: { retries: 3, backoff: () => 1 } });
        await assert.rejects(call(client), (error) => {
          assert.ok(!(error instanceof QstashError), error);
          assert.equal(error.name, fault.drop ? "TypeError" : "SyntaxError");
          return true;
        });
        assert.equal((await dlq.onlyCall()).delivered, false);
      });
    }

    for (const [kind, fault] of [
      ["has fields that nobody knows", { body: { kind: "extraFields" } }],
      ["is announced as HTML", { body: { kind: "wrongContentType" } }],
      ["is padded to a megabyte", { body: { kind: "huge", bytes: 1 << 20 } }],
      ["drips in", { body: { kind: "slowDrip", bytes: 200 } }],
    ]) {
      test(`reads a body that ${kind}`, async () => {
        const dlq = await dlqWithOne();
        await dlq.fault({ fault });
        assert.equal(entriesIn(await call(dlq.workflow())), 1);
      });
    }
  });
}

for (const [name, [call]] of Object.entries(CALLS).filter(([name]) => name !== "list")) {
  test(`${name} with a read-only token fails with 403, though the token can list`, async () => {
    const dlq = await dlqWithOne();
    const token = await dlq.newToken({ name: `reader-of-${dlq.name}`, readOnly: true });
    await assert.rejects(call(dlq.workflow({ token })), (error) => {
      assert.equal(error.constructor, QstashError);
      assert.equal(error.status, 403);
      assert.deepEqual(JSON.parse(error.message), { error: "this token can only read" });
      return true;
    });
    assert.equal((await dlq.workflow({ token }).list()).messages.length, 1);
    assert.deepEqual(await dlq.fates(), { inDlq: ["one"] });
  });
}

test("the SDK writes a refused call to the console, without the query and the token", async () => {
  const dlq = await dlqWithOne();
  sdkLog.length = 0;
  await assert.rejects(dlq.workflow().resume("gone"));
  assert.equal(sdkLog.length, 1);
  assert.match(sdkLog[0], /POST http:\/\/127\.0\.0\.1:\d+\/v2\/workflows\/dlq\/resume failed with status 404$/);
});
