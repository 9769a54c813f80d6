/** Asking again: when, how often, after how long. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Interrupted } from "../../src/base/errors.ts";
import { EndpointFault, faultOfStatus, shownText } from "../../src/eval/endpoint-fault.ts";
import { parseRetryAfter, retrying } from "../../src/eval/retry.ts";

test("parseRetryAfter() seconds and HTTP dates, up to a minute; nothing else", () => {
  const now = Date.UTC(2026, 0, 2, 3, 4, 5);
  const cases: [string | undefined, number | undefined][] = [
    [undefined, undefined],
    ["0", 0],
    [" 7 ", 7000],
    ["1.5", 1500],
    ["3600", 60_000],
    ["99999999999999999999", 60_000],
    ["-1", undefined],
    ["", undefined],
    ["soon", undefined],
    ["Fri, 02 Jan 2026 03:04:15 GMT", 10_000],
    ["Fri, 02 Jan 2026 03:04:00 GMT", 0],
    ["Sat, 03 Jan 2026 03:04:05 GMT", 60_000],
    ["Fri, 99 Jan 2026 03:04:05 GMT", undefined],
  ];
  for (const [text, wanted] of cases) assert.equal(parseRetryAfter(text, now), wanted, String(text));
});

test("retrying() counts its tries, ends with the last fault, and asks no more after one for good", async () => {
  const passing = new EndpointFault("unreachable", "it is away");
  let asked = 0;
  const third = async () => {
    if (++asked < 3) throw passing;
    return "here";
  };
  assert.deepEqual(await retrying(third, { retries: 2, delayMs: 1 }), { value: "here", attempts: 3 });

  asked = 0;
  await assert.rejects(retrying(third, { retries: 1, delayMs: 1 }), passing);
  assert.equal(asked, 2);

  const lasting = faultOfStatus(401, "");
  asked = 0;
  const refused = async () => {
    asked++;
    throw lasting;
  };
  await assert.rejects(retrying(refused, { retries: 5, delayMs: 1 }), lasting);
  assert.equal(asked, 1);
});

test("retrying() is interrupted in a pause, and before the first try", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const fail = async () => {
    setImmediate(() => controller.abort());
    throw new EndpointFault("unreachable", "it is away", { retryAfterMs: 60_000 });
  };
  await assert.rejects(retrying(fail, { retries: 1, delayMs: 1, signal }), Interrupted);
  const never = () => assert.fail("asked");
  await assert.rejects(retrying(never, { retries: 1, delayMs: 1, signal }), Interrupted);
});

test("faultOfStatus() a code for each status, and whether it passes", () => {
  const cases: [number, string, boolean][] = [
    [400, "question-refused", false],
    [401, "not-authorised", false],
    [402, "refused", false],
    [403, "not-authorised", false],
    [404, "refused", false],
    [408, "unreachable", true],
    [413, "question-refused", false],
    [422, "question-refused", false],
    [425, "unreachable", true],
    [429, "unreachable", true],
    [500, "unreachable", true],
    [503, "unreachable", true],
    [307, "refused", false],
  ];
  for (const [status, code, isPassing] of cases) {
    const fault = faultOfStatus(status, "");
    assert.deepEqual([fault.code, fault.isPassing], [code, isPassing], String(status));
  }
});

test("shownText() one line, escaped, cut, without secrets wherever they stand", () => {
  assert.equal(shownText("a\r\n\tb \u001b[31mc\u202e"), "a b \\u001b[31mc\\u202e");
  assert.equal(shownText("x".repeat(500)), `${"x".repeat(200)}…`);
  // The cut would leave a part of the key.
  const echoed = `${"x".repeat(195)}secret-key and secret-key`;
  assert.equal(shownText(echoed, ["secret-key"]), `${"x".repeat(195)}… and…`);
});
