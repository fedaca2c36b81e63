// resume, restart and delete of `@upstash/workflow`: what they select, in pages and by ID.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { QstashEmptyArrayError, QstashError } from "@upstash/qstash";

import "./sdk-log.js";
import { ENTRIES, FILTERS } from "./selections.js";
import { inOrder, newDlq } from "./simulator.js";

const ACTIONS = {
  resume: { fate: "resumed", method: "POST", path: "/v2/workflows/dlq/resume", empty: { workflowRuns: [] } },
  restart: { fate: "restarted", method: "POST", path: "/v2/workflows/dlq/restart", empty: { workflowRuns: [] } },
  delete: { fate: "deleted", method: "DELETE", path: "/v2/workflows/dlq", empty: { deleted: 0 } },
};

/** An answer must say of each entry once that it was acted on, and the ledger must say the same. */
async function assertActedOn(dlq, action, dlqIds, answers) {
  const { fate } = ACTIONS[action];
  const { entries, workflowRuns } = await dlq.ledger();
  const left = entries.filter((entry) => entry.fate !== "inDlq");
  assert.deepEqual(left.map((entry) => entry.dlqId).sort(), dlqIds.toSorted());
  assert.ok(left.every((entry) => entry.fate === fate));
  if (action === "delete") {
    assert.equal(answers.reduce((sum, answer) => sum + answer.deleted, 0), dlqIds.length);
    assert.deepEqual(workflowRuns, []);
    return;
  }
  assert.deepEqual(workflowRuns.map((run) => run.fromDlqId).sort(), dlqIds.toSorted());
  assert.ok(workflowRuns.every((run) => run.action === action));
  const answered = answers.flatMap((answer) => answer.workflowRuns);
  assert.deepEqual(
    answered.map((run) => run.workflowRunId).sort(),
    left.map((entry) => entry.newWorkflowRunId).sort(),
  );
  assert.deepEqual(
    answered,
    workflowRuns.map(({ workflowRunId, workflowCreatedAt }) => ({ workflowRunId, workflowCreatedAt })),
  );
}

async function dlqWithFour() {
  const dlq = await newDlq();
  await dlq.seed(...ENTRIES);
  return dlq;
}

