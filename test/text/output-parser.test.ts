/** Output to thinking, answer and tool calls, cut at every place where a stream may be cut. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { gatherOutput, type OutputEvent } from "../../src/text/output-events.ts";
import {
  MARKERS,
  OutputParser,
  type OutputParserOptions,
  startsInReasoning,
} from "../../src/text/output-parser.ts";

const FENCE = "```";
const [BEGIN, CALL, SEP, END, CALLS_END] = [
  "<｜tool▁calls▁begin｜>",
  "<｜tool▁call▁begin｜>",
  "<｜tool▁sep｜>",
  "<｜tool▁call▁end｜>",
  "<｜tool▁calls▁end｜>",
];
const v3Call = (name: string, args: string) =>
  `${CALL}function${SEP}${name}\n${FENCE}json\n${args}\n${FENCE}${END}`;
const v31Call = (name: string, args: string) => `${CALL}${name}${SEP}${args}${END}`;

const REASONING: OutputParserOptions = { startsInReasoning: true };
const V3: OutputParserOptions = { toolGrammar: "v3" };
const V31: OutputParserOptions = { toolGrammar: "v3.1" };

interface Expected {
  reasoning?: string;
  content?: string;
  /** name, arguments, and what is wrong with it. */
  calls?: [name: string, args: string, fault?: "cut" | "invalid"][];
  unclosed?: boolean;
}

