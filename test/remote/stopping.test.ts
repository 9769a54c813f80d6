/** Servers that never answer: who waits for one can stop at once, and does not wait for ever. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { startMain } from "../cli/run-main.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { TestS3 } from "../support/s3/s3-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, isLargeFile, useHub } from "./use-hub.ts";

const RECIPE = `version: 1
parents:
  v3: ${process.cwd()}/models/mini-v3
  r1: hf:chimera/mini-r1
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
`;

describe("a server that never answers", () => {
  const hub = new TestHub({ lfsBytes: 1 << 19 });
  const s3 = new TestS3();
  const folder = temporaryFolder({ after });
  const [recipe, plan] = [join(folder, "recipe.yaml"), join(folder, "plan.json")];
  let env: Record<string, string>;

  before(async () => {
    await hub.start();
    await s3.start();
    s3.bucket("out");
    hub.add("chimera/mini-r1", filesOf("models/mini-r1"));
    writeFileSync(recipe, RECIPE);
  });
  after(() => Promise.all([hub.stop(), s3.stop()]));
  useHub(hub);
  before(async () => {
    writeFileSync(plan, JSON.stringify(await planRecipe(parseRecipe(RECIPE))));
    env = { HF_ENDPOINT: hub.url, HF_TOKEN: hub.options.token, ...s3.env, AWS_EC2_METADATA_DISABLED: "true" };
  });
  beforeEach(() => {
    s3.rules = [];
    hub.rules = [() => ({ kind: "silent" })];
    hub.forget();
    s3.log.length = 0;
  });

  /** Sends SIGINT as soon as a request waits. */
  const interrupted = async (args: string[], waits: () => boolean) => {
    const { child, result } = startMain(args, env);
    while (!waits() && child.exitCode === null) await new Promise((resume) => setTimeout(resume, 20));
    const begun = performance.now();
    child.kill("SIGINT");
    const { status, stderr } = await result;
    return { status, signal: child.signalCode, stderr, seconds: (performance.now() - begun) / 1000 };
  };
  const hubIsAsked = () => hub.log.length > 0;

  const commands: [string, () => string[]][] = [
    ["inspect", () => ["inspect", "hf:chimera/mini-r1"]],
    ["plan", () => ["plan", recipe]],
    ["build, checking its parents", () => ["build", plan, "-o", join(folder, "b")]],
    ["pull", () => ["pull", "hf:chimera/mini-r1", "-o", join(folder, "c")]],
    ["push", () => ["push", "models/mini-v3", "chimera/new"]],
  ];
  for (const [what, args] of commands) {
    test(`${what}: SIGINT ends it`, async () => {
      const { status, signal, stderr, seconds } = await interrupted(args(), hubIsAsked);
      assert.ok(status === 130 || signal === "SIGINT", `${status} ${signal}: ${stderr}`);
      assert.ok(seconds < 5, `${seconds} s`);
      assert.doesNotMatch(stderr, /internal|Warning/);
    });
  }

  const inWork: [string, string, () => string[]][] = [
    ["build, in its workers", "d", () => ["build", plan, "-o", join(folder, "d"), "--workers", "2"]],
    ["compare, in its workers", "none", () => ["compare", "models/mini-v3", "hf:chimera/mini-r1"]],
    ["pull, at its shards", "e", () => ["pull", "hf:chimera/mini-r1", "-o", join(folder, "e")]],
  ];
  for (const [what, to, args] of inWork) {
    test(`${what}: SIGINT ends it, and nothing half is left`, async () => {
      let large = 0;
      // The headers of two shards are read first, in two steps each.
      const passes = what.startsWith("build") ? 0 : 4;
      hub.rules = [(request) => (isLargeFile(request) && large++ >= passes ? { kind: "silent" } : undefined)];
      const { status, stderr, seconds } = await interrupted(args(), () => large > passes);
      assert.equal(status, 130, stderr);
      assert.ok(seconds < 5, `${seconds} s`);
      const names = existsSync(join(folder, to)) ? readdirSync(join(folder, to)) : [];
      assert.deepEqual(
        names.filter((name) => name.endsWith(".safetensors")),
        [],
      );
    });
  }

  test("an object store falls silent under a build: SIGINT ends it all the same", async () => {
    hub.rules = [];
    let writes = 0;
    s3.rules = [
      ({ method, path }) =>
        method === "PUT" && /safetensors/.test(path) && ++writes
          ? { kind: "silent" }
          : writes > 0
            ? { kind: "silent" }
            : undefined,
    ];
    const args = ["build", plan, "-o", "s3://out/child", "--staging", folder];
    const { status, stderr, seconds } = await interrupted(args, () => writes > 0);
    assert.equal(status, 130, stderr);
    assert.ok(seconds < 5, `${seconds} s`);
  });

  test("nobody waits for ever: status 75", async () => {
    const short = { ...env, CHIMERA_TIMEOUT_MS: "200", CHIMERA_RETRY_MS: "5" };
    const { status, stderr } = await startMain(["inspect", "hf:chimera/mini-r1"], short).result;
    assert.equal(status, 75, stderr);
    assert.match(stderr, /has said nothing for 0.2 s/);
    assert.equal(hub.log.length, 2);
    s3.rules = [() => ({ kind: "silent" })];
    const object = await startMain(["inspect", "s3://out/x"], short).result;
    assert.equal(object.status, 75, object.stderr);
    assert.match(object.stderr, /has said nothing for 0.2 s/);
    assert.equal(s3.log.length, 2);
    const pushed = await startMain(["push", "models/mini-v3", "chimera/new"], short).result;
    assert.equal(pushed.status, 75, pushed.stderr);
  });
});
