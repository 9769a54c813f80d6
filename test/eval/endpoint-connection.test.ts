/** Connections that stay silent, break, wait, are closed or interrupted. */
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { Interrupted } from "../../src/base/errors.ts";
import { type EndpointOptions, openEndpoint } from "../../src/eval/endpoint.ts";
import type { Misbehaviour } from "../support/misbehaviour.ts";
import { startServer } from "../support/openai-server.ts";
import { errorOf, QUESTION, withServer } from "./with-server.ts";

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
      { maxSeconds: 0.02 },
      "bad-answer",
      /2 times: its answer (does not end within 0.02 s|has more than 11280 characters)/,
    ],
    // By its length, whatever time it is given: 64 characters for each of the 20 tokens, and some to spare.
    [{ kind: "endless" }, {}, "bad-answer", /2 times: its answer has more than 11280 characters and no end/],
  ];
  for (const [fault, limits, code, shown] of cases) {
    await withServer({ script: [fault, fault] }, async (server, open) => {
      const target = await open({ ...limits, retries: 1 });
      const error = await errorOf(target.answer(QUESTION));
      assert.equal(error.code, code);
      assert.match(error.message, shown);
      await server.closed;
      assert.ok(server.log[0]!.wasClosed);
      assert.equal((await (await open()).answer(QUESTION)).content, "Four.");
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
    const target = await open({ concurrency: 1, timeoutMs: 500, idleMs: 800, retries: 0 });
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

test("answer() warns of nothing with many questions and one signal, and leaves no listener", () =>
  withServer({}, async (_, open) => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    const { signal } = new AbortController();
    const target = await open({ concurrency: 20 });
    await Promise.all(Array.from({ length: 20 }, () => target.answer(QUESTION, signal)));
    await new Promise(setImmediate); // warnings come a tick later
    process.off("warning", onWarning);
    assert.deepEqual(warnings, []);
    assert.deepEqual(getEventListeners(signal, "abort"), []);
  }));

test("close() ends what is on its way", async () => {
  for (const kind of ["silent", "stall"] as const) {
    await withServer({ script: [{ kind }] }, async (server, open) => {
      const target = await open({ concurrency: 1 });
      const answer = target.answer(QUESTION);
      const waiting = assert.rejects(target.answer(QUESTION), Interrupted);
      const isAsked = setInterval(() => server.log.length > 0 && target.close(), 5);
      await assert.rejects(answer, Interrupted);
      clearInterval(isAsked);
      await waiting;
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