const CASES: [what: string, options: OutputParserOptions, output: string, expected: Expected][] = [
  // The vectors of model.md section 15.
  ["a trace and an answer", REASONING, "I think</think>\n\nHi", { reasoning: "I think", content: "Hi" }],
  ["a trace without end", REASONING, "no end", { reasoning: "no end", unclosed: true }],
  ["a smaller-than sign", {}, "a < b", { content: "a < b" }],
  ["a trace that the output opens", {}, "<think>\nx</think>y", { reasoning: "x", content: "y" }],
  [
    "a call after a trace",
    { ...V3, ...REASONING },
    `ok</think>${BEGIN}${CALL}function${SEP}f\n${FENCE}json\n{"a":1}\n${FENCE}${END}${CALLS_END}`,
    { reasoning: "ok", calls: [["f", '{"a":1}']] },
  ],
  [
    "a bare fence",
    V3,
    `${BEGIN}${CALL}function${SEP}f\n${FENCE}{"a":1}${FENCE}${END}${CALLS_END}`,
    { calls: [["f", '{"a":1}']] },
  ],
  // The rules one by one.
  ["white space before the tag", {}, " \n<think>x</think> \n y ", { reasoning: "x", content: "y " }],
  ["white space and no tag", {}, " \n y ", { content: " \n y " }],
  ["nothing but white space", {}, " \n", { content: " \n" }],
  ["an empty output", {}, "", {}],
  ["an empty output in a trace", REASONING, "", { unclosed: true }],
  ["an empty trace", {}, "<think></think>\n\n", {}],
  ["one line feed after the tag goes, not two", {}, "<think>\n\nx</think>", { reasoning: "\nx" }],
  ["a second tag in content is text", {}, "a<think>b</think>c", { content: "a<think>b</think>c" }],
  [
    "a second tag after a trace is text",
    {},
    "<think>a</think><think>b",
    { reasoning: "a", content: "<think>b" },
  ],
  ["a tag in a trace is text", REASONING, "a<think>b</think>c", { reasoning: "a<think>b", content: "c" }],
  ["a half tag at the end", {}, "a</thi", { content: "a</thi" }],
  ["a half tag at the end of a trace", REASONING, "a</thi", { reasoning: "a</thi", unclosed: true }],
  ["a half opening tag at the start", {}, "<thin", { content: "<thin" }],
  ["half tags that begin anew", REASONING, "<<</</</think>b", { reasoning: "<<</</", content: "b" }],
  ["surrogate pairs", REASONING, "🙂🐀</think>🐀", { reasoning: "🙂🐀", content: "🐀" }],
  [
    "a call in a trace",
    { ...V3, ...REASONING },
    `a${BEGIN}${v3Call("f", "{}")}${CALLS_END}`,
    { reasoning: "a", calls: [["f", "{}"]], unclosed: true },
  ],
  [
    "text before and after calls",
    V3,
    `a\n${BEGIN}${v3Call("f", "{}")}${CALLS_END}b`,
    { content: "a\nb", calls: [["f", "{}"]] },
  ],
  [
    "two calls, a line feed between them",
    V3,
    `${BEGIN}${v3Call("f", '{"x": "```"}')}\n${v3Call("g", "[1,\n2]")}${CALLS_END}`,
    {
      calls: [
        ["f", '{"x": "```"}'],
        ["g", "[1,\n2]"],
      ],
    },
  ],
  [
    "V3.1: the name comes first",
    V31,
    `a${BEGIN}${v31Call("function", "{}")}${v31Call("g", '{"b":[]}')}${CALLS_END}`,
    {
      content: "a",
      calls: [
        ["function", "{}"],
        ["g", '{"b":[]}'],
      ],
    },
  ],
  [
    "V3.1 with space and a fence",
    V31,
    `${BEGIN}\n${CALL} f \n${SEP}\n${FENCE}json\n{}\n${FENCE}\n${END}\n${CALLS_END}`,
    { calls: [["f", "{}"]] },
  ],
  [
    "V3 without a fence",
    V3,
    `${BEGIN}${CALL}function${SEP} f \n {"a": 1} \n${END}${CALLS_END}`,
    { calls: [["f", '{"a": 1}']] },
  ],
  [
    "V3 on one line",
    V3,
    `${BEGIN}${CALL}function${SEP}f{"a": 1}${END}${CALLS_END}`,
    { calls: [["f", '{"a": 1}']] },
  ],
  [
    "V3 without a closing fence",
    V3,
    `${BEGIN}${CALL}function${SEP}f\n${FENCE}json\n{}\n${END}${CALLS_END}`,
    { calls: [["f", "{}"]] },
  ],
  [
    "V3 without a type",
    V3,
    `${BEGIN}${CALL}f\n${FENCE}json\n{}\n${FENCE}${END}${CALLS_END}`,
    { calls: [["f", "{}"]] },
  ],
  [
    "arguments that are no JSON",
    V31,
    `${BEGIN}${v31Call("f", "{'a': 1}")}${CALLS_END}`,
    { calls: [["f", "{'a': 1}", "invalid"]] },
  ],
  ["no arguments", V3, `${BEGIN}${v3Call("f", "")}${CALLS_END}`, { calls: [["f", "", "invalid"]] }],
  ["V3.1 without a separator", V31, `${BEGIN}${CALL}f${END}${CALLS_END}`, { calls: [["f", "", "invalid"]] }],
  [
    "text between calls is content",
    V3,
    `${BEGIN}${v3Call("f", "{}")}\nand \n${v3Call("g", "{}")}${CALLS_END}`,
    {
      content: "and \n",
      calls: [
        ["f", "{}"],
        ["g", "{}"],
      ],
    },
  ],
  [
    "cut in the arguments",
    V3,
    `${BEGIN}${v3Call("f", '{"a": "b c').split("\n```<")[0]}`,
    { calls: [["f", '{"a": "b c', "cut"]] },
  ],
  [
    "cut in the closing fence",
    V3,
    `${BEGIN}${CALL}function${SEP}f\n${FENCE}json\n{}\n${FENCE.slice(1)}`,
    { calls: [["f", "{}\n``", "cut"]] },
  ],
  [
    "cut after the closing fence",
    V3,
    `${BEGIN}${v3Call("f", "{}").replace(END, "")}\n`,
    { calls: [["f", "{}", "cut"]] },
  ],
  ["cut in the end marker", V31, `${BEGIN}${CALL}f${SEP}{}<｜tool`, { calls: [["f", "{}<｜tool", "cut"]] }],
  ["cut in the name", V3, `${BEGIN}${CALL}function${SEP}get_w`, { calls: [["get_w", "", "cut"]] }],
  ["cut in V3.1's name", V31, `${BEGIN}${CALL}get_w`, { calls: [["get_w", "", "cut"]] }],
  ["cut in the type, which is no name", V3, `${BEGIN}${CALL}functi`, {}],
  ["cut before a call", V3, `a${BEGIN}\n`, { content: "a" }],
  [
    "calls that end without the call's end",
    V31,
    `${BEGIN}${CALL}f${SEP}{}${CALLS_END}a`,
    { content: "a", calls: [["f", "{}", "cut"]] },
  ],
  [
    "a call that begins within a call",
    V31,
    `${BEGIN}${CALL}f${SEP}{}${v31Call("g", "{}")}${CALLS_END}`,
    {
      calls: [
        ["f", "{}", "cut"],
        ["g", "{}"],
      ],
    },
  ],
  ["a half begin marker at the end", V3, "a<｜tool▁calls▁beg", { content: "a<｜tool▁calls▁beg" }],
  [
    "no calls where the template has none",
    {},
    `${BEGIN}${v3Call("f", "{}")}`,
    { content: `${BEGIN}${v3Call("f", "{}")}` },
  ],
  [
    "raw text: tags and space stay",
    { reasoningFormat: "none" },
    " <think>\nx</think>\n\ny",
    { content: " <think>\nx</think>\n\ny" },
  ],
  [
    "raw text in a trace",
    { ...REASONING, reasoningFormat: "none" },
    "x</think>\n\ny",
    { content: "x</think>\n\ny" },
  ],
  [
    "raw text with calls",
    { ...V31, ...REASONING, reasoningFormat: "none" },
    `x</think>\n${BEGIN}${v31Call("f", "{}")}${CALLS_END}`,
    { content: "x</think>\n", calls: [["f", "{}"]] },
  ],
  [
    "legacy: raw content beside the trace",
    { reasoningFormat: "deepseek-legacy" },
    "<think>\nx</think>\n\ny",
    { reasoning: "x", content: "<think>\nx</think>\n\ny" },
  ],
  [
    "a prompt that ends in a tag and a line feed",
    { prompt: "…<think>\n" },
    "\nx</think>y",
    { reasoning: "\nx", content: "y" },
  ],
  [
    "a prompt that ends in a bare tag",
    { prompt: "…<think>" },
    "\nx</think>y",
    { reasoning: "x", content: "y" },
  ],
  ["a prompt whose tag is closed", { prompt: "…<think></think>" }, "y", { content: "y" }],
];

