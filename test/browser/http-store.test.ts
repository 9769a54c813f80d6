/** Checkpoints of a server of files, against a real one on this machine. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { CheckpointError } from "../../src/base/errors.ts";
import { HttpStore, type HttpStoreOptions } from "../../src/browser/http-store.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type ServedFolder, serveFolder } from "./serve-folder.ts";

const CONTENT = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) & 255);

async function storeOf(
  t: TestContext,
  options: Partial<HttpStoreOptions> = {},
): Promise<{ store: HttpStore; served: ServedFolder }> {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "a b.bin"), CONTENT);
  const served = await serveFolder(t, folder);
  const sha256 = createHash("sha256").update(CONTENT).digest("hex");
  const files = [
    { name: "z.bin", byteLength: 5, sha256: "0".repeat(64) },
    { name: "a b.bin", byteLength: CONTENT.length, sha256 },
  ];
  return { store: new HttpStore("/models/small", { url: served.url, files, ...options }), served };
}

async function faultOf(action: Promise<unknown>): Promise<string> {
  const error = await action.then(
    () => assert.fail("nothing was wrong"),
    (error: CheckpointError) => error,
  );
  assert.equal(error.name, "CheckpointError", error.stack);
  return `${error.code}: ${error.message}`;
}

/** Ranges as a server gives them; `etag` and `length` may be wrong. */
function ranges(etag: () => string, cut = 0) {
  return (request: IncomingMessage, response: ServerResponse) => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")!.map(Number);
    response.writeHead(206, { ETag: etag() });
    response.end(CONTENT.subarray(from!, to! + 1 - cut));
  };
}

test("HttpStore lists what it was told, by name", async (t) => {
  const { store, served } = await storeOf(t);
  assert.equal(store.label, "small");
  assert.deepEqual(await store.list(), [
    { name: "a b.bin", byteLength: 1000 },
    { name: "z.bin", byteLength: 5 },
  ]);
  assert.deepEqual(served.asked, []);
});

test("HttpStore fetches a small file once, whole, and reads from it at any place", async (t) => {
  const { store, served } = await storeOf(t);
  const [source, again] = await Promise.all([store.open("a b.bin"), store.open("a b.bin")]);
  assert.equal(source.byteLength, 1000);
  assert.equal(source.identity, again.identity);
  for (const [offset, length] of [
    [0, 1000],
    [17, 1],
    [999, 1],
    [1000, 0],
    [500, 250],
  ] as const) {
    const into = new Uint8Array(length);
    await source.read(into, offset);
    assert.deepEqual(into, CONTENT.slice(offset, offset + length));
  }
  await source.checkUnchanged();
  assert.deepEqual(await store.readSmall("a b.bin"), CONTENT);
  assert.deepEqual(served.asked, ["/a b.bin"]);
  const copy = new HttpStore("/models/small", {
    url: store.url,
    files: [...store.files.values()],
    cached: store.cached,
  });
  assert.deepEqual(await copy.readSmall("a b.bin"), CONTENT);
  assert.deepEqual(served.asked, ["/a b.bin"]);
});

test("HttpStore refuses to read beyond the end, and files above a limit", async (t) => {
  const { store } = await storeOf(t);
  const source = await store.open("a b.bin");
  const beyond = await faultOf(source.read(new Uint8Array(10), 995));
  assert.equal(beyond, 'changed: Cannot read "a b.bin": it ends at byte 1000, wanted 5 more');
  const large = await faultOf(store.readSmall("a b.bin", 999));
  assert.equal(large, 'too-large: Cannot read "a b.bin" of "small": it holds 1000 bytes, wanted at most 999');
});

test("HttpStore tells a file that is not listed, and one that the server lacks", async (t) => {
  const { store } = await storeOf(t);
  assert.equal(await store.readSmall("other"), undefined);
  const unlisted = await faultOf(store.open("other"));
  assert.equal(unlisted, 'missing: Cannot open "other" of "small": the list of its files does not name it');
  const absent = await faultOf(store.open("z.bin"));
  assert.equal(absent, 'missing: Cannot read "z.bin" of "small": the server has no such file (status 404)');
});

test("HttpStore refuses a wrong length, a wrong hash and a server that fails; the next try may do", async (t) => {
  const { store, served } = await storeOf(t);
  const serve = (status: number, bytes: Uint8Array) =>
    served.instead.set("/a b.bin", (_, response) => void response.writeHead(status).end(bytes));
  serve(200, CONTENT.subarray(1));
  const short = await faultOf(store.open("a b.bin"));
  assert.equal(short, 'changed: Cannot read "a b.bin" of "small": the server gives 999 bytes, wanted 1000');
  serve(
    200,
    CONTENT.map((byte, i) => (i === 500 ? byte ^ 1 : byte)),
  );
  const flipped = await faultOf(store.open("a b.bin"));
  assert.match(
    flipped,
    /^changed: Cannot read "a b.bin" of "small": its SHA-256 is [0-9a-f]{64}, wanted [0-9a-f]{64}$/,
  );
  serve(503, new Uint8Array());
  const failing = await faultOf(store.open("a b.bin"));
  assert.equal(
    failing,
    'read-failed: Cannot read "a b.bin" of "small": the server answers with status 503, wanted 200',
  );
  served.instead.set("/a b.bin", (request) => request.destroy());
  const cut = await faultOf(store.open("a b.bin"));
  assert.match(cut, /^read-failed: Cannot read "a b.bin" of "small": the server cannot be reached \(/);
  served.instead.clear();
  assert.deepEqual(await store.readSmall("a b.bin"), CONTENT);
});

test("HttpStore reads ranges of a large file, and sees that it changes", async (t) => {
  const { store, served } = await storeOf(t, { wholeBytes: 999 });
  let etag = '"one"';
  served.instead.set(
    "/a b.bin",
    ranges(() => etag),
  );
  const source = await store.open("a b.bin");
  assert.deepEqual(served.asked, []);
  for (const [offset, length] of [
    [0, 8],
    [992, 8],
    [300, 0],
  ] as const) {
    const into = new Uint8Array(length);
    await source.read(into, offset);
    assert.deepEqual(into, CONTENT.slice(offset, offset + length));
  }
  assert.equal(served.asked.length, 2);
  await source.checkUnchanged();
  etag = '"two"';
  const changed =
    'changed: Cannot go on reading "a b.bin": its ETag was "one" and is "two", wanted no change';
  assert.equal(await faultOf(source.read(new Uint8Array(4), 0)), changed);
  assert.equal(await faultOf(source.checkUnchanged()), changed);
});

test("HttpStore refuses ranges of a wrong length, and a server that gives none", async (t) => {
  const { store, served } = await storeOf(t, { wholeBytes: 0 });
  const source = await store.open("a b.bin");
  const whole = await faultOf(source.read(new Uint8Array(4), 0));
  assert.equal(
    whole,
    'read-failed: Cannot read "a b.bin" of "small": the server answers with status 200, wanted 206: it gives no ranges',
  );
  served.instead.set(
    "/a b.bin",
    ranges(() => '"one"', 1),
  );
  const short = await faultOf(source.read(new Uint8Array(4), 0));
  assert.equal(short, 'changed: Cannot read "a b.bin" of "small": the server gives 3 bytes, wanted 4');
});
