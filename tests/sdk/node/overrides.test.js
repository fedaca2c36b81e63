// What `@upstash/workflow` can change about the workflow runs that a resume or restart starts.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import "./sdk-log.js";
import { inOrder, newDlq } from "./simulator.js";

const ORIGINAL = {
  retries: 2,
  delay: "10s",
  retryDelay: "1000 * retried",
  flowControlKey: "own",
  flowControlValue: "parallelism=9",
  failureCallback: "https://app.example.com/failed",
  labels: ["own"],
};

async function dlqWithTwo() {
  const dlq = await newDlq();
  await dlq.seed({ dlqId: "one", ...ORIGINAL }, { dlqId: "two", ...ORIGINAL });
  return dlq;
}

/** The settings of every new workflow run must be the entry's own, but for what is overridden. */
async function assertRuns(dlq, fromDlqIds, overridden) {
  const { workflowRuns } = await dlq.ledger();
  assert.deepEqual(workflowRuns.map((run) => run.fromDlqId), fromDlqIds);
  for (const run of workflowRuns) {
    const settings = Object.fromEntries(Object.keys(ORIGINAL).map((name) => [name, run[name]]));
    assert.deepEqual(settings, { ...ORIGINAL, ...overridden });
  }
}

const flow = (flowControlValue) => ({ flowControlKey: "new", flowControlValue });

const OVERRIDES = [
  ["nothing", undefined, {}],
  ["no override at all", {}, {}],
  ["retries", { retries: 5 }, { retries: 5 }],
  ["retries of 0", { retries: 0 }, { retries: 0 }],
  ["parallelism", { flowControl: { key: "new", parallelism: 4 } }, flow("parallelism=4")],
  ["rate", { flowControl: { key: "new", rate: 3 } }, flow("rate=3")],
  ["rate by its deprecated name", { flowControl: { key: "new", ratePerSecond: 3 } }, flow("rate=3")],
  ["a period in seconds", { flowControl: { key: "new", rate: 3, period: 60 } }, flow("rate=3, period=60s")],
  ["a period with a unit", { flowControl: { key: "new", rate: 3, period: "2m" } }, flow("rate=3, period=2m")],
  [
    "everything",
    { retries: 1, flowControl: { key: "new", parallelism: 4, rate: 3, period: "1d" } },
    { retries: 1, ...flow("parallelism=4, rate=3, period=1d") },
  ],
];

for (const action of ["resume", "restart"]) {
  describe(action, () => {
    for (const [name, options, overridden] of OVERRIDES) {
      test(`starts workflow runs with ${name} instead of the entry's own`, async () => {
        const dlq = await dlqWithTwo();
        await dlq.workflow()[action](["one", "two"], options);
        await assertRuns(dlq, ["one", "two"], overridden);
      });
    }

    const [first] = inOrder(["one", "two"]);
    for (const [name, request] of [
      ["one ID", first],
      ["{dlqIds}", { dlqIds: [first] }],
      ["a filter", { filter: { label: "own" }, count: 1 }],
      ["everything", { all: true, count: 1 }],
    ]) {
      test(`takes overrides with ${name}`, async () => {
        const dlq = await dlqWithTwo();
        await dlq.workflow()[action](request, { retries: 0, flowControl: { key: "new", rate: 1 } });
        await assertRuns(dlq, [first], { retries: 0, ...flow("rate=1") });
      });
    }

    test("takes overrides beside the ID in its deprecated form", async () => {
      const dlq = await dlqWithTwo();
      const request = { dlqId: ["one", "two"], retries: 0, flowControl: { key: "new", parallelism: 2 } };
      await dlq.workflow()[action](request);
      await assertRuns(dlq, ["one", "two"], { retries: 0, ...flow("parallelism=2") });
    });

    test("sends a header only for what is overridden", async () => {
      const dlq = await dlqWithTwo();
      await dlq.workflow()[action]("one", { retries: 0 });
      await dlq.workflow()[action]("two");
      const sent = (await dlq.calls()).map((call) =>
        Object.entries(call.headers).filter(([name]) => /^upstash-(?!telemetry)/.test(name)),
      );
      assert.deepEqual(sent, [[["upstash-retries", "0"]], []]);
    });

    for (const [name, options, header] of [
      ["negative retries", { retries: -1 }, /Upstash-Retries/],
      ["half a retry", { retries: 0.5 }, /Upstash-Retries/],
      ["an unknown unit", { flowControl: { key: "new", rate: 1, period: "2w" } }, /Upstash-Flow-Control-Value/],
      ["a period of more than a week", { flowControl: { key: "new", rate: 1, period: "8d" } }, /Upstash-Flow-Control-Value/],
      ["a key outside the alphabet", { flowControl: { key: "a/b", rate: 1 } }, /Upstash-Flow-Control-Key/],
      ["no parallelism", { flowControl: { key: "new", parallelism: 0 } }, /Upstash-Flow-Control-Value/],
    ]) {
      test(`is refused with ${name}, and nothing is acted on`, async () => {
        const dlq = await dlqWithTwo();
        await assert.rejects(dlq.workflow()[action](["one", "two"], options), (error) => {
          assert.equal(error.status, 400);
          assert.match(JSON.parse(error.message).error, header);
          return true;
        });
        assert.deepEqual(await dlq.fates(), { inDlq: ["one", "two"] });
      });
    }

    test("refuses flow control without a limit by itself, and calls nobody", async () => {
      const dlq = await dlqWithTwo();
      await assert.rejects(dlq.workflow()[action]("one", { flowControl: { key: "new" } }), /at least one of/);
      assert.deepEqual(await dlq.calls(), []);
    });
  });
}
