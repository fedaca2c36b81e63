// One simulator process for the test file that imports this, and DLQs in it that no two tests share.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

import { Client as QstashClient } from "@upstash/qstash";
import { Client as WorkflowClient } from "@upstash/workflow";

export const { api, admin } = await start();

async function start() {
  const child = spawn(fileURLToPath(new URL("../simulator", import.meta.url)), {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  after(async () => {
    child.ref();
    child.stdin.end();
    await ended;
  });
  for await (const line of createInterface({ input: child.stdout })) {
    // A test file that cannot be loaded runs no `after`: the simulator must not keep its process alive then.
    for (const handle of [child, child.stdin, child.stdout]) {
      handle.unref();
    }
    return JSON.parse(line);
  }
  throw new Error("the simulator ended before it said where it listens");
}

async function callAdmin(method, path, body) {
  const response = await fetch(admin + path, { method, body: body && JSON.stringify(body) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

const NEWEST_FIRST = process.env.DLQ_SIMULATOR_ORDER === "newestFirst";

/** IDs from the oldest failure to the newest, as a simulator lists them that was started with this order. */
export function inOrder(dlqIds) {
  return NEWEST_FIRST ? dlqIds.toReversed() : dlqIds;
}

let made = 0;

/** A DLQ with a token of its own. */
export async function newDlq() {
  const dlq = new Dlq(`dlq-${++made}`);
  await dlq.newToken({ name: dlq.token });
  return dlq;
}

class Dlq {
  constructor(name) {
    this.name = name;
    this.token = `token-of-${name}`;
  }

  async newToken({ name, readOnly = false }) {
    await callAdmin("PUT", `/tokens/${name}`, { dlq: this.name, readOnly });
    return name;
  }

  /** `@upstash/workflow`'s calls on this DLQ. */
  workflow(config) {
    return new WorkflowClient(this.#config(config)).dlq;
  }

  /** `@upstash/qstash`'s calls on this DLQ. */
  qstash(config) {
    return new QstashClient(this.#config(config)).dlq;
  }

  #config(config) {
    return { baseUrl: api, token: this.token, retry: false, devMode: false, ...config };
  }

  /** Seeds entries and returns their IDs. */
  async seed(...entries) {
    return (await callAdmin("POST", `/dlqs/${this.name}/entries`, { entries })).dlqIds;
  }

  /** Seeds a number of like entries and returns their IDs. */
  async generate(count, entry = {}) {
    return (await callAdmin("POST", `/dlqs/${this.name}/entries`, { generate: { count, entry } })).dlqIds;
  }

  /** Lets calls on this DLQ go wrong: a rule of the admin port without its `dlq`. */
  async fault(rule) {
    await callAdmin("POST", "/faults", { rules: [{ dlq: this.name, ...rule }] });
  }

  /** Sets the switches of this DLQ, such as `{ order: "newestFirst" }`. */
  async service(switches) {
    await callAdmin("PUT", `/dlqs/${this.name}/service`, switches);
  }

  async ledger() {
    return callAdmin("GET", `/dlqs/${this.name}/ledger`);
  }

  async calls() {
    return (await this.ledger()).calls;
  }

  /** The only call there was, with its query as pairs in their order. */
  async onlyCall() {
    const calls = await this.calls();
    assert.equal(calls.length, 1, `one call was made, not ${calls.map((call) => call.path)}`);
    return { ...calls[0], query: [...new URLSearchParams(calls[0].query)] };
  }

  /** The IDs that met each fate, such as `{ inDlq: ["a"], resumed: ["b"] }`. */
  async fates() {
    const byFate = {};
    for (const { dlqId, fate } of (await this.ledger()).entries) {
      (byFate[fate] ??= []).push(dlqId);
    }
    return byFate;
  }
}
