/** Servers that fail, each in its way; and that no message, no JSON and no error shows a key. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { EvaluationError, Interrupted } from "../../src/base/errors.ts";
import { type EndpointOptions, openEndpoint } from "../../src/eval/endpoint.ts";
import type { AnswerRequest } from "../../src/eval/target.ts";
import {
  type Misbehaviour,
  type OpenAiServer,
  type ServerOptions,
  startServer,
} from "../support/openai-server.ts";

const QUESTION: AnswerRequest = {
  prompt: { kind: "chat", messages: [{ role: "user", content: "What is 2 + 2?" }] },
  ...{ maxTokens: 20, temperature: 0, topP: 1, seed: 0, stop: [] },
};
const KEY = "sk-0123456789-geheim";

async function withServer<T>(
  options: ServerOptions,
  use: (
    server: OpenAiServer,
    open: (more?: Partial<EndpointOptions>) => ReturnType<typeof openEndpoint>,
  ) => Promise<T>,
): Promise<T> {
  const server = await startServer(options);
  const base = { url: server.url, name: "x", model: "mini", retries: 2, retryDelayMs: 1 };
  const targets: Awaited<ReturnType<typeof openEndpoint>>[] = [];
  const open = async (more: Partial<EndpointOptions> = {}) => {
    const target = await openEndpoint({ ...base, ...more });
    targets.push(target);
    return target;
  };
  try {
    return await use(server, open);
  } finally {
    for (const target of targets) await target.close();
    await server.close();
  }
}

async function errorOf(promise: Promise<unknown>): Promise<EvaluationError> {
  const error = await promise.then(
    () => assert.fail("no error"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof EvaluationError, String(error));
  return error;
}

const PASSING: [name: string, Misbehaviour, code: string, shown: RegExp][] = [
  [
    "429",
    { kind: "status", status: 429, headers: { "Retry-After": "0" } },
    "unreachable",
    /429 "status 429"/,
  ],
  [
    "500",
    { kind: "status", status: 500, body: "<h1>Oh\u0007</h1>" },
    "unreachable",
    /500 "<h1>Oh\\u0007<\/h1>"/,
  ],
  ["503 without a body", { kind: "status", status: 503, body: "" }, "unreachable", /answers 503, wanted/],
  ["408", { kind: "status", status: 408 }, "unreachable", /408/],
  [
    "a connection that breaks before an answer",
    { kind: "drop" },
    "unreachable",
    /cannot be reached \(ECONNRESET\)/,
  ],
  ["one that breaks within it", { kind: "cut" }, "unreachable", /breaks in the middle/],
  ["one that breaks after a byte", { kind: "cut", bytes: 1 }, "unreachable", /breaks in the middle/],
  ["malformed JSON", { kind: "malformed" }, "bad-answer", /wanted JSON/],
  ["no choices", { kind: "empty-choices" }, "bad-answer", /before a finish_reason/],
  ["HTML", { kind: "html" }, "bad-answer", /"<html><body>\\u001b\[31mWelcome to the gateway/],
  ["an empty body", { kind: "literal", body: "" }, "bad-answer", /before a finish_reason/],
  ["null", { kind: "literal", body: "null", type: "application/json" }, "bad-answer", /chat completion/],
  [
    "choices of another kind",
    { kind: "literal", body: 'data: {"choices": 7}\n\n' },
    "bad-answer",
    /chat completion/,
  ],
  [
    "[DONE] before a finish_reason",
    { kind: "literal", body: "data: [DONE]\n\n" },
    "bad-answer",
    /no finish_reason/,
  ],
  [
    "an end before a finish_reason",
    { kind: "literal", body: 'data: {"choices": [{"index": 0, "delta": {"content": "Fo"}}]}\n\n' },
    "bad-answer",
    /before a finish_reason/,
  ],
  [
    "an error within the stream",
    { kind: "literal", body: 'data: {"error": {"message": "out of memory"}}\n\n' },
    "unreachable",
    /with the error "out of memory"/,
  ],
  [
    "an error with a status within status 200",
    { kind: "literal", body: '{"error": {"message": "busy", "code": 429}}', type: "application/json" },
    "unreachable",
    /429 "busy"/,
  ],
];

for (const [name, fault, code, shown] of PASSING) {
  test(`answer() asks again after ${name}, and gives up with a code`, () =>
    withServer({ script: [fault, fault, { kind: "answer" }, fault, fault, fault] }, async (server, open) => {
      const target = await open();
      const answer = await target.answer(QUESTION);
      assert.deepEqual([answer.content, answer.attempts], ["Four.", 3]);
      // Through connections of its own: one that was used before and breaks is only stale.
      const error = await errorOf((await open()).answer(QUESTION));
      assert.equal(error.code, code);
      assert.match(error.message, shown);
      assert.ok(
        error.message.startsWith(`Cannot ask "mini" at "${server.url}", tried 3 times: `),
        error.message,
      );
      assert.match(error.message, /, wanted [a-z_A-Z ]+$/);
      assert.equal(server.log.length, 6);
    }));
}

const LASTING: [status: number, code: string][] = [
  [400, "question-refused"],
  [413, "question-refused"],
  [422, "question-refused"],
  [401, "not-authorised"],
  [403, "not-authorised"],
  [402, "refused"],
  [404, "refused"],
];

for (const [status, code] of LASTING) {
  test(`answer() does not ask again after ${status}`, () =>
    withServer({ script: [{ kind: "status", status }] }, async (server, open) => {
      const error = await errorOf((await open()).answer(QUESTION));
      assert.deepEqual([error.code, server.log.length], [code, 1]);
      assert.match(error.message, new RegExp(`it answers ${status} "status ${status}", wanted an answer$`));
    }));
}

test("answer() follows no redirect", async () => {
  await withServer({}, (other) =>
    withServer(
      { script: [{ kind: "status", status: 307, headers: { Location: `${other.url}/chat/completions` } }] },
      async (_, open) => {
        const error = await errorOf((await open({ apiKey: KEY })).answer(QUESTION));
        assert.equal(error.code, "refused");
        assert.match(error.message, /a redirect, which is not followed/);
        assert.equal(other.log.length, 0);
      },
    ),
  );
});

test("answer() waits as long as Retry-After says, not as the back-off would", () =>
  withServer(
    { script: [{ kind: "status", status: 429, headers: { "Retry-After": "0" } }, { kind: "answer" }] },
    async (_, open) => {
      // The back-off alone would be half an hour at least.
      const { attempts } = await (await open({ retryDelayMs: 3_600_000 })).answer(QUESTION);
      assert.equal(attempts, 2);
    },
  ));

test("answer() gives up a server that sends nothing, that stalls, that never ends", async () => {
  const cases: [Misbehaviour, Partial<EndpointOptions>, string, RegExp][] = [
    [{ kind: "silent" }, { timeoutMs: 40 }, "unreachable", /2 times: it sends nothing for 0.04 s/],
    [
      { kind: "stall" },
      { idleMs: 40 },
      "unreachable",
      /2 times: it stops in the middle of an answer for 0.04 s/,
    ],
    [
      { kind: "endless" },
      { maxSeconds: 0.08 },
      "bad-answer",
      /2 times: its answer does not end within 0.08 s/,
    ],
  ];
  for (const [fault, limits, code, shown] of cases) {
    await withServer({ script: [fault, fault] }, async (server, open) => {
      const target = await open({ ...limits, retries: 1 });
      const error = await errorOf(target.answer(QUESTION));
      assert.equal(error.code, code);
      assert.match(error.message, shown);
      await server.closed;
      assert.ok(server.log[0]!.wasClosed);
      assert.equal((await target.answer(QUESTION)).content, "Four.");
    });
  }
});

test("answer() of a server that is not there", async () => {
  const server = await startServer();
  await server.close();
  const target = await openEndpoint({
    url: server.url,
    name: "x",
    model: "mini",
    retries: 1,
    retryDelayMs: 1,
  });
  const error = await errorOf(target.answer(QUESTION));
  assert.equal(error.code, "unreachable");
  assert.match(error.message, /2 times: it cannot be reached \(ECONNREFUSED\)/);
  await target.close();
});

test("answer() is interrupted before, while nothing comes, and within a stream; the connection is closed", async () => {
  for (const kind of ["silent", "stall"] as const) {
    await withServer({ script: [{ kind }] }, async (server, open) => {
      const target = await open();
      await assert.rejects(target.answer(QUESTION, AbortSignal.abort()), Interrupted);
      assert.equal(server.log.length, 0);
      const controller = new AbortController();
      const answer = target.answer(QUESTION, controller.signal);
      const isAsked = setInterval(() => server.log.length > 0 && controller.abort(), 5);
      await assert.rejects(answer, Interrupted);
      clearInterval(isAsked);
      await server.closed;
      assert.equal(server.log.length, 1);
    });
  }
});

test("answer() counts no time in which it waits for a connection, and is interrupted there", () =>
  withServer({ script: [{ kind: "stall" }] }, async (server, open) => {
    const target = await open({ concurrency: 1, timeoutMs: 100, idleMs: 300, retries: 0 });
    const controller = new AbortController();
    const first = target.answer(QUESTION);
    const second = target.answer(QUESTION);
    const third = target.answer(QUESTION, controller.signal);
    controller.abort();
    await assert.rejects(third, Interrupted);
    assert.equal(server.log.length <= 1, true);
    assert.equal((await errorOf(first)).code, "unreachable");
    assert.equal((await second).content, "Four.");
    assert.equal(server.log.length, 2);
  }));

test("close() ends what is on its way", async () => {
  for (const kind of ["silent", "stall"] as const) {
    await withServer({ script: [{ kind }] }, async (server, open) => {
      const target = await open();
      const answer = target.answer(QUESTION);
      const isAsked = setInterval(() => server.log.length > 0 && target.close(), 5);
      await assert.rejects(answer, Interrupted);
      clearInterval(isAsked);
      await assert.rejects(target.answer(QUESTION), Interrupted);
      assert.equal(server.log.length, 1);
    });
  }
});

test("answer() takes a kept connection that the server has closed for nothing worse", () =>
  withServer({ script: [{ kind: "answer" }, { kind: "drop" }] }, async (server, open) => {
    const target = await open({ retries: 0 });
    await target.answer(QUESTION);
    const { content, attempts } = await target.answer(QUESTION);
    assert.deepEqual([content, attempts, server.log.length], ["Four.", 1, 3]);
  }));

test("answer() is complete with [DONE], though the connection stays open", () =>
  withServer({ script: [{ kind: "linger" }] }, async (server, open) => {
    const { content, tokens } = await (await open({ retries: 0 })).answer(QUESTION);
    assert.deepEqual([content, tokens], ["Four.", 3]);
    await server.closed;
  }));

test("answer() is complete with a finish_reason, though [DONE] is missing", () => {
  const answer = [
    'data: {"model": "m", "choices": [{"index": 0, "delta": {"content": "Four"}, "finish_reason": "stop"}]}',
    'data: {"choices": [], "usage": {"completion_tokens": 2}}',
  ].join("\n\n");
  return withServer({ script: [{ kind: "literal", body: answer }] }, async (_, open) => {
    const { content, tokens, finish, model } = await (await open()).answer(QUESTION);
    assert.deepEqual([content, tokens, finish, model], ["Four", 2, "stop", "m"]);
  });
});

test("answer() names the model that has answered, each time", () =>
  withServer({ renamedFrom: { answer: 1, name: "mini-2" } }, async (_, open) => {
    const target = await open();
    const models = [];
    for (let i = 0; i < 3; i++) models.push((await target.answer(QUESTION)).model);
    assert.deepEqual(models, ["mini", "mini-2", "mini-2"]);
  }));

test("answer() leaves out stream_options for a server that does not know it, from then on", () =>
  withServer({ isOld: true }, async (server, open) => {
    const target = await open();
    const { attempts, tokens } = await target.answer(QUESTION);
    assert.deepEqual([attempts, tokens], [1, undefined]);
    await target.answer(QUESTION);
    assert.deepEqual(
      server.log.map(({ body }) => body.stream_options !== undefined),
      [true, false, false],
    );
  }));

test("openEndpoint() takes the only model, and lists several", async () => {
  await withServer({ models: ["one"] }, async (server, open) => {
    const { model: _, ...rest } = { url: server.url, name: "x", model: "mini" };
    const target = await openEndpoint(rest);
    assert.deepEqual(target.identity, { kind: "endpoint", url: server.url, model: "one" });
    await target.close();
    assert.deepEqual((await open()).identity, { kind: "endpoint", url: server.url, model: "mini" });
  });
  const cases: [string[], RegExp][] = [
    [["one", "two", "\u001b[2J"], /it has 3: "one", "two", "\\u001b\[2J", wanted one$/],
    [[], /it lists no model, wanted one$/],
  ];
  for (const [models, shown] of cases) {
    await withServer({ models }, async ({ url }) => {
      const error = await errorOf(openEndpoint({ url, name: "x" }));
      assert.equal(error.code, "no-model");
      assert.match(error.message, shown);
    });
  }
});

test("likelihoods() of a server that cannot tell them", async () => {
  // Without log-probabilities; and one that refuses every echo.
  for (const echo of ["none", 2] as const) {
    await withServer({ echo }, async (_, open) => {
      const target = await open();
      const error = await errorOf(target.likelihoods!({ context: "a", continuations: [" b"] }));
      assert.equal(error.code, "no-likelihoods");
      assert.match(error.note ?? "", /letter/);
    });
  }
});

test("openEndpoint() sends a key, which stands in no error, no JSON, no inspection", () =>
  withServer(
    { apiKey: KEY, script: [{ kind: "status", status: 400, body: `{"detail": "You are ${KEY}"}` }] },
    async (server, open) => {
      const url = server.url.replace("http://", "http://user:passwort-geheim@");
      const target = await open({ url: `${url}?token=abfrage-geheim`, apiKey: `${KEY}\n` });
      const errors = [await errorOf(target.answer(QUESTION))];
      assert.equal((await target.answer(QUESTION)).content, "Four.");
      assert.equal(server.log[0]!.authorization, `Bearer ${KEY}`);
      assert.equal(server.log[0]!.url, "/v1/chat/completions?token=abfrage-geheim");
      // The server shows the key that it was given.
      errors.push(await errorOf((await open({ apiKey: `${KEY}-alt` })).answer(QUESTION)));
      assert.match(errors[1]!.message, /401 "Incorrect API key provided: …"/);
      errors.push(await errorOf(openEndpoint({ url, name: "x", apiKey: "geheim\nX-Evil: 1" })));
      assert.equal(errors[2]!.code, "bad-key");
      const all = [target, ...errors].map(
        (value) => `${inspect(value, { depth: 9 })} ${JSON.stringify(value)} ${value}`,
      );
      for (const error of errors) all.push(error.message, error.note ?? "", error.stack ?? "");
      for (const text of all) assert.doesNotMatch(text, /geheim/);
    },
  ));

test("openEndpoint() sends a user and a password as Basic where there is no key", () =>
  withServer({}, async (server, open) => {
    const target = await open({ url: server.url.replace("http://", "http://us%20er:pa:ss@") });
    await target.answer(QUESTION);
    const basic = Buffer.from("us er:pa:ss").toString("base64");
    assert.equal(server.log[0]!.authorization, `Basic ${basic}`);
    assert.deepEqual(target.identity, { kind: "endpoint", url: server.url, model: "mini" });
  }));