for (const [action, { method, path, empty }] of Object.entries(ACTIONS)) {
  describe(action, () => {
    for (const [name, filter, selected] of FILTERS) {
      test(`acts on what a filter selects: ${name}`, async () => {
        const dlq = await dlqWithFour();
        const answer = await dlq.workflow()[action]({ filter });
        assert.equal(answer.cursor, undefined);
        await assertActedOn(dlq, action, selected, [answer]);
      });
    }

    test("by one ID is a bulk call with that ID alone", async () => {
      const dlq = await dlqWithFour();
      const answer = await dlq.workflow()[action]("two");
      const call = await dlq.onlyCall();
      assert.deepEqual([call.method, call.path, call.query], [method, path, [["dlqIds", "two"]]]);
      await assertActedOn(dlq, action, ["two"], [answer]);
    });

    test("by several IDs repeats the parameter", async () => {
      const dlq = await dlqWithFour();
      const answer = await dlq.workflow()[action](["one", "four"]);
      assert.deepEqual((await dlq.onlyCall()).query, [["dlqIds", "one"], ["dlqIds", "four"]]);
      assert.equal(answer.cursor, undefined);
      await assertActedOn(dlq, action, ["one", "four"], [answer]);
    });

    test("acts once on an ID that is given twice", async () => {
      const dlq = await dlqWithFour();
      const answer = await dlq.workflow()[action](["one", "one"]);
      await assertActedOn(dlq, action, ["one"], [answer]);
    });

    test("takes an ID with characters that mean something in a URL", async () => {
      const dlq = await newDlq();
      await dlq.seed({ dlqId: "a/b?c&d=e#f+g%41 h" }, { dlqId: "a" });
      const answer = await dlq.workflow()[action]("a/b?c&d=e#f+g%41 h");
      await assertActedOn(dlq, action, ["a/b?c&d=e#f+g%41 h"], [answer]);
    });

    for (const [name, dlqIds] of [["a list", ["two", "three"]], ["a string", "two"]]) {
      test(`takes {dlqIds} with ${name}`, async () => {
        const dlq = await dlqWithFour();
        const answer = await dlq.workflow()[action]({ dlqIds });
        await assertActedOn(dlq, action, [dlqIds].flat(), [answer]);
      });
    }

    test("of more IDs than one call takes is refused, and nothing is acted on", async () => {
      const dlq = await newDlq();
      const dlqIds = await dlq.generate(51);
      await assert.rejects(dlq.workflow()[action](dlqIds), { name: "QstashError", status: 400 });
      await assertActedOn(dlq, action, [], []);
      await assertActedOn(dlq, action, dlqIds.slice(0, 50), [await dlq.workflow()[action](dlqIds.slice(0, 50))]);
    });

    test("of everything asks for a hundred and handles fifty", async () => {
      const dlq = await newDlq();
      const dlqIds = await dlq.generate(60);
      const answer = await dlq.workflow()[action]({ all: true });
      assert.deepEqual((await dlq.onlyCall()).query, [["count", "100"]]);
      assert.equal(typeof answer.cursor, "string");
      await assertActedOn(dlq, action, inOrder(dlqIds).slice(0, 50), [answer]);
    });

    test("of everything handles the whole hundred where the service does", async () => {
      const dlq = await newDlq();
      await dlq.service({ mostPerCall: { [action]: 100 } });
      const dlqIds = await dlq.generate(101);
      const answer = await dlq.workflow()[action]({ all: true });
      assert.equal(typeof answer.cursor, "string");
      const left = (await dlq.ledger()).entries.filter((entry) => entry.fate === "inDlq");
      assert.equal(left.length, 1);
      await assertActedOn(dlq, action, dlqIds.filter((dlqId) => dlqId !== left[0].dlqId), [answer]);
    });

    test("sends nothing that a service refuses which knows its parameters only", async () => {
      const dlq = await dlqWithFour();
      await dlq.service({ deleteRefusesUnknown: true });
      const answer = await dlq.workflow()[action]({ filter: { label: ["red"], toDate: ENTRIES[0].failedAt } });
      await assertActedOn(dlq, action, ["one"], [answer]);
    });

    test("by filter asks for a hundred, too", async () => {
      const dlq = await dlqWithFour();
      await dlq.workflow()[action]({ filter: { label: ["red", "blue"] } });
      assert.deepEqual((await dlq.onlyCall()).query, [["label", "red"], ["label", "blue"], ["count", "100"]]);
    });

    for (const count of [1, 3]) {
      test(`with count ${count} acts on so many of those that come first`, async () => {
        const dlq = await dlqWithFour();
        const answer = await dlq.workflow()[action]({ all: true, count });
        assert.equal(typeof answer.cursor, "string");
        await assertActedOn(dlq, action, inOrder(["one", "two", "three", "four"]).slice(0, count), [answer]);
      });
    }

    for (const [name, request, pages] of [
      ["everything", { all: true }, 3],
      ["what a filter selects", { filter: { label: ["mine", "his"] } }, 3],
      ["everything in pages of seven", { all: true, count: 7 }, 18],
      ["everything in pages that come out even", { all: true, count: 30 }, 4],
    ]) {
      test(`in a cursor loop acts once on each entry: ${name}`, async () => {
        const dlq = await newDlq();
        await dlq.generate(5, { labels: ["other"], failedAt: 1000 });
        const theirs = request.all ? (await dlq.ledger()).entries.map((entry) => entry.dlqId) : [];
        const mine = await dlq.generate(115, { labels: ["mine"], failedAt: 2000 });
        const answers = [];
        let cursor;
        do {
          const answer = await dlq.workflow()[action]({ ...request, cursor });
          answers.push(answer);
          cursor = answer.cursor;
        } while (cursor);
        assert.equal(answers.length, pages);
        await assertActedOn(dlq, action, [...theirs, ...mine], answers);
      });
    }

    test("refuses a count of zero and a cursor of nobody's, and acts on nothing", async () => {
      const dlq = await dlqWithFour();
      for (const request of [{ all: true, count: 0 }, { all: true, cursor: "nobody's" }]) {
        await assert.rejects(dlq.workflow()[action](request), { name: "QstashError", status: 400 });
      }
      await assertActedOn(dlq, action, [], []);
    });

    test("refuses a host, a path and an unknown state of the failure function, and acts on nothing", async () => {
      const dlq = await dlqWithFour();
      for (const [field, value] of [
        ["host", "app.example.com"],
        ["path", "/api/orders"],
        ["failureFunctionState", "CALLBACK_LOST"],
      ]) {
        await assert.rejects(dlq.workflow()[action]({ filter: { [field]: value } }), (error) => {
          assert.equal(error.status, 400);
          assert.match(JSON.parse(error.message).error, new RegExp(field));
          return true;
        });
      }
      await assertActedOn(dlq, action, [], []);
    });

    test("of an empty list calls nobody and answers as if nothing was found", async () => {
      const dlq = await dlqWithFour();
      assert.deepEqual(await dlq.workflow()[action]([]), empty);
      assert.deepEqual(await dlq.calls(), []);
    });

    for (const [name, request, message] of [
      ["{dlqIds: []}", { dlqIds: [] }, /Empty dlqIds/],
      ["an empty list in a filter", { filter: { label: [] } }, /'label'/],
      ["no filter", {}, /No filter/],
      ["an empty ID", "", /cannot be empty/],
      ["an empty ID among others", ["one", ""], /cannot be empty/],
    ]) {
      test(`refuses by itself, and calls nobody: ${name}`, async () => {
        const dlq = await dlqWithFour();
        await assert.rejects(dlq.workflow()[action](request), (error) => {
          assert.ok(error instanceof QstashError);
          assert.match(error.message, message);
          return true;
        });
        assert.deepEqual(await dlq.calls(), []);
      });
    }

    for (const [name, request, query] of [
      ["an empty filter", { filter: {} }, [["count", "100"]]],
      ["a filter with an empty value", { filter: { label: "" } }, [["label", ""], ["count", "100"]]],
      ["{all: false}", { all: false }, [["count", "100"]]],
      ["{dlqIds} with an empty string", { dlqIds: "" }, [["dlqIds", ""]]],
      ["{dlqIds} without a value", { dlqIds: undefined }, []],
    ]) {
      test(`sends on what selects the whole DLQ: ${name}`, async () => {
        const dlq = await dlqWithFour();
        const answer = await dlq.workflow()[action](request);
        assert.deepEqual((await dlq.onlyCall()).query, query);
        await assertActedOn(dlq, action, ["one", "two", "three", "four"], [answer]);
      });
    }
  });
}

