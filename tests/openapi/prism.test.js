// Prism, as a proxy, tells calls and answers that keep to the document from those that do not. What it cannot read in a
// schema it passes over in silence: so every rule that matters is broken here once.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { description, newDlq } from "./proxy.js";

const bulk = "/v2/workflows/dlq";
const operations = {
  list: ["GET", bulk],
  deleteMany: ["DELETE", bulk],
  resumeMany: ["POST", `${bulk}/resume`],
  restartMany: ["POST", `${bulk}/restart`],
  get: ["GET", `${bulk}/one`],
  deleteOne: ["DELETE", `${bulk}/one`],
  resumeOne: ["POST", `${bulk}/resume/one`],
  restartOne: ["POST", `${bulk}/restart/one`],
  rerunFailureFunction: ["POST", `${bulk}/callback/one`],
  cancelFailureFunction: ["DELETE", `${bulk}/callback/two`],
  listMessages: ["GET", "/v2/dlq"],
  deleteMessages: ["DELETE", "/v2/dlq"],
  getMessage: ["GET", "/v2/dlq/one"],
  deleteMessage: ["DELETE", "/v2/dlq/one"],
};
const lists = ["list", "listMessages"];
const manyActed = ["deleteMany", "resumeMany", "restartMany", "deleteMessages"];
/** What is answered with another status than 200. */
const success = { cancelFailureFunction: 302 };
const starting = ["resumeMany", "restartMany", "resumeOne", "restartOne"];

function entry(dlqId, rest) {
  return {
    dlqId,
    workflowRunId: `wfr_${dlqId}`,
    failedAt: 1763647200000,
    labels: ["a label", "b"],
    failureFunctionState: "CALLBACK_FAIL",
    flowControlKey: "orders",
    flowControlValue: "parallelism=2, rate=1, period=1m",
    retryDelay: "1000",
    failureCallback: "https://app.example.com/failed",
    ...rest,
  };
}

/** What Prism finds wrong with a call, or with its answer. */
function violations(answer) {
  assert.equal(answer.headers["content-type"], "application/problem+json", answer.text);
  return JSON.parse(answer.text).validation.map(({ location, code }) => [...location, code].join(" "));
}

async function assertPassed(answer, status) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers["sl-violations"], undefined);
}

test("the document is well-formed", async () => {
  const redocly = fileURLToPath(new URL("node_modules/@redocly/cli/bin/cli.js", import.meta.url));
  const env = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
  await promisify(execFile)(process.execPath, [redocly, "lint", "--max-problems=20", description], { env });
});

for (const [operation, [method, path]] of Object.entries(operations)) {
  test(`${operation}: a good call and its answer pass unchanged`, async () => {
    const [direct, proxied] = [await newDlq(), await newDlq()];
    for (const dlq of [direct, proxied]) {
      await dlq.seed(entry("one"), entry("two", { failureFunctionState: "CALLBACK_INPROGRESS" }));
    }
    const expected = await direct.callDirectly(method, path);
    const answer = await proxied.call(method, path);
    await assertPassed(answer, success[operation] ?? 200);
    assert.equal(answer.headers["content-type"], expected.headers["content-type"]);
    // New workflow runs have random IDs and the time of the call.
    const comparable = ({ text }) => text.replaceAll(/"wfr_[0-9a-f]{32}"|\b[0-9]{13}\b/g, "_");
    assert.equal(comparable(answer), comparable(expected));
  });
}

test("a query means the same behind Prism, and its cursor arrives", async () => {
  const dlq = await newDlq();
  await dlq.seed(entry("one"), entry("two"), entry("three"));
  const first = JSON.parse((await dlq.call("GET", `${bulk}?count=1`)).text);
  assert.match(first.cursor, /\+.*\/.*=/);
  const query = [
    `cursor=${encodeURIComponent(first.cursor)}`,
    "label=a%20label&label=x%2By&label=z",
    "workflowUrl=https%3A%2F%2Fapp.example.com%2Fapi%2Fworkflow",
    "failureFunctionState=CALLBACK_FAIL&failureFunctionState=CALLBACK_SUCCESS",
    "fromDate=1&toDate=9000000000000&count=1&workflowRunId=&callerIp=",
  ].join("&");
  const answer = await dlq.call("GET", `${bulk}?${query}`);
  await assertPassed(answer, 200);
  assert.equal(JSON.parse(answer.text).messages[0].dlqId, "two");
  // Prism writes the query anew: `+` for a space, every slash encoded.
  assert.deepEqual([...new URLSearchParams((await dlq.calls()).at(-1).query)], [...new URLSearchParams(query)]);
});

