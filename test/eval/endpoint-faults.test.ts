/** Servers that answer wrongly, each in its way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Misbehaviour } from "../support/misbehaviour.ts";
import { errorOf, QUESTION, withServer } from "./with-server.ts";

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

test("answer() waits as long as Retry-After says, not as the back-off would", () =>
  withServer(
    { script: [{ kind: "status", status: 429, headers: { "Retry-After": "0" } }, { kind: "answer" }] },
    async (_, open) => {
      // The back-off alone would be half an hour at least.
      const { attempts } = await (await open({ retryDelayMs: 3_600_000 })).answer(QUESTION);
      assert.equal(attempts, 2);
    },
  ));

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
