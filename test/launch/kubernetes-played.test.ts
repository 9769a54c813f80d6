/** Manifests of builds, played on this machine by a Job controller's rules, with real processes. No server has seen them. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import type { ChildRecord } from "../../src/build/child.ts";
import { type ClusterWishes, kubernetesObjects } from "../../src/launch/kubernetes.ts";
import { manifestFaults } from "../../src/launch/kubernetes-rules.ts";
import { type ClusterBuild, clusterBuild } from "../../src/launch/kubernetes-tasks.ts";
import { hashesOf } from "../build/support.ts";
import { putFolder } from "../remote/use-s3.ts";
import { firstTimes } from "../support/hub/faults.ts";
import { sha256, TestHub } from "../support/hub/hub-server.ts";
import { TestS3 } from "../support/s3/s3-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { applied, type Cluster, playJob, runPod, when } from "./play-manifest.ts";
import { buildWhole, gatedProgram, hashesOfRepo, lockOwners, type WholeChild } from "./small-family.ts";

describe("a manifest of a build, played", () => {
  const folder = temporaryFolder({ after });
  const gate = join(folder, "gate");
  let whole: WholeChild;
  let wishes: ClusterBuild & ClusterWishes;
  before(async () => {
    whole = await buildWhole(folder);
    wishes = {
      source: { text: readFileSync(whole.recipe, "utf8"), fileName: "recipe.yaml" },
      parents: { v3: resolve("models/mini-v3"), r1: resolve("models/mini-r1") },
      ...{ output: "/data/R1T", image: "registry.example/chimera:0.1", memory: "2Gi", shardBytes: 3e5 },
      ...{ tasks: 4, parallel: 2, workers: 1, verify: true, waitSeconds: 120 },
      claims: [{ claim: "models", mountPath: "/data", readOnly: false }],
    };
  });
  const made = (name: string, changes: Partial<typeof wishes> = {}) => {
    const all = { ...wishes, ...changes };
    const objects = kubernetesObjects(clusterBuild(all), all);
    assert.deepEqual(manifestFaults(objects), []);
    const place = join(folder, name);
    mkdirSync(place);
    return { place, ...applied(objects, place) };
  };

  test("with pods killed, evicted and run twice, ends with the bytes of a local build", async () => {
    const { place, config, job, finish } = made("claim");
    const cluster: Cluster = {
      program: gatedProgram({ GATE: gate }),
      paths: { "/etc/chimera": config, "/data/": `${place}/` },
    };
    const child = join(place, "R1T");
    const holdsLock = () => lockOwners(child).some(({ from }) => from === 0);

    // Both Jobs at once, as one apply makes them: the finishing one waits.
    writeFileSync(gate, "");
    const finished = playJob(finish, cluster);
    const report = await playJob(job, cluster, {
      disturb: async ({ index, attempt, kill }) => {
        if (index !== 0 || attempt > 1) return false;
        // First for want of memory; then by a node that is drained.
        await when(holdsLock, () => kill(attempt === 0 ? "SIGKILL" : "SIGTERM"));
        if (attempt === 1) rmSync(gate, { force: true });
        return attempt === 1;
      },
    });
    assert.deepEqual([report.failed, report.succeeded.sort(), report.runs], [[], [0, 1, 2, 3], 4 + 2]);
    assert.deepEqual((await finished).succeeded, [0]);
    assert.deepEqual(hashesOf(child), whole.hashes);

    // A duplicate after the end changes nothing.
    assert.equal((await runPod(job.spec.template.spec, 2, { attempt: 0, cluster })).status, 0);
    assert.deepEqual(hashesOf(child), whole.hashes);
  });

  test("a parent that is not there fails every index at once, and the finishing Job in its time", async () => {
    const parents = { v3: "/data/nothing", r1: resolve("models/mini-r1") };
    const { place, config, job, finish } = made("absent", { parents, tasks: 2, waitSeconds: 1 });
    const cluster = { program: gatedProgram({}), paths: { "/etc/chimera": config, "/data/": `${place}/` } };
    for (const [each, most] of [
      [job, 2],
      [finish, 1],
    ] as const) {
      const report = await playJob(each, cluster);
      assert.deepEqual([report.succeeded, report.runs <= most], [[], true]);
      assert.ok(report.failed.every(({ end }) => end.status === 2 || end.status === 3));
    }
  });

  test("into an object store from parents in it, without a volume: a killed pod's lock is its index's", async (t) => {
    const s3 = await new TestS3().start();
    t.after(() => s3.stop());
    for (const name of ["mini-v3", "mini-r1"])
      putFolder(s3, resolve("models", name), { bucket: "models", prefix: name });
    s3.bucket("children");
    const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...open } = s3.env;
    const { place, config, job, finish } = made("store", {
      ...{ output: "s3://children/r1t", claims: [], tasks: 2, secret: "keys" },
      parents: { v3: "s3://models/mini-v3", r1: "s3://models/mini-r1" },
      env: {
        ...open,
        AWS_EC2_METADATA_DISABLED: "true",
        CHIMERA_RETRY_MS: "5",
        CHIMERA_S3_PART_BYTES: "65536",
      },
    });
    const scratch = join(place, "nodes");
    mkdirSync(scratch);
    const cluster: Cluster = {
      program: gatedProgram({ GATE: gate }),
      ...{ paths: { "/etc/chimera": config }, scratch },
      secrets: {
        keys: { AWS_ACCESS_KEY_ID: AWS_ACCESS_KEY_ID!, AWS_SECRET_ACCESS_KEY: AWS_SECRET_ACCESS_KEY! },
      },
      // A pod that is tried again comes to another node, where nobody can ask for the process that has died.
      nodeOf: (index, attempt) => ({ HOST_NAME: `node-${index}-${attempt}` }),
    };
    const locks = () =>
      s3.namesUnder("children", "r1t").filter((name) => /^\.chimera\/lock-.*json$/.test(name));
    const hostOf = (name: string) =>
      JSON.parse(s3.bucket("children").get(`r1t/${name}`)!.bytes.toString()).host;
    const isAtWork = () =>
      locks().some((name) => name.includes("lock-000000-") && hostOf(name) === "node-0-0");

    writeFileSync(gate, "");
    const finished = playJob(finish, cluster);
    const report = await playJob(job, cluster, {
      disturb: async ({ index, attempt, kill }) => {
        if (index !== 0 || attempt > 0) return false;
        await when(isAtWork, () => kill("SIGKILL"));
        rmSync(gate);
        return false;
      },
    });
    assert.deepEqual([report.failed, report.runs], [[], 2 + 1]);
    assert.deepEqual((await finished).succeeded, [0]);
    const names = s3.namesUnder("children", "r1t");
    const found = names.map((name) => [name, sha256(s3.bucket("children").get(`r1t/${name}`)!.bytes)]);
    const differs = found.filter(([name, hash]) => whole.hashes[name!] !== hash).map(([name]) => name);
    assert.deepEqual([names, differs], [Object.keys(whole.hashes).sort(), ["chimera.json"]]);
    // Which says where the parents lay, and is the same but for that.
    const recordOf = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes)) as ChildRecord;
    const there = recordOf(s3.bucket("children").get("r1t/chimera.json")!.bytes);
    assert.deepEqual(
      there.parents.map(({ location }) => location),
      ["s3://models/mini-v3", "s3://models/mini-r1"],
    );
    const here = recordOf(readFileSync(join(folder, "whole/chimera.json")));
    for (const [i, { location }] of here.parents.entries()) there.parents[i]!.location = location;
    assert.deepEqual(there, here);
    assert.equal(s3.uploads.size, 0);
    // Nothing stays on a node but what the kill has left.
    const left = readdirSync(scratch, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
    assert.ok(left.length <= 1, left.map(({ name }) => name).join());
    assert.ok(!existsSync(gate));
  });

  test("to the Hub, with the token of a secret: a pod killed between its uploads, and no shard stays", async (t) => {
    const hub = new TestHub({ lfsBytes: 1 << 16 });
    await hub.start();
    t.after(() => hub.stop());
    // So that the pod is not done before it dies.
    hub.rules = [firstTimes(1000, ({ method }) => method === "PUT", { kind: "slow", ms: 50 })];
    const { place, config, job, finish } = made("hub", {
      push: { repo: "chimera/cluster", discardLocal: true, localShards: 2 },
      ...{
        tasks: 2,
        secret: "token",
        env: { HF_ENDPOINT: hub.url, HF_HOME: "/tmp/hf", CHIMERA_RETRY_MS: "5" },
      },
    });
    const cluster: Cluster = {
      program: gatedProgram({}),
      paths: { "/etc/chimera": config, "/data/": `${place}/`, "/tmp/hf": join(place, "hf") },
      secrets: { token: { HF_TOKEN: hub.options.token! } },
    };
    const shardsOfFirst = whole.plan.shards.slice(0, 5).map(({ name }) => name);
    const isAtWork = () => shardsOfFirst.some((name) => hub.repos.get("chimera/cluster")?.files.has(name));
    const finished = playJob(finish, cluster);
    const report = await playJob(job, cluster, {
      disturb: async ({ index, attempt, kill }) => {
        if (index === 0 && attempt === 0) await when(isAtWork, () => kill("SIGKILL"));
        return false;
      },
    });
    assert.deepEqual([report.failed, report.runs], [[], 2 + 1]);
    assert.deepEqual((await finished).succeeded, [0]);
    assert.deepEqual(hashesOfRepo(hub, "chimera/cluster"), whole.hashes);
    const left = readdirSync(join(place, "R1T")).filter((name) => name.endsWith(".safetensors"));
    assert.deepEqual(left, []);
  });
});