test("override headers arrive as they were sent", async () => {
  const headers = {
    "upstash-retries": "5",
    "upstash-delay": "10s",
    "upstash-retry-delay": "min(86400000, pow(2, retried) * 1000)",
    "upstash-flow-control-key": "the-key_1.eu",
    "upstash-flow-control-value": "parallelism=5, rate=10, period=1m",
    "upstash-label": "one, two",
    "upstash-failure-callback": "http://127.0.0.1:41234/failed?a=b%20c",
  };
  for (const operation of starting) {
    const dlq = await newDlq();
    await dlq.seed(entry("one"));
    await assertPassed(await dlq.call(...operations[operation], { headers }), 200);
    const [call] = await dlq.calls();
    for (const [name, value] of Object.entries(headers)) {
      assert.equal(call.headers[name], value);
    }
  }
});

test("refusals of the simulator pass", async () => {
  const dlq = await newDlq();
  await assertPassed(await dlq.call("POST", `${bulk}/resume/none`), 404);
  await assertPassed(await dlq.call("POST", `${bulk}/restart?dlqIds=none`), 404);
  await assertPassed(await dlq.call("GET", bulk, { headers: { authorization: "Bearer nobody" } }), 401);
  // Well-formed, but of no DLQ.
  await assertPassed(await dlq.call("GET", `${bulk}?cursor=1%2B1%2F0%2F0123456789abcdef%3D%3D`), 400);
});

test("malformed queries are refused", async () => {
  const dlq = await newDlq();
  const forAll = {
    "count=0": "query count minimum",
    "count=ten": "query count type",
    "count=1.5": "query count type",
    "count=1&count=2": "query count type",
    "fromDate=yesterday": "query fromdate type",
    "toDate=-1": "query todate minimum",
    "workflowCreatedAt=2026-01-01": "query workflowcreatedat type",
    "failureFunctionState=CALLBACK_LOST": "query failurefunctionstate 0 enum",
    "failureFunctionState=CALLBACK_FAIL&failureFunctionState=x": "query failurefunctionstate 1 enum",
    // A cursor whose plus sign was not encoded.
    "cursor=1+1/0/0123456789abcdef==": "query cursor pattern",
    [Array.from({ length: 101 }, (_, n) => `dlqIds=${n}`).join("&")]: "query dlqids maxItems",
  };
  const forActions = {
    "host=app.example.com": "query host not",
    "path=/api": "query path not",
  };
  const forMessages = {
    "source=schedule": "query source enum",
    "responseStatus=500&responseStatus=never": "query responsestatus 1 type",
  };
  for (const operation of [...lists, ...manyActed]) {
    const [method, path] = operations[operation];
    const queries = {
      ...forAll,
      ...(path === "/v2/dlq" && forMessages),
      ...(manyActed.includes(operation) && forActions),
    };
    for (const [query, expected] of Object.entries(queries)) {
      const answer = await dlq.call(method, `${path}?${query}`);
      assert.equal(answer.status, 422, `${operation}?${query}: ${answer.text}`);
      assert.deepEqual(violations(answer), [expected], operation);
    }
  }
  assert.equal((await dlq.calls()).length, 0);
});

