/**
 * A part of an R1T of the real size, 689 GB in 163 shards, of which V3-0324 lies on a Hub: the tests' own, in this
 * process, which forgets what is pushed to it when it has hashed it. The build is a process of its own.
 *
 * Parents are true headers with holes behind them, but for block scales: what is read, sent, hashed and written is all
 * there, only its content is mostly zeros. CHIMERA_BENCH_REACH says how many shards of 4.3 GB are built (default 2),
 * CHIMERA_BENCH_DISK where; nothing stays.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  createReadStream,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { V3_CONFIG_TEXT } from "../scripts/make-fullsize.ts";
import { formatBytes, formatInteger } from "../src/base/format.ts";
import { partRange, taskOf } from "../src/build/build.ts";
import { neededExtents } from "../src/build/extents.ts";
import type { BuildPlan } from "../src/plan/plan.ts";
import { planRecipe } from "../src/plan/plan-recipe.ts";
import { parseRecipe } from "../src/recipe/parse.ts";
import type { LoggedRequest } from "../test/support/hub/faults.ts";
import { DiskFile, sha256, TestHub, type VirtualFile } from "../test/support/hub/hub-server.ts";
import { writeParent } from "./parents/write.ts";
import { diskPlace, removeFolder } from "./places.ts";
import { printLine, printTable } from "./table.ts";

const SHARDS = 163;
const NUM_BUILT = Math.max(1, Math.min(SHARDS, Number(process.env.CHIMERA_BENCH_REACH ?? 2)));
const PARTS = Math.floor(SHARDS / NUM_BUILT);
/** The first shards have most that comes from V3-0324; those of the middle are nearly all experts. */
const WHICH = PARTS > 2 ? [0, Math.floor(PARTS / 2)] : [0];
const REPO = "test/DeepSeek-V3-0324";
const AT_A_TIME = 4;

interface Measured {
  seconds: number;
  peakBytes: number;
  diskBytes: number;
  /** What the Hub was asked for meanwhile. */
  requests: LoggedRequest[];
}

export async function benchReach(): Promise<string> {
  const place = diskPlace();
  const folder = place.folder;
  for (const [name, seed] of [["v3", 1] as const, ["r1", 2] as const])
    writeParent(join(folder, name), {
      ...{ configText: V3_CONFIG_TEXT, seed, filled: new Set<number>(), thinks: name === "r1" },
    });
  const recipeOf = (v3: string) =>
    `version: 1\nparents: { v3: "${v3}", r1: "${join(folder, "r1")}" }\nbase: v3\nrules:\n  - tensors: routed-experts\n    weights: { r1: 1 }\n`;
  writeFileSync(join(folder, "local.yaml"), recipeOf(join(folder, "v3")));
  writeFileSync(join(folder, "remote.yaml"), recipeOf(`hf:${REPO}`));
  const plan = await planRecipe(parseRecipe(recipeOf(join(folder, "v3"))), {});
  assert.equal(plan.shards.length, SHARDS);
  const hub = new TestHub({ lfsBytes: 16 << 20, partBytes: 16 << 20, keepsUploads: false });
  await hub.start();
  try {
    for (const index of WHICH) await buildPart(plan, { folder, hub, index });
  } finally {
    await hub.stop();
    removeFolder(folder);
  }
  return "pushed shards have the SHA-256 of those that are built of local parents";
}

interface Context {
  folder: string;
  hub: TestHub;
  index: number;
}

