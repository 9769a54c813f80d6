/** Parents in an object store: the same child, what is survived, and what is told when it is not to be had. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { openLocation, openStore } from "../../src/checkpoint/stores.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { pull } from "../../src/transfer/pull.ts";
import { planWhole } from "../../src/transfer/pull-plan.ts";
import { startMain } from "../cli/run-main.ts";
import { type Fault, firstTimes, type LoggedRequest } from "../support/hub/faults.ts";
import { TestS3 } from "../support/s3/s3-server.ts";
import { signatureFault, signatureOf } from "../support/s3/signature.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { putFolder, useS3 } from "./use-s3.ts";

const RECIPE = `version: 1
parents:
  v3: s3://parents/models/mini-v3
  r1: s3://parents/models/mini-r1
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
  - { tensors: attention, weights: { r1: 0.5 } }
`;
const isRange = ({ method, range }: LoggedRequest) => method === "GET" && range !== undefined;
const isList = ({ path }: LoggedRequest) => path.includes("list-type=2");

describe("parents in an object store", () => {
  const s3 = new TestS3();
  const folder = temporaryFolder({ after });
  const local = join(folder, "local");

  before(async () => {
    await s3.start();
    for (const name of ["mini-v3", "mini-r1"])
      putFolder(s3, `models/${name}`, { bucket: "parents", prefix: `models/${name}` });
    const text = RECIPE.replaceAll("s3://parents/", "");
    await build(await planRecipe(parseRecipe(text), {}), local);
  });
  after(() => s3.stop());
  useS3(s3);
  beforeEach(() => {
    s3.rules = [];
    s3.log.length = 0;
    s3.denied.clear();
    s3.pageSize = 1000;
  });
  const planOf = () => planRecipe(parseRecipe(RECIPE), {});

  test("give the child that folders give", async () => {
    s3.pageSize = 3; // a listing of several pages
    const plan = await planOf();
    assert.deepEqual(
      plan.parents.map(({ location }) => location),
      ["s3://parents/models/mini-v3", "s3://parents/models/mini-r1"],
    );
    await build(plan, join(folder, "remote"), { workers: 1 });
    assertSame(join(folder, "remote"), local);
    assert.ok(s3.log.filter(isRange).length < 60, `${s3.log.filter(isRange).length} requests`);
  });

  test("are pulled whole", async () => {
    await pull(await planWhole("s3://parents/models/mini-r1/"), join(folder, "pulled"));
    assertSame(join(folder, "pulled"), "models/mini-r1");
  });

  const survived: [string, (request: LoggedRequest) => boolean, Fault, number][] = [
    ["503 SlowDown", isRange, { kind: "status", status: 503, body: error("SlowDown") }, 4],
    ["500", () => true, { kind: "status", status: 500, body: error("InternalError") }, 4],
    ["503 without a body", isList, { kind: "status", status: 503 }, 2],
    ["connections that break", isRange, { kind: "cut", after: 1000 }, 5],
    ["a range that is ignored now and then", isRange, { kind: "ignore-range" }, 2],
    ["another range than was asked for", isRange, { kind: "other-range" }, 2],
    ["answers that are too short", isRange, { kind: "short", by: 7 }, 2],
  ];
  for (const [what, matches, fault, times] of survived) {
    test(`survive ${what}`, async () => {
      s3.rules = [firstTimes(times, matches, fault)];
      const to = join(folder, `survive-${what.replaceAll(" ", "-")}`);
      await build(await planOf(), to, { workers: 1 });
      assertSame(to, local);
    });
  }

  test("stop a build when they change under it, and never get mixed", async () => {
    putFolder(s3, "models/mini-r1", { bucket: "parents", prefix: "changing" });
    const plan = await planRecipe(parseRecipe(RECIPE), { locations: { r1: "s3://parents/changing" } });
    const name = "changing/model-00001-of-000002.safetensors";
    const bytes = Uint8Array.from(s3.bucket("parents").get(name)!.bytes);
    bytes[bytes.length - 1]! ^= 1;
    s3.put("parents", name, bytes);
    await assert.rejects(build(plan, join(folder, "changed"), { workers: 1 }), { code: "changed" });
    const store = openStore("s3://parents/changing");
    const source = await store.open("model-00001-of-000002.safetensors");
    s3.put(
      "parents",
      name,
      bytes.map((byte) => byte ^ 1),
    );
    await assert.rejects(source.read(new Uint8Array(10), 5), {
      code: "changed",
      message: /wanted no change/,
    });
    await assert.rejects(source.checkUnchanged(), { code: "changed" });
    await source.close();
  });

  test("one file of them is a location too", async () => {
    const { store, options } = openLocation("s3://parents/models/mini-r1/model-00001-of-000002.safetensors");
    assert.deepEqual(
      [store.location, options.only],
      ["s3://parents/models/mini-r1", "model-00001-of-000002.safetensors"],
    );
    assert.deepEqual(
      (await store.list()).map(({ name }) => name),
      ["model-00001-of-000002.safetensors"],
    );
  });

  const run = (location: string, env: Record<string, string> = {}) =>
    startMain(["inspect", location], env).result;
  const refused: [string, string, Record<string, string>, number, RegExp][] = [
    ["no such bucket", "s3://nowhere/x", {}, 3, /Cannot list "s3:\/\/nowhere\/x\/": there is no such bucket/],
    ["nothing below the prefix", "s3://parents/none", {}, 3, /no object lies there, wanted a checkpoint/],
    ["no bucket at all", "s3://", {}, 3, /wanted s3:\/\/BUCKET\/PREFIX/],
    ["a path that leads out", "s3://parents/../x", {}, 3, /wanted s3:\/\/BUCKET\/PREFIX/],
    [
      "keys that are not known",
      "s3://parents/models/mini-r1",
      { AWS_ACCESS_KEY_ID: "AKOTHER" },
      3,
      /the access key is not known there\n {2}note: See AWS_ACCESS_KEY_ID/,
    ],
    [
      "a wrong secret",
      "s3://parents/models/mini-r1",
      { AWS_SECRET_ACCESS_KEY: "x" },
      3,
      /the secret key does not fit the access key/,
    ],
    [
      "no keys",
      "s3://parents/models/mini-r1",
      { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" },
      3,
      /there are no keys, wanted some\n {2}note: Set AWS_ACCESS_KEY_ID/,
    ],
  ];
  for (const [what, location, env, wanted, message] of refused) {
    test(`${what}: says so`, async () => {
      const { status, stderr } = await run(location, env);
      assert.match(stderr, message);
      assert.equal(status, wanted);
      assert.equal(stderr.split("\n").length <= 3, true, stderr);
    });
  }

  test("a bucket without permission: says so, for listing and for reading", async () => {
    s3.denied.add("list");
    const listing = await run("s3://parents/models/mini-r1");
    assert.equal(listing.status, 3);
    assert.match(
      listing.stderr,
      /Cannot list "s3:\/\/parents\/models\/mini-r1\/": the store says 403: these keys may not list it\n {2}note: Ask/,
    );
    s3.denied.clear();
    s3.denied.add("read");
    const reading = await run("s3://parents/models/mini-r1");
    assert.equal(reading.status, 3);
    assert.match(reading.stderr, /the store says 403: these keys may not read it/);
  });

  test("a server that answers with a page, and one that is not there", async () => {
    const page = {
      kind: "status",
      status: 200,
      headers: { "content-type": "text/html" },
      body: "<html><body>Log in</body></html>",
    } as const;
    s3.rules = [() => page];
    const html = await run("s3://parents/models/mini-r1");
    assert.equal(html.status, 3);
    assert.match(html.stderr, /is no listing, wanted S3's|what is no S3/);
    assert.match(html.stderr, /note: AWS_ENDPOINT_URL says where the store is/);
    s3.rules = [];
    const gone = await run("s3://parents/models/mini-r1", { AWS_ENDPOINT_URL: "http://127.0.0.1:9" });
    assert.equal(gone.status, 75);
    assert.match(gone.stderr, /ECONNREFUSED/);
  });

  test("names of an index are files of the prefix, never others", async () => {
    s3.put("parents", "secret/model.safetensors", Buffer.from("x"));
    for (const name of ["../secret/model.safetensors", "a/b", "", "x?versionId=1"])
      await assert.rejects(openStore("s3://parents/models").open(name), { code: "outside-folder" });
  });
});

test("the test's store signs as the example of S3's manual does", () => {
  const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
  const signedHeaders = ["host", "range", "x-amz-content-sha256", "x-amz-date"];
  const scope = "20130524/us-east-1/s3/aws4_request";
  const headers: Record<string, string> = {
    host: "examplebucket.s3.amazonaws.com",
    range: "bytes=0-9",
    "x-amz-content-sha256": empty,
    "x-amz-date": "20130524T000000Z",
  };
  const request = { method: "GET", url: "/test.txt", headers, body: new Uint8Array() };
  const signature = signatureOf(request, { scope, signedHeaders, secret });
  assert.equal(signature, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  headers.authorization = `AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/${scope}, SignedHeaders=${signedHeaders.join(";")}, Signature=${signature}`;
  const keys = { id: "AKIAIOSFODNN7EXAMPLE", secret };
  const now = Date.UTC(2013, 4, 24, 0, 5);
  assert.equal(signatureFault(request, keys, now), undefined);
  assert.equal(signatureFault({ ...request, url: "/test.txt?x" }, keys, now), "SignatureDoesNotMatch");
  assert.equal(
    signatureFault({ ...request, body: Buffer.from("x") }, keys, now),
    "XAmzContentSHA256Mismatch",
  );
  assert.equal(signatureFault(request, keys, now + 3_600_000), "RequestTimeTooSkewed");
  assert.equal(signatureFault(request, { ...keys, id: "other" }, now), "InvalidAccessKeyId");
});

function error(code: string): string {
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
}

function assertSame(found: string, wanted: string): void {
  const names = readdirSync(wanted).filter((name) => /safetensors|config|tokenizer/.test(name));
  assert.ok(names.length > 3);
  for (const name of names)
    assert.ok(readFileSync(join(found, name)).equals(readFileSync(join(wanted, name))), `${name} differs`);
}