test("malformed override headers are refused", async () => {
  const dlq = await newDlq();
  const malformed = [
    ["upstash-retries", "three", "type"],
    ["upstash-retries", "-1", "minimum"],
    ["upstash-retries", "1.5", "type"],
    ["upstash-delay", "10", "pattern"],
    ["upstash-delay", "1h30m", "pattern"],
    ["upstash-retry-delay", "1 + tries", "pattern"],
    ["upstash-retry-delay", "retried; 1", "pattern"],
    ["upstash-flow-control-key", "k\u00e9y", "pattern"],
    ["upstash-flow-control-key", "the key", "pattern"],
    ["upstash-flow-control-value", "speed=1", "pattern"],
    ["upstash-flow-control-value", "parallelism=0", "pattern"],
    ["upstash-flow-control-value", "rate=1, rate=2", "pattern"],
    ["upstash-flow-control-value", "rate=1; period=1m", "pattern"],
    ["upstash-flow-control-value", "period=8d", "pattern"],
    ["upstash-flow-control-value", "rate=1, period=169h", "pattern"],
    ["upstash-flow-control-value", "period=10081m, rate=1", "pattern"],
    ["upstash-flow-control-value", "period=604801", "pattern"],
    ["upstash-label", "one,,two", "pattern"],
    ["upstash-label", "by hand", "pattern"],
    ["upstash-failure-callback", "/failed", "pattern"],
    ["upstash-failure-callback", "ftp://app.example.com/failed", "pattern"],
  ];
  for (const operation of starting) {
    for (const [name, value, code] of malformed) {
      const answer = await dlq.call(...operations[operation], { headers: { [name]: value } });
      assert.equal(answer.status, 422, `${operation} ${name}: ${value}: ${answer.text}`);
      assert.deepEqual(violations(answer), [`header ${name} ${code}`], operation);
    }
  }
  assert.equal((await dlq.calls()).length, 0);
});

test("calls that nobody serves are refused", async () => {
  const dlq = await newDlq();
  const json = { "content-type": "application/json" };
  const refused = [
    ["PUT", bulk, 405],
    ["POST", bulk, 405],
    ["PATCH", `${bulk}/one`, 405],
    ["GET", `${bulk}/restart/one`, 405],
    // An ID that is none, because the path of that name takes another method.
    ["GET", `${bulk}/resume`, 422],
    ["POST", "/v2/dlq/retry", 405],
    ["GET", "/v2/workflows", 404],
    ["GET", bulk, 401, { headers: { authorization: "Basic b25lOnR3bw==" } }],
    ["POST", `${bulk}/resume`, 422, { headers: json, body: "{}" }],
    ["DELETE", "/v2/dlq", 422, { headers: json, body: '{"dlqIds":"one"}' }],
  ];
  for (const [method, path, status, rest] of refused) {
    const answer = await dlq.call(method, path, rest);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    assert.equal(answer.headers["content-type"], "application/problem+json");
  }
  assert.equal((await dlq.calls()).length, 0);
});