for (const action of ["resume", "restart"]) {
  describe(action, () => {
    test("of IDs that are not all there is 404, and nothing is acted on", async () => {
      const dlq = await dlqWithFour();
      for (const request of ["gone", ["one", "gone"], { dlqIds: ["gone", "two"] }, { dlqId: "gone" }]) {
        await assert.rejects(dlq.workflow()[action](request), (error) => {
          assert.ok(error instanceof QstashError);
          assert.equal(error.status, 404);
          assert.match(JSON.parse(error.message).error, /not found/);
          return true;
        });
      }
      await assertActedOn(dlq, action, [], []);
    });

    test("of an entry that has been acted on is 404", async () => {
      const dlq = await dlqWithFour();
      const answer = await dlq.workflow()[action]("one");
      await assert.rejects(dlq.workflow()[action]("one"), { status: 404 });
      await assertActedOn(dlq, action, ["one"], [answer]);
    });

    test("in its deprecated form answers one ID with one workflow run", async () => {
      const dlq = await dlqWithFour();
      const run = await dlq.workflow()[action]({ dlqId: "two" });
      assert.deepEqual((await dlq.onlyCall()).query, [["dlqIds", "two"]]);
      await assertActedOn(dlq, action, ["two"], [{ workflowRuns: [run] }]);
    });

    test("in its deprecated form answers a list of IDs with a list of workflow runs", async () => {
      const dlq = await dlqWithFour();
      const runs = await dlq.workflow()[action]({ dlqId: ["one", "three"] });
      assert.ok(Array.isArray(runs));
      await assertActedOn(dlq, action, ["one", "three"], [{ workflowRuns: runs }]);
    });

    test("in its deprecated form refuses an empty list by itself", async () => {
      const dlq = await dlqWithFour();
      await assert.rejects(dlq.workflow()[action]({ dlqId: [] }), QstashEmptyArrayError);
      assert.deepEqual(await dlq.calls(), []);
    });

    test("answers with the ID and the time of the new workflow run", async () => {
      const dlq = await dlqWithFour();
      const before = Date.now();
      const { workflowRuns } = await dlq.workflow()[action]("one");
      assert.deepEqual(Object.keys(workflowRuns[0]).sort(), ["workflowCreatedAt", "workflowRunId"]);
      assert.match(workflowRuns[0].workflowRunId, /^wfr_/);
      assert.notEqual(workflowRuns[0].workflowRunId, "wfr_alpha_1");
      assert.ok(workflowRuns[0].workflowCreatedAt >= before && workflowRuns[0].workflowCreatedAt <= Date.now());
    });
  });
}

test("resume refuses a page with a workflow run that cannot be resumed, which restart takes", async () => {
  const dlq = await newDlq();
  await dlq.seed({ dlqId: "changed", unresumable: true }, { dlqId: "other" });
  await assert.rejects(dlq.workflow().resume({ all: true }), { name: "QstashError", status: 400 });
  await assertActedOn(dlq, "resume", [], []);
  const answer = await dlq.workflow().restart({ all: true });
  await assertActedOn(dlq, "restart", ["changed", "other"], [answer]);
});

test("delete counts only the IDs that were there", async () => {
  const dlq = await dlqWithFour();
  const answer = await dlq.workflow().delete(["gone", "two", "three"]);
  assert.equal(answer.deleted, 2);
  await assertActedOn(dlq, "delete", ["two", "three"], [answer]);
});
