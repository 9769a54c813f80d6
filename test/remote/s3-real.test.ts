/**
 * The same against a store of somebody else's make, when there is one on this machine, or at CHIMERA_TEST_S3 (keys and
 * region come from the usual variables then). A bucket is made for it and removed.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  ListObjectsV2Command,
  S3Client,
} from "@aws-sdk/client-s3";
import { build } from "../../src/build/build.ts";
import { verify } from "../../src/build/verify.ts";
import { openOutput } from "../../src/checkpoint/stores.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { pull } from "../../src/transfer/pull.ts";
import { planWhole } from "../../src/transfer/pull-plan.ts";
import { outputStoreSuite } from "../checkpoint/output-store.case.ts";
import { sha256 } from "../support/hub/hub-server.ts";
import { noOtherS3, type OtherS3, startOtherS3 } from "../support/s3/others-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf } from "./use-hub.ts";

const RECIPE = `version: 1
parents: { v3: models/mini-v3, r1: models/mini-r1 }
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
`;

describe("another's object store", { skip: noOtherS3() }, () => {
  const folder = temporaryFolder({ after });
  const Bucket = `chimera-test-${process.pid}-${Date.now()}`;
  const old = process.env.AWS_ENDPOINT_URL;
  let client: S3Client;
  let other: OtherS3;
  let places = 0;

  before(async () => {
    other = await startOtherS3(join(folder, "store"));
    const { endpoint } = other;
    process.env.AWS_ENDPOINT_URL = endpoint;
    client = new S3Client({
      endpoint,
      forcePathStyle: true,
      region: process.env.AWS_REGION ?? "us-east-1",
    });
    await client.send(new CreateBucketCommand({ Bucket }));
  });
  after(async () => {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }));
    for (const { Key } of Contents) await client.send(new DeleteObjectCommand({ Bucket, Key }));
    await client.send(new DeleteBucketCommand({ Bucket }));
    client.destroy();
    other.stop();
    if (old === undefined) delete process.env.AWS_ENDPOINT_URL;
    else process.env.AWS_ENDPOINT_URL = old;
  });

  outputStoreSuite("a prefix of another's bucket", () => openOutput(`s3://${Bucket}/suite/${places++}`), {
    isVersioned: true,
  });

  test("gets a child in parts, is verified, pulled, and is a parent", async () => {
    const plan = await planRecipe(parseRecipe(RECIPE), {});
    const place = `s3://${Bucket}/child`;
    for (const index of [0, 1]) await build(plan, place, { part: { index, count: 2 } });
    await build(plan, place, { finish: true });
    assert.equal((await verify(place, { all: true })).ok, true);
    const pulled = join(folder, "pulled");
    await pull(await planWhole(place), pulled);
    const local = join(folder, "local");
    await build(plan, local);
    assert.deepEqual(readdirSync(pulled).sort(), readdirSync(local).sort());
    const found = filesOf(pulled);
    for (const [name, bytes] of filesOf(local)) assert.equal(sha256(found.get(name)!), sha256(bytes), name);
    const again = await planRecipe(parseRecipe(RECIPE), { locations: { v3: place } });
    await build(again, join(folder, "grandchild"));
  });
});