async function buildPart(plan: BuildPlan, { folder, hub, index }: Context): Promise<void> {
  const part = { index, count: PARTS };
  const { from, to } = partRange(plan, part);
  const shards = plan.shards.slice(from, to);
  const needed = shards.flatMap((shard) =>
    neededExtents(taskOf(plan, shard)).filter(({ parent }) => parent === 0),
  );
  const neededBytes = needed.flatMap(({ extents }) => extents).reduce((sum, e) => sum + e.byteLength, 0);
  const writtenBytes = shards.reduce((sum, { byteLength }) => sum + byteLength, 0);
  hub.add(REPO, await filesOf(join(folder, "v3"), new Set(needed.map(({ shard }) => shard))));
  const out = join(folder, "out");
  const run = (recipe: string, ...args: string[]) =>
    measure(["build", join(folder, recipe), "-o", out, "--part", `${index}/${PARTS}`, ...args], {
      ...{ hub, folder, out },
    });

  const planning = await run("remote.yaml", "--dry-run");
  const local = await run("local.yaml");
  const hashes = new Map(shards.map(({ name }) => [name, recordOf(out, name)]));
  removeFolder(out);
  const remote = await run("remote.yaml");
  for (const [name, hash] of hashes) assert.equal(recordOf(out, name), hash, `${name} read from the Hub`);
  removeFolder(out);
  const repo = `test/child-${index}`;
  const pushed = await run("remote.yaml", "--push", repo, "--discard-local");
  for (const [name, hash] of hashes)
    assert.equal(sha256(hub.repos.get(repo)!.files.get(name)!), hash, `${name} pushed`);
  assert.deepEqual(
    readdirSync(out).filter((name) => name.endsWith(".safetensors")),
    [],
  );
  removeFolder(out);
  const asked = pushed.requests.filter(isForBytes);
  const plain = await download(asked, hub);

  const least = planning.seconds;
  const row = (what: string, { seconds, peakBytes, diskBytes, requests }: Measured) => {
    const bytes = requests.filter(isForBytes).reduce((sum, request) => sum + request.bytes, 0);
    const isBuild = what.startsWith("build");
    const rate = (isBuild ? writtenBytes : bytes) / Math.max(0.01, seconds - (isBuild ? least : 0));
    return [
      ...[what, bytes === 0 ? "–" : formatBytes(bytes)],
      formatInteger(requests.length),
      `${seconds.toFixed(1)} s`,
      what.startsWith("plan") ? "–" : `${(rate / 1e9).toFixed(2)} GB/s`,
      diskBytes === 0 ? "–" : formatBytes(diskBytes),
      peakBytes === 0 ? "–" : formatBytes(peakBytes),
    ];
  };
  const names = `shards ${from + 1} to ${to} of ${SHARDS}, ${formatBytes(writtenBytes)}`;
  printTable(
    `reach: ${names}, of which V3-0324 gives ${formatBytes(neededBytes)}`,
    ["what", "from the Hub", "requests", "time", "rate", "disk, at most", "memory, at most"],
    [
      row("plan alone: headers of the Hub's", planning),
      row("build, both parents local", local),
      row("build, V3-0324 from the Hub", remote),
      row("build, from it, --push --discard-local", pushed),
      row(`the same ranges by plain requests, ${AT_A_TIME} at a time`, plain),
    ],
  );
  const read = asked.reduce((sum, { bytes }) => sum + bytes, 0) - sumOf(planning.requests.filter(isForBytes));
  const share = neededBytes > 0 ? `${(read / neededBytes).toFixed(3)} × what is needed` : formatBytes(read);
  printLine(`read ${share}, beside headers; rates of builds: what is written, by the time after planning`);
}

const isForBytes = ({ method, path }: LoggedRequest): boolean =>
  method === "GET" && path.startsWith("/blobs/");

const sumOf = (requests: readonly LoggedRequest[]): number =>
  requests.reduce((sum, { bytes }) => sum + bytes, 0);

/** A parent as files of a repository. Shards that are to be read have their true hash: one that is read whole is checked. */
async function filesOf(
  folder: string,
  read: ReadonlySet<string>,
): Promise<Map<string, Uint8Array | VirtualFile>> {
  const files = new Map<string, Uint8Array | VirtualFile>();
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (!name.endsWith(".safetensors")) files.set(name, readFileSync(path));
    else {
      const hash = read.has(name) ? await hashOf(path) : createHash("sha256").update(path).digest("hex");
      files.set(name, new DiskFile(path, { head: new Uint8Array(), hash }));
    }
  }
  return files;
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const some of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(some as Buffer);
  return hash.digest("hex");
}

