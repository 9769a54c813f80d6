/** Requests that are wrong in hundreds of ways: each is told so in the protocol's shape, and the server goes on. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { discover } from "../../src/server/discover.ts";
import { type OpenServing, openServing } from "../../src/server/open-serving.ts";

const CHAT = {
  model: "mini-r1",
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "What is 1 + 1?" }] },
  ],
  ...{ temperature: 0.5, top_p: 0.9, seed: 1, stop: ["x"], max_tokens: 1, n: 1, stream: false },
  ...{ logprobs: true, top_logprobs: 1, logit_bias: { "5": 1 }, response_format: { type: "text" } },
  ...{ presence_penalty: 0, frequency_penalty: 0, stream_options: null, user: "u" },
};
const COMPLETION = {
  ...{ model: "mini-r1", prompt: "What is", max_tokens: 1, temperature: 0, echo: true, logprobs: 1 },
  ...{ n: 1, best_of: 1, seed: 1, stop: null, stream: false },
};
const ROUTES = [
  ["/v1/chat/completions", CHAT],
  ["/v1/completions", COMPLETION],
] as const;
const NUM_RUNS = 300;
const LONG = 10_000_000;

let serving: OpenServing;
const faults: string[] = [];
before(async () => {
  const log = {
    info: () => {},
    error: (event: string, data?: object) => faults.push(JSON.stringify({ event, data })),
  };
  const models = { idleMs: 0, model: { threads: 1 } };
  serving = await openServing(discover(["models/mini-r1"]), { log, models, maxTokens: 2 });
});
after(() => serving.close());

async function post(
  path: string,
  body: string | Uint8Array<ArrayBuffer>,
): Promise<{ status: number; text: string }> {
  const headers = { host: "localhost", "content-type": "application/json" };
  const response = await serving.app.request(path, { method: "POST", headers, body });
  return { status: response.status, text: await response.text() };
}

/** A 4xx in the shape of all errors. */
function assertRefused({ status, text }: { status: number; text: string }, what: string): void {
  assert.ok(status >= 400 && status < 500, `${status} to ${what}: ${text.slice(0, 300)}`);
  const { error } = JSON.parse(text) as { error: Record<string, unknown> };
  assert.equal(typeof error.message, "string", what);
  assert.equal(typeof error.type, "string", what);
  assert.ok("param" in error && "code" in error, what);
}

for (const [path, valid] of ROUTES) {
  test(`${path}: the valid one is answered`, async () => {
    const { status, text } = await post(path, JSON.stringify(valid));
    assert.equal(status, 200, text);
  });

  test(`${path}: any value at any key is refused or answered, never a fault of the server`, async () => {
    const key = fc.constantFrom(...Object.keys(valid));
    await fc.assert(
      fc.asyncProperty(key, fc.jsonValue({ maxDepth: 3 }), async (name, value) => {
        const body = JSON.stringify({ ...valid, [name]: value });
        const answer = await post(path, body);
        if (answer.status !== 200) assertRefused(answer, body);
      }),
      { numRuns: NUM_RUNS, seed: 1 },
    );
  });

  test(`${path}: an object of a wrong kind at any key is refused`, async () => {
    for (const name of Object.keys(valid)) {
      if (name === "logit_bias") continue; // an object it is
      const body = JSON.stringify({ ...valid, [name]: { no: "such" } });
      assertRefused(await post(path, body), body);
    }
  });

  test(`${path}: bodies that are cut or have a key too many are refused`, async () => {
    const whole = JSON.stringify(valid);
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), async (length) => {
        assertRefused(await post(path, whole.slice(0, length)), `${length} characters`);
      }),
      { numRuns: NUM_RUNS, seed: 2 },
    );
    const strange = fc.string({ minLength: 1 }).filter((name) => /^[a-z]+$/.test(name) && name.length > 3);
    await fc.assert(
      fc.asyncProperty(strange, async (name) => {
        const body = JSON.stringify({ ...valid, [`x_${name}`]: 1 });
        assertRefused(await post(path, body), body);
      }),
      { numRuns: 20, seed: 3 },
    );
  });

  test(`${path}: bytes that are changed are refused or answered`, async () => {
    const bytes = new TextEncoder().encode(JSON.stringify(valid));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(255), async (at, byte) => {
        const changed = bytes.slice();
        changed[at] = byte;
        const answer = await post(path, changed);
        if (answer.status !== 200) assertRefused(answer, `byte ${byte} at ${at}`);
      }),
      { numRuns: NUM_RUNS, seed: 4 },
    );
  });

  test(`${path}: 10 MB of prompt, and what is 100,000 levels deep, are refused`, async () => {
    const prompt = "a".repeat(LONG);
    const long = "messages" in valid ? { messages: [{ role: "user", content: prompt }] } : { prompt };
    assertRefused(await post(path, JSON.stringify({ ...valid, ...long })), "10 MB");
    const deep = `{"model": "mini-r1", "messages": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
    assertRefused(await post(path, deep), "depth");
  });
}

test("after all that nothing is under way, and no fault was met", () => {
  assert.deepEqual(faults, []);
  assert.equal(serving.serving.models.get("mini-r1").numRequests, 0);
});
