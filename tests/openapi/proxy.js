// A simulator with Prism in front of it, for the test file that imports this, and DLQs that no two tests share.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { request } from "node:http";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
export const description = `${root}simulator/openapi.yaml`;

const { api, admin } = await start("tests/sdk/simulator", [], (line) => JSON.parse(line));
const prism = await start("tests/openapi/prism", [api], (line) => /listening on (http:\S+)/.exec(line)?.[1]);

/** Starts a program that ends with its input, and gives what one of its first lines says. */
async function start(program, args, read) {
  const child = spawn(root + program, args, { stdio: ["pipe", "pipe", "inherit"] });
  after(() => child.stdin.end());
  const said = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = read(line);
      if (found) {
        resolve(found);
      }
    });
    child.once("exit", () => reject(new Error(`${program} ended before it said where it listens`)));
  });
  for (const handle of [child, child.stdin, child.stdout]) {
    handle.unref();
  }
  return said;
}

async function callAdmin(method, path, body) {
  const response = await fetch(admin + path, { method, body: JSON.stringify(body) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

let made = 0;

/** A DLQ with a token of its own. */
export async function newDlq() {
  const dlq = new Dlq(`dlq-${++made}`);
  await callAdmin("PUT", `/tokens/${dlq.name}`, {});
  return dlq;
}

class Dlq {
  constructor(name) {
    this.name = name;
  }

  async seed(...entries) {
    await callAdmin("POST", `/dlqs/${this.name}/entries`, { entries });
  }

  /** Lets the simulator answer every call with this. */
  async answer(status) {
    await callAdmin("POST", "/faults", { rules: [{ dlq: this.name, fault: { status } }] });
  }

  async calls() {
    return (await callAdmin("GET", `/dlqs/${this.name}/ledger`)).calls;
  }

  /** A call by way of Prism; `target` goes out as it is written here. */
  call(method, target, { headers, body } = {}) {
    return this.#send(prism, method, target, headers, body);
  }

  /** The same call without Prism. */
  callDirectly(method, target, { headers, body } = {}) {
    return this.#send(api, method, target, headers, body);
  }

  #send(base, method, target, headers, body) {
    const { hostname, port } = new URL(base);
    // Left to itself, Node.js does not announce the body of a DELETE.
    const length = body && { "content-length": Buffer.byteLength(body) };
    const all = { authorization: `Bearer ${this.name}`, ...length, ...headers };
    return new Promise((resolve, reject) => {
      const sent = request({ hostname, port, method, path: target, headers: all }, async (response) => {
        const chunks = await response.toArray();
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode, headers: response.headers, text });
      });
      sent.on("error", reject);
      sent.end(body);
    });
  }
}
