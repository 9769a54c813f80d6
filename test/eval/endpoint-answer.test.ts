/** What servers write, and the answer that it is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AnswerReader, type ReadAnswer } from "../../src/eval/endpoint-answer.ts";
import { EndpointFault, shownText } from "../../src/eval/endpoint-fault.ts";
import type { AnswerRequest } from "../../src/eval/target.ts";

const CHAT: AnswerRequest["prompt"] = { kind: "chat", messages: [{ role: "user", content: "?" }] };

function read(chunks: unknown[], prompt: AnswerRequest["prompt"] = CHAT): ReadAnswer {
  const reader = new AnswerReader({ prompt: prompt, maxTokens: 1000 }, shownText);
  for (const chunk of chunks) reader.push(typeof chunk === "string" ? chunk : JSON.stringify(chunk));
  return reader.end();
}

/** A whole body with this message. */
function body(message: object, usage?: object, finish = "stop") {
  return { model: "m", choices: [{ index: 0, message, finish_reason: finish }], ...(usage ? { usage } : {}) };
}

type Wanted = [reasoning: string, content: string, opens: boolean, closes: boolean];
const TEXTS: [name: string, message: object, wanted: Wanted][] = [
  ["no trace", { content: "Four." }, ["", "Four.", false, false]],
  ["a trace apart", { reasoning_content: "2+2", content: "Four." }, ["2+2", "Four.", true, true]],
  ["under the other name", { reasoning: "2+2", content: "Four." }, ["2+2", "Four.", true, true]],
  ["under both", { reasoning: "2+2", reasoning_content: "2+2", content: "4" }, ["2+2", "4", true, true]],
  ["with its breaks", { reasoning_content: "\n2+2\n", content: "\n\nFour." }, ["2+2\n", "Four.", true, true]],
  ["an answer's own space stays", { content: "  Four." }, ["", "  Four.", false, false]],
  ["a trace alone", { reasoning_content: "2+2", content: null }, ["2+2", "", true, false]],
  ["an empty trace apart", { reasoning_content: "", content: "Four." }, ["", "Four.", false, false]],
  ["inline", { content: "<think>\n2+2\n</think>\n\nFour." }, ["2+2\n", "Four.", true, true]],
  ["inline, empty", { content: "<think>\n\n</think>\n\nFour." }, ["\n", "Four.", true, true]],
  ["inline, cut", { content: "<think>\n2+2" }, ["2+2", "", true, false]],
  ["inline, nothing behind it", { content: "<think>2+2</think>" }, ["2+2", "", true, true]],
  ["the opening tag in the prompt", { content: "\n2+2\n</think>\n\nFour." }, ["2+2\n", "Four.", true, true]],
  [
    "tags that are talked about",
    { content: "A <think> tag, </think>." },
    ["", "A <think> tag, </think>.", false, false],
  ],
  [
    "apart and inline",
    { reasoning_content: "2+2", content: "<think>\n2+2</think>\n\nFour." },
    ["2+2", "Four.", true, true],
  ],
  ["content of another kind", { content: [{ type: "text" }] }, ["", "", false, false]],
];

for (const [name, message, wanted] of TEXTS) {
  test(`AnswerReader ${name}`, () => {
    const { reasoning, content, opensThinking, closesThinking } = read([body(message)]);
    assert.deepEqual([reasoning, content, opensThinking, closesThinking], wanted);
  });
}