/** The hash in the journal of a part. */
function recordOf(out: string, shard: string): string {
  return JSON.parse(readFileSync(join(out, ".chimera", `${shard}.json`), "utf8")).sha256;
}

/** Runs the command line in a process of its own, and looks at what lies on the disk meanwhile. */
async function measure(
  args: readonly string[],
  { hub, folder, out }: { hub: TestHub; folder: string; out: string },
): Promise<Measured> {
  hub.forget();
  const [home, temporary] = [join(folder, "home"), join(folder, "tmp")];
  for (const path of [home, temporary]) mkdirSync(path, { recursive: true });
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...args, "--progress", "none"], {
    env: {
      ...process.env,
      ...{ HF_ENDPOINT: hub.url, HF_TOKEN: hub.options.token, HF_HOME: home, TMPDIR: temporary },
    },
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  let diskBytes = 0;
  const look = () => {
    diskBytes = Math.max(diskBytes, diskBytesOf(out) + diskBytesOf(home) + diskBytesOf(temporary));
  };
  const timer = setInterval(look, 100);
  const startedAt = performance.now();
  const report = textOf(child, 3);
  const [status] = await once(child, "close");
  const seconds = (performance.now() - startedAt) / 1000;
  clearInterval(timer);
  look();
  assert.equal(status, 0, `chimera ${args.join(" ")}`);
  for (const path of [home, temporary]) removeFolder(path);
  return { seconds, diskBytes, peakBytes: Number(await report), requests: [...hub.log] };
}

async function textOf(child: ChildProcess, fd: number): Promise<string> {
  let text = "";
  for await (const some of child.stdio[fd] as NodeJS.ReadableStream) text += some;
  return text;
}

/** Bytes that files take on the disk, at any depth. What goes away meanwhile counts as nothing. */
function diskBytesOf(path: string): number {
  try {
    const stat = lstatSync(path);
    if (!stat.isDirectory()) return 512 * stat.blocks;
    return readdirSync(path).reduce((sum, name) => sum + diskBytesOf(join(path, name)), 0);
  } catch {
    return 0;
  }
}

/** The ranges of these requests again, by a process that does nothing with them. */
async function download(requests: readonly LoggedRequest[], hub: TestHub): Promise<Measured> {
  hub.forget();
  const list = requests.map(({ path, range }) => ({ url: hub.cdn + path, range }));
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), "download"], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  child.stdin!.end(JSON.stringify(list));
  const startedAt = performance.now();
  const [status] = await once(child, "close");
  assert.equal(status, 0, "plain requests");
  const seconds = (performance.now() - startedAt) / 1000;
  return { seconds, peakBytes: 0, diskBytes: 0, requests: [...hub.log] };
}

async function downloadAll(): Promise<void> {
  let text = "";
  for await (const some of process.stdin) text += some;
  const list = JSON.parse(text) as { url: string; range?: string }[];
  const one = ({ url, range }: { url: string; range?: string }) =>
    new Promise<void>((resolve, reject) => {
      const request = get(url, { headers: range ? { range } : {} }, (response) => {
        response
          .on("data", () => {})
          .on("end", resolve)
          .on("error", reject);
      });
      request.on("error", reject);
    });
  const run = async () => {
    for (let next = list.shift(); next; next = list.shift()) await one(next);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, run));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === "download") await downloadAll();
  else {
    process.on("exit", () => {
      try {
        writeSync(3, String(process.resourceUsage().maxRSS * 1024));
      } catch {
        // Whoever measures has gone.
      }
    });
    const { main } = await import("../src/cli/main.ts");
    process.exitCode = await main(process.argv.slice(2));
  }
}