function parse(options: OutputParserOptions, deltas: readonly string[]): OutputEvent[] {
  const parser = new OutputParser(options);
  return [...deltas.flatMap((delta) => parser.push(delta)), ...parser.finish("stop")];
}

/** Neighbours of one kind become one; in the legacy format trace and content run side by side. */
function merged(events: readonly OutputEvent[], isLegacy = false): OutputEvent[] {
  const result: OutputEvent[] = [];
  for (const event of events) {
    const last = isLegacy ? result.find(({ kind }) => kind === event.kind) : result.at(-1);
    if ("text" in event && last?.kind === event.kind && "text" in last) last.text += event.text;
    else result.push({ ...event });
  }
  return result;
}

for (const [what, options, text, { reasoning = "", content = "", calls = [], unclosed = false }] of CASES) {
  test(`output: ${what}`, () => {
    const whole = parse(options, [text]);
    const output = gatherOutput(whole);
    assert.equal(output.reasoning, reasoning);
    assert.equal(output.content, content);
    const shown = output.toolCalls.map(({ name, arguments: args, complete, isValid }) =>
      complete && isValid ? [name, args] : [name, args, complete ? "invalid" : "cut"],
    );
    assert.deepEqual(shown, calls);
    assert.equal(output.unclosedReasoning, unclosed);
    assert.equal(output.reason, calls.some(([, , fault]) => fault !== "cut") ? "tool_calls" : "stop");

    const isLegacy = options.reasoningFormat === "deepseek-legacy";
    const expected = merged(whole, isLegacy);
    const same = (deltas: readonly string[]) =>
      assert.deepEqual(merged(parse(options, deltas), isLegacy), expected, JSON.stringify(deltas));
    for (let at = 0; at <= text.length; at++) same([text.slice(0, at), text.slice(at)]);
    for (let at = 0; at <= text.length; at += 3) {
      for (let to = at; to <= text.length; to += 5)
        same([text.slice(0, at), text.slice(at, to), text.slice(to)]);
    }
    same([...text]);
    same(text.split(""));
  });
}

