// Sends the calls that it reads from standard input, as JSON, by Upstash's SDK:
// [{ "baseUrl", "token", "method", "request", "options" }]. What they answer is for others to judge.
import { json } from "node:stream/consumers";

import { Client } from "@upstash/workflow";

for (const { baseUrl, token, method, request, options } of await json(process.stdin)) {
  const { dlq } = new Client({ baseUrl, token, retry: false });
  await dlq[method](request, options).catch((error) => console.warn(`${method}: ${error.message}`));
}
