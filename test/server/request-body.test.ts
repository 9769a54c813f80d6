/** readJson() and parseBody(): limits, and faults with their places. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { ApiError } from "../../src/server/api-error.ts";
import { parseBody, readJson } from "../../src/server/request-body.ts";

const request = (body: string | Uint8Array<ArrayBuffer> | ReadableStream | null, type = "application/json") =>
  new Request("http://localhost/", {
    ...{ method: "POST", body, headers: { "content-type": type } },
    ...(body instanceof ReadableStream ? { duplex: "half" as const } : {}),
  });

async function fails(action: Promise<unknown>, status: number, pattern: RegExp): Promise<void> {
  await assert.rejects(action, (error) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.status, status);
    assert.match(error.message, pattern);
    return true;
  });
}

describe("readJson()", () => {
  test("reads whatever JSON there is, however it is cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.json({ maxDepth: 5 }), fc.integer({ min: 1, max: 9 }), async (text, size) => {
        const bytes = new TextEncoder().encode(text);
        const body = new ReadableStream({
          start: (controller) => {
            for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
            controller.close();
          },
        });
        assert.deepEqual(await readJson(request(body)), JSON.parse(text));
      }),
      { numRuns: 50 },
    );
  });

  test("takes JSON alone, by its type in any form", async () => {
    for (const type of ["application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"])
      assert.equal(await readJson(request("1", type)), 1);
    for (const type of [
      "text/json",
      "application/jsonp",
      "application/json+x",
      "text/plain, application/json",
    ])
      await fails(readJson(request("1", type)), 415, /wanted application\/json/);
  });

  test("holds its limits to the byte and to the level", async () => {
    assert.equal(await readJson(request('"abcde"'), { bytes: 7 }), "abcde");
    await fails(readJson(request('"abcdef"'), { bytes: 7 }), 413, /longer than 7 bytes/);
    assert.deepEqual(await readJson(request('{"a":[["]]]]]]"]]}'), { depth: 3 }), { a: [["]]]]]]"]] });
    await fails(readJson(request('{"a":[[[]]]}'), { depth: 3 }), 400, /4 levels deep, wanted at most 3/);
    assert.equal(await readJson(request('"\\"[[[[["'), { depth: 1 }), '"[[[[[');
    assert.equal(await readJson(request('"\\\\"'), { depth: 1 }), "\\");
    await fails(readJson(request(`"\\\\"${"[".repeat(5)}`), { depth: 4 }), 400, /5 levels/);
  });

  test("tells what is no JSON, and no UTF-8", async () => {
    await fails(readJson(request("")), 400, /as JSON/);
    await fails(readJson(request(null)), 400, /as JSON/);
    await fails(readJson(request("{]")), 400, /as JSON/);
    await fails(readJson(request(new Uint8Array([0x22, 0xc3, 0x22]))), 400, /not UTF-8/);
  });
});

describe("parseBody()", () => {
  const SCHEMA = z.strictObject({
    size: z.int().nullish(),
    parts: z.array(z.strictObject({ name: z.string() })),
  });
  const cases: [body: unknown, param: string | undefined, message: RegExp][] = [
    [{ parts: [], sise: 1 }, "sise", /: sise, did you mean size\?$/],
    [{ parts: [{ name: "a" }, { name: "b", nam: 1 }] }, "parts.1.nam", /parts\.1\.nam$/],
    [{ parts: [{}] }, "parts.0.name", /^"parts\.0\.name": /],
    [{ parts: [], size: 1.5 }, "size", /^"size": /],
    [[], undefined, /^The body: /],
  ];
  for (const [body, param, message] of cases)
    test(`${JSON.stringify(body)} is at fault at ${param}`, () => {
      assert.throws(
        () => parseBody(SCHEMA, body),
        (error) => {
          assert.ok(error instanceof ApiError);
          assert.equal(error.details.param, param);
          assert.match(error.message, message);
          return true;
        },
      );
    });

  test("a long value is not told back whole", () => {
    const long = "x".repeat(100_000);
    for (const body of [{ parts: long }, { parts: [], [long]: 1 }, { parts: [], size: long }])
      assert.throws(
        () => parseBody(SCHEMA, body),
        (error) => error instanceof ApiError && error.message.length < 500,
      );
  });
});
