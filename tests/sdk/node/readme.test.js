// The example in the simulator's README does what it says.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";

import { api, newDlq } from "./simulator.js";

test("the environment sends the SDK to no server of its own", () => {
  // With QSTASH_DEV the SDK would download one, unless its client is told otherwise.
  assert.equal(process.env.QSTASH_DEV, undefined, "unset QSTASH_DEV, as tests/sdk/run does");
});

test("the example drains what it selects and says how much", async (t) => {
  const readme = await readFile(new URL("../../../simulator/README.md", import.meta.url), "utf8");
  const [, example] = readme.match(/```js\n(.*?)```/s);
  const dlq = await newDlq();
  await dlq.generate(120, { labels: ["emails"], workflowUrl: "https://app.example.com/api/email" });
  await dlq.generate(3, { labels: ["payments"] });

  // Beside this file, where the SDK is found.
  const script = new URL(`example-${process.pid}.mjs`, import.meta.url);
  t.after(() => rm(script, { force: true }));
  await writeFile(script, example.replace("http://127.0.0.1:8081", api).replace("local-token", dlq.token));
  const { stdout } = await promisify(execFile)(process.execPath, [script.pathname], { timeout: 30_000 });

  assert.equal(stdout, "https://app.example.com/api/email failed with 500\nresumed 120\n");
  const { inDlq, resumed } = await dlq.fates();
  assert.deepEqual([inDlq.length, resumed.length], [3, 120]);
});