const run = { workflowRunId: "wfr_1", workflowCreatedAt: 1763647200000 };
const runPages = [
  [{ workflowRuns: [run] }],
  [{}, "required"],
  [{ workflowRuns: run }, "workflowRuns type"],
  [{ workflowRuns: [{ workflowRunId: "wfr_1" }] }, "workflowRuns 0 required"],
  [{ workflowRuns: [{ ...run, workflowCreatedAt: "1763647200000" }] }, "workflowRuns 0 workflowCreatedAt type"],
  [{ workflowRuns: [], cursor: 7 }, "cursor type"],
  [{ workflowRuns: [], cursor: "7" }, "cursor pattern"],
  [{ workflowRuns: [], more: true }, "additionalProperties"],
];
const runs = [[run], [{ workflowRunId: "wfr_1" }, "required"], [{ ...run, workflowRunId: 1 }, "workflowRunId type"]];
const deletions = [
  [{ deleted: 3 }],
  [{}, "required"],
  [{ deleted: "3" }, "deleted type"],
  [{ deleted: 1.5 }, "deleted type"],
  [{ deleted: 101 }, "deleted maximum"],
];
const message = {
  dlqId: "one",
  messageId: "msg_one",
  workflowUrl: "https://app.example.com/api/workflow",
  url: "https://app.example.com/api/workflow",
  method: "POST",
  header: {},
  body: "",
  createdAt: 1763647200000,
  notBefore: 1763647200000,
  maxRetries: 3,
  labels: [],
  callerIP: "203.0.113.1",
  responseStatus: 500,
  responseHeader: {},
  responseBody: "",
  ...run,
};
const messages = [
  [message],
  [{ ...message, dlqId: undefined }, "required"],
  [{ ...message, createdAt: "now" }, "createdAt type"],
  [{ ...message, labels: "a" }, "labels type"],
  [{ ...message, parallelism: 1, rate: 2, period: 60, retryDelayExpression: "1000" }],
  [{ ...message, rate: "2" }, "rate type"],
  [{ ...message, period: "1m" }, "period type"],
  [{ ...message, flowControlValue: "rate=2" }, "additionalProperties"],
  [{ ...message, responseStatus: 20 }, "responseStatus minimum"],
  [{ ...message, failureFunctionState: "LOST" }, "failureFunctionState enum"],
  [{ ...message, failureCallbackInfo: {} }, "failureCallbackInfo required"],
];
const messagePages = [
  [{ messages: [] }],
  [{}, "required"],
  ...messages.map(([one, wrong]) => [{ messages: [one] }, wrong && `messages 0 ${wrong}`]),
];
const answers = {
  list: messagePages,
  listMessages: messagePages,
  deleteMany: deletions,
  deleteMessages: deletions,
  resumeMany: runPages,
  restartMany: runPages,
  get: messages,
  getMessage: messages,
  resumeOne: runs,
  restartOne: runs,
  rerunFailureFunction: runs,
};
for (const [operation, bodies] of Object.entries(answers)) {
  test(`${operation}: answers that break the document are found out`, async () => {
    for (const [body, wrong] of bodies) {
      const dlq = await newDlq();
      await dlq.answer({ code: 200, body: JSON.stringify(body) });
      const answer = await dlq.call(...operations[operation]);
      if (wrong) {
        assert.equal(answer.status, 500);
        assert.deepEqual(violations(answer), [`response body ${wrong}`], JSON.stringify(body));
      } else {
        await assertPassed(answer, 200);
      }
    }
  });
}

for (const [operation, call] of Object.entries(operations)) {
  test(`${operation}: errors have a reason`, async () => {
    for (const code of [400, 401, 412, 429, 500]) {
      const dlq = await newDlq();
      await dlq.answer({ code, body: '{"message":"no"}' });
      assert.deepEqual(violations(await dlq.call(...call)), [
        "response body required",
        "response body additionalProperties",
      ]);
    }
  });
}

test("all headers of a rate limit pass, and have to be numbers", async () => {
  for (const family of ["Burst-RateLimit", "RateLimit"]) {
    const headers = { [`${family}-Limit`]: "100", [`${family}-Remaining`]: "0", [`${family}-Reset`]: "1763647200" };
    const dlq = await newDlq();
    await dlq.answer({ code: 429, headers });
    const answer = await dlq.call(...operations.resumeMany);
    await assertPassed(answer, 429);
    for (const [name, value] of Object.entries(headers)) {
      assert.equal(answer.headers[name.toLowerCase()], value);
      const other = await newDlq();
      await other.answer({ code: 429, headers: { ...headers, [name]: "many" } });
      const found = violations(await other.call(...operations.resumeMany));
      assert.deepEqual(found, [`response header ${name.toLowerCase()} type`]);
    }
  }
  for (const [value, status] of Object.entries({ 30: 429, "Fri, 21 Nov 2025 03:00:00 GMT": 429, soon: 500 })) {
    const dlq = await newDlq();
    await dlq.answer({ code: 429, headers: { "Retry-After": value } });
    assert.equal((await dlq.call(...operations.resumeMany)).status, status, value);
  }
});

test("answers of an unknown status are found out", async () => {
  const dlq = await newDlq();
  await dlq.answer({ code: 201, body: '{"deleted":1}' });
  assert.deepEqual(violations(await dlq.call(...operations.deleteMany)), ["response "]);
  // Those of 300 and more pass, with a header that tells.
  const other = await newDlq();
  await other.answer({ code: 404 });
  const answer = await other.call(...operations.deleteMany);
  assert.equal(answer.status, 404);
  assert.match(answer.headers["sl-violations"], /Unable to match the returned status code/);
});