const PIECES = [
  ...MARKERS,
  ...MARKERS,
  "\n",
  " ",
  "``",
  FENCE,
  `${FENCE}json\n`,
  "{}",
  '{"a": 1}',
  "f",
  "function",
  "<",
  "<｜tool",
  "think>",
  "🐀",
  "x y",
];

test("the events do not depend on where the output is cut, whatever it is", () => {
  const output = fc.array(fc.constantFrom(...PIECES), { maxLength: 16 }).map((parts) => parts.join(""));
  const options = fc.record({
    startsInReasoning: fc.boolean(),
    toolGrammar: fc.constantFrom("v3" as const, "v3.1" as const, "none" as const),
    reasoningFormat: fc.constantFrom("deepseek" as const, "none" as const),
  });
  fc.assert(
    fc.property(output, options, fc.array(fc.nat(12), { maxLength: 40 }), (text, chosen, lengths) => {
      const deltas: string[] = [];
      let at = 0;
      for (const length of lengths) {
        deltas.push(text.slice(at, at + length));
        at += length;
      }
      deltas.push(text.slice(at));
      assert.deepEqual(merged(parse(chosen, deltas)), merged(parse(chosen, [text])));
    }),
    { seed: 4, numRuns: 10_000 },
  );
});

test("content comes out as it comes in, less what may begin a marker", () => {
  const parser = new OutputParser(V3);
  const texts = ["a b", " <", "｜", "x"].map((delta) => gatherOutput(parser.push(delta)).content);
  assert.deepEqual(texts, ["a b", " ", "", "<｜x"]);
});

test("a call's events come as soon as they are certain", () => {
  const parser = new OutputParser({ ...V31, callId: (index) => `id${index}` });
  const of = (delta: string) => parser.push(delta);
  assert.deepEqual(of(`${BEGIN}${CALL}get_`), []);
  assert.deepEqual(of(`weather${SEP}`), [{ kind: "tool-call", index: 0, id: "id0", name: "get_weather" }]);
  assert.deepEqual(of('{"a":'), [{ kind: "tool-arguments", index: 0, text: '{"a":' }]);
  assert.deepEqual(of(" 1}\n"), [{ kind: "tool-arguments", index: 0, text: " 1}" }]);
  assert.deepEqual(of(END), [{ kind: "tool-call-end", index: 0, complete: true, isValid: true }]);
  assert.deepEqual(parser.finish("length"), [
    { kind: "finish", reason: "tool_calls", unclosedReasoning: false },
  ]);
});

test("finish() says length when no call closed", () => {
  const parser = new OutputParser(V31);
  parser.push(`${BEGIN}${CALL}f${SEP}{`);
  assert.deepEqual(parser.finish("length"), [
    { kind: "tool-call-end", index: 0, complete: false, isValid: false },
    { kind: "finish", reason: "length", unclosedReasoning: false },
  ]);
});

test("markers by id work, and their text then is text", () => {
  const parser = new OutputParser({ ...V31, byId: MARKERS });
  const events = [
    ...parser.push(" "),
    ...parser.pushMarker("<think>"),
    ...parser.push("\na</think>b</th"),
    ...parser.pushMarker("</think>"),
    ...parser.push("\nc<"),
    ...parser.pushMarker("<think>"),
    ...parser.pushMarker(BEGIN as never),
    ...parser.pushMarker(CALL as never),
    ...parser.push("f"),
    ...parser.pushMarker(SEP as never),
    ...parser.push(`{"a": "${END}"}`),
    ...parser.pushMarker(END as never),
    ...parser.pushMarker(CALLS_END as never),
    ...parser.finish("stop"),
  ];
  const output = gatherOutput(events);
  assert.equal(output.reasoning, "a</think>b</th");
  assert.equal(output.content, "c<<think>");
  assert.deepEqual(output.toolCalls, [
    { id: "call_0", name: "f", arguments: `{"a": "${END}"}`, complete: true, isValid: true },
  ]);
});

test("startsInReasoning() looks at the end of the prompt", () => {
  const prompts = ["<think>", "<think>\n", "<think>\n\n ", "a<think>b", "<think></think>", ""];
  assert.deepEqual(prompts.map(startsInReasoning), [true, true, true, false, false, false]);
});
