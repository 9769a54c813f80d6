/** chimera push: order of commits, what is not sent twice, what goes wrong, and the same child when it is pulled. */
import assert from "node:assert/strict";
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { verify } from "../../src/build/verify.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { pull } from "../../src/transfer/pull.ts";
import { planWhole } from "../../src/transfer/pull-plan.ts";
import { push } from "../../src/transfer/push.ts";
import { batchesOf } from "../../src/transfer/push-plan.ts";
import { startMain } from "../cli/run-main.ts";
import { type Fault, firstTimes, type LoggedRequest } from "../support/hub/faults.ts";
import { sha256, TestHub, type VirtualFile } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, useWritableHub } from "./use-hub.ts";

const RECIPE = `version: 1
parents:
  v3: models/mini-v3
  r1: models/mini-r1
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
  - { tensors: attention, weights: { r1: 0.5 } }
output: { max_shard_size: 400KB }
`;
const MARKERS = ["config.json", "model.safetensors.index.json", "chimera.json"];

const isUpload = ({ method, path }: LoggedRequest) => method === "PUT" && path.startsWith("/upload/");
const isCommit = ({ method, path }: LoggedRequest) => method === "POST" && /\/commit\//.test(path);

describe("push", () => {
  const hub = new TestHub({ lfsBytes: 1 << 16 });
  const folder = temporaryFolder({ after });
  const child = join(folder, "child");

  before(async () => {
    await hub.start();
    await build(await planRecipe(parseRecipe(RECIPE), {}), child);
    assert.ok(shardsOf(child).length >= 7, `${shardsOf(child).length} shards`);
  });
  after(() => hub.stop());
  useWritableHub(hub);

  test("makes the repository, and what is pulled from it is the same child", async () => {
    const report = await push(child, "chimera/whole", { isPrivate: true });
    const repo = hub.repos.get("chimera/whole")!;
    assert.equal(repo.isPrivate, true);
    assertHolds(repo.files, child);
    assert.equal(report.uploaded.files.length, readdirSync(child).length);
    assert.equal(report.commits.length, Math.ceil(shardsOf(child).length / 5));
    const pulled = join(folder, "pulled");
    await pull(await planWhole("hf:chimera/whole"), pulled);
    assertSameFolder(pulled, child);
    assert.equal((await verify(pulled, { all: true })).ok, true);
    assert.equal((await verify("hf:chimera/whole", { all: true })).ok, true);
  });

  test("says last that it is a checkpoint: config, index and chimera.json come with the last shards", async () => {
    const seen: string[][] = [];
    hub.rules = [
      (request) => {
        if (isCommit(request)) seen.push([...(hub.repos.get("chimera/order")?.files.keys() ?? [])]);
        return undefined;
      },
    ];
    const { commits } = await push(child, "chimera/order");
    assert.ok(seen.length >= 2);
    for (const names of seen)
      assert.deepEqual(
        names.filter((name) => MARKERS.includes(name)),
        [],
      );
    for (const { files } of commits.slice(0, -1))
      assert.ok(files.every((name) => name.endsWith(".safetensors")));
    assert.ok(MARKERS.every((name) => commits.at(-1)!.files.includes(name)));
  });

  test("sends nothing a second time", async () => {
    await push(child, "chimera/twice");
    hub.forget();
    const again = await push(child, "chimera/twice");
    assert.deepEqual([again.commits, again.uploaded.files], [[], []]);
    assert.equal(again.present.files.length, readdirSync(child).length);
    assert.deepEqual(
      hub.log.filter(({ method }) => method !== "GET"),
      [],
    );
  });

  test("goes on behind the last commit when it is stopped, and sends no shard twice", async () => {
    const stop = new AbortController();
    const first = push(child, "chimera/stopped", {
      signal: stop.signal,
      onEvent: (event) => event.kind === "committed" && stop.abort(),
    });
    await assert.rejects(first, { name: "Interrupted" });
    const repo = hub.repos.get("chimera/stopped")!;
    const before = new Set(repo.files.keys());
    assert.equal(shardsIn(before).length, 5);
    const report = await push(child, "chimera/stopped");
    assertHolds(repo.files, child);
    assert.deepEqual(
      shardsIn(report.uploaded.files).filter((name) => before.has(name)),
      [],
    );
  });

  test("a killed process leaves whole commits, and another one goes on", async () => {
    hub.rules = [firstTimes(1000, isUpload, { kind: "slow", ms: 1 })];
    const { child: process, result } = startMain(["push", child, "chimera/killed", "--progress", "none"]);
    await until(() => shardsIn(hub.repos.get("chimera/killed")?.files.keys() ?? []).length > 0);
    process.kill("SIGKILL");
    await result;
    const { status, stdout } = await startMain(["push", child, "chimera/killed", "--progress", "none"])
      .result;
    assert.equal(status, 0);
    assert.match(stdout, /^(pushed|complete) /);
    assertHolds(hub.repos.get("chimera/killed")!.files, child);
  });

  const survived: [string, (request: LoggedRequest) => boolean, Fault, number][] = [
    ["503 at uploads", isUpload, { kind: "status", status: 503 }, 4],
    [
      "429 with Retry-After at uploads",
      isUpload,
      { kind: "status", status: 429, headers: { "retry-after": "0" } },
      4,
    ],
    ["502 at commits", isCommit, { kind: "status", status: 502 }, 2],
    ["503 at the LFS batch", ({ path }) => path.endsWith("/batch"), { kind: "status", status: 503 }, 2],
    [
      "500 when it is asked what is there",
      ({ path }) => /\/(tree|revision)\//.test(path),
      { kind: "status", status: 500 },
      2,
    ],
    ["503 at preupload", ({ path }) => path.includes("/preupload/"), { kind: "status", status: 503 }, 2],
  ];
  for (const [what, matches, fault, times] of survived) {
    test(`survives ${what}`, async () => {
      const name = `chimera/survives-${what.replaceAll(/\W+/g, "-")}`;
      hub.rules = [firstTimes(times, matches, fault)];
      await push(child, name);
      assertHolds(hub.repos.get(name)!.files, child);
    });
  }

  for (const [what, matches] of [
    ["commits", isCommit],
    ["uploads", isUpload],
  ] as const)
    test(`told at ${what} to come back in an hour, it says so at once`, async () => {
      const later: Fault = { kind: "status", status: 429, headers: { "retry-after": "3600" } };
      hub.rules = [firstTimes(1000, matches, later)];
      await assert.rejects(push(child, `chimera/later-${what}`), {
        code: "unreachable",
        message: /^Cannot ask .+: the server says 429 and to come back in 1:00:00$/,
        note: /Run the same command again then/,
      });
      const asked = hub.log.filter(matches).length;
      assert.ok(asked <= 8, `asked ${asked} times, wanted no more than there are uploads at a time`);
    });

  test("survives the commit of another between two of its own", async () => {
    let times = 0;
    hub.rules = [
      (request) => {
        const repo = hub.repos.get("chimera/others");
        if (isCommit(request) && repo && times++ < 2)
          hub.commit(repo, new Map([["notes.txt", Buffer.from(`${times}`)]]), "notes");
        return undefined;
      },
    ];
    await push(child, "chimera/others");
    const repo = hub.repos.get("chimera/others")!;
    assertHolds(repo.files, child);
    assert.equal(Buffer.from(repo.files.get("notes.txt") as Uint8Array).toString(), "2");
  });

  test("notices that another has changed what it has pushed", async () => {
    const name = shardsOf(child)[0]!;
    let hasMeddled = false;
    hub.rules = [
      (request) => {
        const repo = hub.repos.get("chimera/meddled");
        if (isCommit(request) && repo?.files.has(name) && !hasMeddled) {
          hasMeddled = true;
          hub.commit(repo, new Map([[name, Buffer.alloc(1 << 17)]]), "meddled");
        }
        return undefined;
      },
    ];
    await assert.rejects(push(child, "chimera/meddled"), {
      code: "changed",
      message: /wanted no change by others/,
    });
    assert.deepEqual(
      [...hub.repos.get("chimera/meddled")!.files.keys()].filter((one) => MARKERS.includes(one)),
      [],
    );
  });

  test("a commit whose answer got lost is not made twice", async () => {
    // The Hub commits, and a proxy says 502.
    const { handled, restore } = losingAnswers(hub, 1);
    try {
      await push(child, "chimera/lost");
    } finally {
      restore();
    }
    const repo = hub.repos.get("chimera/lost")!;
    assertHolds(repo.files, child);
    assert.equal(handled(), 1);
    assert.equal(new Set(repo.messages).size, repo.messages.length, repo.messages.join(", "));
  });

  test("refuses what is not the child that was recorded, before it is sent", async () => {
    const damaged = join(folder, "damaged");
    cpSync(child, damaged, { recursive: true });
    const path = join(damaged, shardsOf(child)[1]!);
    const bytes = readFileSync(path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
    const what = {
      code: "damaged",
      message: /Cannot push "model-00002-.*its SHA-256 is [0-9a-f]{64}, wanted/,
    };
    await assert.rejects(push(damaged, "chimera/damaged"), what);
    assert.deepEqual(hub.log.filter(isUpload), []);
    assert.deepEqual([...hub.repos.get("chimera/damaged")!.files.keys()], [".gitattributes"]);
  });

  test("leaves another checkpoint alone, unless it is to be replaced", async () => {
    const repo = hub.add("chimera/taken", filesOf("models/mini-r1"));
    const before = repo.commit;
    await assert.rejects(push(child, "chimera/taken"), {
      code: "not-empty",
      message: /another checkpoint's "model/,
    });
    assert.equal(repo.commit, before);
    const report = await push(child, "chimera/taken", { force: true });
    assert.ok(report.removed.length > 0 && report.removed.every((name) => name.endsWith(".safetensors")));
    assertHolds(repo.files, child);
    assert.deepEqual(shardsIn(repo.files.keys()), shardsOf(child));
  });

  test("puts all commits into one pull request, and goes on with it", async () => {
    const repo = hub.add("chimera/proposed", filesOf("models/mini-r1"));
    const before = repo.commit;
    const stop = new AbortController();
    const first = push(child, "chimera/proposed", {
      ...{ createPr: true, signal: stop.signal },
      onEvent: (event) => event.kind === "committed" && stop.abort(),
    });
    await assert.rejects(first, { name: "Interrupted" });
    const report = await push(child, "chimera/proposed", { createPr: true });
    assert.equal(repo.commit, before);
    assert.deepEqual([...repo.sides.keys()], ["refs/pr/1"]);
    assertHolds(repo.sides.get("refs/pr/1")!.files, child);
    assert.deepEqual([report.branch, report.url], ["refs/pr/1", `${hub.url}/chimera/proposed/discussions/1`]);
  });

  test("pushes to a branch, which it makes", async () => {
    const repo = hub.add("chimera/branched", new Map([["README.md", Buffer.from("# main\n")]]));
    await push(child, "chimera/branched", { branch: "v1" });
    assert.deepEqual([...repo.files.keys()], ["README.md"]);
    assertHolds(repo.sides.get("v1")!.files, child);
  });

  test("a dry run writes nothing and makes nothing", async () => {
    const report = await push(child, "chimera/dry", { dryRun: true });
    assert.deepEqual([report.isNew, report.commits], [true, []]);
    assert.equal(
      report.uploaded.bytes,
      [...filesOf(child).values()].reduce((sum, { length }) => sum + length, 0),
    );
    assert.equal(hub.repos.has("chimera/dry"), false);
    assert.deepEqual(
      hub.log.filter(({ method }) => method !== "GET"),
      [],
    );
  });

  test("pushes any checkpoint, and skips by hashes that it computes", async () => {
    await push("models/mini-r1", "chimera/plain");
    const repo = hub.repos.get("chimera/plain")!;
    assertHolds(repo.files, "models/mini-r1");
    hub.forget();
    const again = await push("models/mini-r1", "chimera/plain");
    assert.deepEqual(again.commits, []);
  });

  test("an unfinished build and a folder without a checkpoint are refused", async () => {
    const unfinished = join(folder, "unfinished");
    await build(await planRecipe(parseRecipe(RECIPE), {}), unfinished, { part: { index: 0, count: 2 } });
    await assert.rejects(push(unfinished, "chimera/none"), { code: "unfinished" });
    await assert.rejects(push(join(folder, "nothing"), "chimera/none"), { code: "missing" });
    assert.equal(hub.repos.has("chimera/none"), false);
  });
});

test("batchesOf() takes five shards or 20 GB", () => {
  const shards = (count: number, byteLength: number) => Array.from({ length: count }, () => ({ byteLength }));
  assert.deepEqual(
    batchesOf(shards(12, 1e9)).map(({ length }) => length),
    [5, 5, 2],
  );
  assert.deepEqual(
    batchesOf(shards(5, 8e9)).map(({ length }) => length),
    [2, 2, 1],
  );
  assert.deepEqual(
    batchesOf(shards(2, 30e9)).map(({ length }) => length),
    [1, 1],
  );
  assert.deepEqual(batchesOf([]), []);
});

function shardsOf(folder: string): string[] {
  return shardsIn(readdirSync(folder));
}

function shardsIn(names: Iterable<string>): string[] {
  return [...names].filter((name) => name.endsWith(".safetensors")).sort();
}

function assertHolds(files: ReadonlyMap<string, Uint8Array | VirtualFile>, folder: string): void {
  for (const [name, bytes] of filesOf(folder)) {
    const there = files.get(name);
    assert.ok(there, `${name} is missing`);
    assert.equal(sha256(there), sha256(bytes), `${name} differs`);
  }
}

function assertSameFolder(found: string, wanted: string): void {
  assert.deepEqual(
    readdirSync(found).sort(),
    readdirSync(wanted)
      .concat(existsSync(join(found, ".gitattributes")) ? [".gitattributes"] : [])
      .sort(),
  );
  for (const name of readdirSync(wanted))
    assert.ok(readFileSync(join(found, name)).equals(readFileSync(join(wanted, name))), `${name} differs`);
}

/** The Hub does what commits ask for, and the answers of the first `times` say 502. */
function losingAnswers(hub: TestHub, times: number): { handled: () => number; restore: () => void } {
  const original = hub.commit.bind(hub);
  let lost = 0;
  hub.commit = (repo, files, message) => {
    const oid = original(repo, files, message);
    if (message.includes("chimera") && lost < times) {
      lost++;
      throw new Error("the answer gets lost"); // the connection is cut
    }
    return oid;
  };
  return {
    handled: () => lost,
    restore: () => {
      hub.commit = original;
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