type Counts = [
  tokens: number | undefined,
  thinking: number | undefined,
  isEstimated: boolean,
  opens: boolean,
];
const details = (reasoning_tokens: unknown) => ({ completion_tokens_details: { reasoning_tokens } });
const TRACE = { reasoning_content: "x".repeat(30), content: "y".repeat(10) };
const USAGE: [name: string, message: object, usage: object | undefined, wanted: Counts][] = [
  ["none", TRACE, undefined, [undefined, undefined, false, true]],
  ["told", TRACE, { completion_tokens: 20, ...details(12) }, [20, 12, false, true]],
  ["the sum alone", TRACE, { completion_tokens: 20 }, [20, 15, true, true]],
  ["details without a number", TRACE, { completion_tokens: 20, ...details(null) }, [20, 15, true, true]],
  ["0, though there is a trace", TRACE, { completion_tokens: 20, ...details(0) }, [20, 15, true, true]],
  ["without a trace", { content: "4" }, { completion_tokens: 2 }, [2, 0, false, false]],
  [
    "a trace that is not shown",
    { content: "4" },
    { completion_tokens: 20, ...details(18) },
    [20, 18, false, true],
  ],
  ["more of it than of all", TRACE, { completion_tokens: 20, ...details(50) }, [20, 20, false, true]],
  ["no numbers", TRACE, { completion_tokens: "20" }, [undefined, undefined, false, true]],
];

for (const [name, message, usage, wanted] of USAGE) {
  test(`AnswerReader usage: ${name}`, () => {
    const { tokens, thinkingTokens, isEstimated, opensThinking } = read([body(message, usage)]);
    assert.deepEqual([tokens, thinkingTokens, isEstimated, opensThinking], wanted);
  });
}

test("AnswerReader a trace that is not shown is closed by content", () => {
  const usage = { completion_tokens: 20, ...details(20) };
  assert.equal(read([body({ content: "" }, usage, "length")]).closesThinking, false);
  assert.equal(read([body({ content: "4" }, usage)]).closesThinking, true);
});

test("AnswerReader a stream: pieces, other choices, fields of no interest, what comes after [DONE]", () => {
  const delta = (index: number, fields: object, finish_reason: string | null = null) => ({
    model: "m",
    choices: [{ index, delta: fields, finish_reason }],
  });
  const answer = read([
    delta(0, { role: "assistant", content: null }),
    { choices: [] },
    delta(0, { reasoning_content: "2" }),
    delta(1, { content: "Another" }),
    delta(0, { reasoning_content: "+2", content: "" }),
    { object: "ping" },
    delta(0, { content: "Fo" }),
    delta(0, { content: "ur" }, "content_filter"),
    delta(1, {}, "stop"),
    { model: "m2", choices: [], usage: { completion_tokens: 4 } },
    "[DONE]",
    "{malformed",
  ]);
  assert.deepEqual(answer, {
    ...{ reasoning: "2+2", content: "Four", opensThinking: true, closesThinking: true },
    ...{ finish: "content_filter", tokens: 4, thinkingTokens: 2, isEstimated: true, model: "m2" },
  });
});

test("AnswerReader a raw prompt: all of it content, and whether a trace is opened and closed", () => {
  const raw = (text: string, output: string) => {
    const { content, reasoning, opensThinking, closesThinking } = read(
      [{ choices: [{ index: 0, text: output, finish_reason: "stop" }] }],
      { kind: "raw", text },
    );
    assert.deepEqual([content, reasoning], [output, ""]);
    return [opensThinking, closesThinking];
  };
  assert.deepEqual(raw("A", " \nFour."), [false, false]);
  assert.deepEqual(raw("A", "<think>\n2"), [true, false]);
  assert.deepEqual(raw("A", "<think>\n2</think>\n"), [true, true]);
  assert.deepEqual(raw("A<think>\n", "2"), [true, false]);
  assert.deepEqual(raw("A<think>\n", "2</think>4"), [true, true]);
});

test("AnswerReader faults of an error within status 200", () => {
  const cases: [unknown, string, boolean][] = [
    [{ error: { message: "busy", code: 429 } }, "unreachable", true],
    [{ error: { message: "no", code: "401" } }, "not-authorised", false],
    [{ error: { message: "long", status: 400 } }, "question-refused", false],
    [{ error: { message: "odd", code: "overloaded" } }, "unreachable", true],
    [{ error: "odd" }, "unreachable", true],
  ];
  for (const [chunk, code, isPassing] of cases) {
    assert.throws(
      () => read([chunk]),
      (fault) => fault instanceof EndpointFault && fault.code === code && fault.isPassing === isPassing,
    );
  }
});
