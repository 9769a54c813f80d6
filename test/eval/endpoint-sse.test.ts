/** Server-sent events: what the format allows, in any cut. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_LINE, SseParser } from "../../src/eval/sse.ts";

/** Bytes and the events that they are. */
const CASES: [name: string, text: string, events: string[]][] = [
  ["line feeds", "data: a\n\ndata: b\n\n", ["a", "b"]],
  ["CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]],
  ["carriage returns", "data: a\r\rdata: b\r\r", ["a", "b"]],
  ["lines of all kinds", "data: a\r\ndata: b\rdata: c\n\r\n", ["a\nb\nc"]],
  ["comments and other fields", ": ping\n\nevent: x\nid: 7\nretry: 1\ndata: a\n: again\n\n", ["a"]],
  ["an event without data", "event: x\n\n\n\n", []],
  ["several lines of data", 'data: {"a":\ndata:  1}\n\n', ['{"a":\n 1}']],
  ["no space, and no colon", "data:a\n\ndata\n\n", ["a", ""]],
  ["a field that only begins so", "database: a\n\n", []],
  ["a byte order mark", "\ufeffdata: a\n\n", ["a"]],
  ["characters of two to four bytes", "data: é 中 🙂\n\n", ["é 中 🙂"]],
  ["no end of the last event", "data: a\n\ndata: b", ["a", "b"]],
  ["nothing", "", []],
];

for (const [name, text, wanted] of CASES) {
  test(`SseParser ${name}, in all pairs of cuts`, () => {
    const bytes = new TextEncoder().encode(text);
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second++) {
        const parser = new SseParser();
        const parts = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
        const events = [...parts.flatMap((part) => parser.push(part)), ...parser.end()];
        assert.deepEqual(events, wanted, `cut at ${first} and ${second}`);
      }
    }
  });
}

test("SseParser gives an event as soon as it is complete", () => {
  const parser = new SseParser();
  const push = (text: string) => parser.push(new TextEncoder().encode(text));
  assert.deepEqual(push("data: a\n"), []);
  assert.deepEqual(push("\nda"), ["a"]);
  assert.deepEqual(push("ta: b\n\n"), ["b"]);
});

test("SseParser limits a line and an event", () => {
  const megabyte = new TextEncoder().encode("x".repeat(2 ** 20));
  const line = new SseParser();
  assert.throws(() => {
    for (let i = 0; i <= MAX_LINE / 2 ** 20; i++) line.push(megabyte);
  }, /RangeError: a line is longer than/);
  const event = new SseParser();
  const data = new TextEncoder().encode(`data: ${"x".repeat(2 ** 20)}\n`);
  assert.throws(() => {
    for (let i = 0; i <= MAX_LINE / 2 ** 20; i++) event.push(data);
  }, /RangeError: an event is longer than/);
});
