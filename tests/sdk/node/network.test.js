// The SDK repeats a call whose connection fails, actions too. What that means for the entries, the ledger says.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { sdkLog } from "./sdk-log.js";
import { newDlq } from "./simulator.js";

const FATES = { resume: "resumed", restart: "restarted", delete: "deleted" };
const QUICKLY = { retries: 2, backoff: () => 1 };
const DROPPED = { drop: { when: "beforeAction" } };
const LOST = { lostAnswer: { how: "close" } };

const counted = (answer) => answer.deleted ?? answer.workflowRuns.length;

/** Every entry must have met this fate once, and started one workflow run unless it was deleted. */
async function assertEachActedOnOnce(dlq, action, dlqIds) {
  assert.deepEqual(await dlq.fates(), { [FATES[action]]: dlqIds });
  const { calls, workflowRuns } = await dlq.ledger();
  assert.deepEqual(calls.flatMap((call) => call.dlqIds).sort(), dlqIds.toSorted());
  assert.deepEqual(workflowRuns.map((run) => run.fromDlqId).sort(), action === "delete" ? [] : dlqIds.toSorted());
}

for (const action of Object.keys(FATES)) {
  describe(action, () => {
    for (const [name, request] of [
      ["everything", () => ({ all: true })],
      ["what a filter selects", () => ({ filter: { label: "mine" } })],
      ["IDs", (dlqIds) => dlqIds],
    ]) {
      test(`is repeated when the connection drops before the action: ${name}`, async () => {
        const dlq = await newDlq();
        const dlqIds = await dlq.generate(20, { labels: ["mine"] });
        await dlq.fault({ nth: 1, fault: DROPPED });
        const answer = await dlq.workflow({ retry: QUICKLY })[action](request(dlqIds));
        assert.equal(counted(answer), 20);
        assert.deepEqual((await dlq.calls()).map((call) => call.status), [0, 200]);
        await assertEachActedOnOnce(dlq, action, dlqIds);
      });
    }

    test("by filter is repeated when its answer is lost, acts on nothing twice, and answers with nothing", async () => {
      const dlq = await newDlq();
      const dlqIds = await dlq.generate(20, { labels: ["mine"] });
      await dlq.fault({ nth: 1, fault: LOST });
      const answer = await dlq.workflow({ retry: QUICKLY })[action]({ filter: { label: "mine" } });
      assert.equal(counted(answer), 0);
      assert.deepEqual((await dlq.calls()).map((call) => call.delivered), [false, true]);
      await assertEachActedOnOnce(dlq, action, dlqIds);
    });

    test("in a cursor loop acts once on each entry when the answer of a page is lost, but misses a page", async () => {
      const dlq = await newDlq();
      const dlqIds = await dlq.generate(35);
      await dlq.fault({ nth: 2, fault: LOST });
      let cursor;
      let answered = 0;
      do {
        const answer = await dlq.workflow({ retry: QUICKLY })[action]({ all: true, count: 10, cursor });
        answered += counted(answer);
        cursor = answer.cursor;
      } while (cursor);
      assert.equal(answered, 25);
      await assertEachActedOnOnce(dlq, action, dlqIds);
    });

    test("by IDs whose answer is lost does not find them any more when it is repeated", async () => {
      const dlq = await newDlq();
      const dlqIds = await dlq.generate(3);
      await dlq.fault({ nth: 1, fault: LOST });
      const repeated = dlq.workflow({ retry: QUICKLY })[action](dlqIds);
      if (action === "delete") {
        assert.equal((await repeated).deleted, 0);
      } else {
        await assert.rejects(repeated, { name: "QstashError", status: 404 });
      }
      await assertEachActedOnOnce(dlq, action, dlqIds);
    });

    test("is not repeated when the client was told so", async () => {
      const dlq = await newDlq();
      const dlqIds = await dlq.generate(2);
      await dlq.fault({ nth: 1, fault: DROPPED });
      await assert.rejects(dlq.workflow()[action]({ all: true }), { name: "TypeError" });
      assert.equal((await dlq.calls()).length, 1);
      assert.deepEqual(await dlq.fates(), { inDlq: dlqIds });
    });
  });
}

test("list is repeated when its connection closes", async () => {
  const dlq = await newDlq();
  await dlq.generate(2);
  await dlq.fault({ nth: 1, fault: DROPPED });
  await dlq.fault({ nth: 2, fault: LOST });
  assert.equal((await dlq.workflow({ retry: QUICKLY }).list()).messages.length, 2);
  assert.equal((await dlq.calls()).length, 3);
});

test("a rerun of a failure function whose answer is lost is refused when it is repeated", async () => {
  const dlq = await newDlq();
  await dlq.seed({ dlqId: "one", failureFunctionState: "CALLBACK_FAIL" });
  await dlq.fault({ nth: 1, fault: LOST });
  const repeated = dlq.workflow({ retry: QUICKLY }).retryFailureFunction({ dlqId: "one" });
  await assert.rejects(repeated, { name: "QstashError", status: 400 });
  assert.deepEqual((await dlq.calls()).map((call) => call.status), [200, 400]);
});

test("the SDK repeats a call as often as it is told, says so, and then gives up", async () => {
  const dlq = await newDlq();
  const dlqIds = await dlq.generate(2);
  await dlq.fault({ fault: DROPPED });
  sdkLog.length = 0;
  await assert.rejects(dlq.workflow({ retry: QUICKLY }).resume({ all: true }), /fetch failed/);
  assert.deepEqual((await dlq.calls()).map((call) => call.status), [0, 0, 0]);
  assert.deepEqual(await dlq.fates(), { inDlq: dlqIds });
  const said = sdkLog.map((line) => line.match(/failed \(attempt \d\/\d\)|failed after \d attempts/)?.[0]);
  assert.deepEqual(said, ["failed (attempt 1/3)", "failed (attempt 2/3)", "failed after 3 attempts"]);
});

test("the SDK repeats a call when it was told nothing about that", async () => {
  const dlq = await newDlq();
  await dlq.generate(2);
  await dlq.fault({ nth: 1, fault: DROPPED });
  assert.equal(counted(await dlq.workflow({ retry: undefined }).resume({ all: true })), 2);
  assert.equal((await dlq.calls()).length, 2);
});
