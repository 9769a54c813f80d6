/**
 * `build --direct` against the usual build, `cp` and `dd` with O_DIRECT, on the disk and with nothing in its cache: R1T's
 * recipe, with several sizes and depths of reads. Each runs until the bytes are on the disk.
 *
 * CHIMERA_BENCH_DISK says where (the bytes are real and go when it ends); CHIMERA_BENCH_DIRECT how many GB a parent has.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { formatBytes } from "../src/base/format.ts";
import type { DirectOptions } from "../src/build/direct.ts";
import type { BuildPlan } from "../src/plan/plan.ts";
import { buildShards, checkChild, makeParents, planFor } from "./fixture.ts";
import { diskPlace, dropCaches, removeFolder, sync } from "./places.ts";
import { printTable } from "./table.ts";
import { type Contestant, quickestOf } from "./timing.ts";

const GB = Number(process.env.CHIMERA_BENCH_DIRECT ?? 2.1);
/** Eight experts: they come in eight groups. */
const STEP_GB = 8 * 0.04405;
const ROUNDS = 2;
const MIB = 1 << 20;

/** Bytes of a read and reads of a file under way; the first is what --direct takes by itself. */
const SETTINGS: readonly DirectOptions[] = [
  {},
  { readBytes: 1 * MIB, depth: 4 },
  { readBytes: 4 * MIB, depth: 2 },
  { readBytes: 8 * MIB, depth: 1 },
  { readBytes: 8 * MIB, depth: 16 },
  { readBytes: 32 * MIB, depth: 2 },
];

export async function benchDirect(): Promise<string> {
  const place = diskPlace();
  const parents = makeParents(place.folder, 8 * Math.max(1, Math.round(GB / STEP_GB)), "reference");
  const workers = availableParallelism();
  const out = join(place.folder, "out");
  const rows: string[][] = [];
  for (const share of [1, 0.5]) {
    const plan = await planFor(parents, share);
    const usual = { run: () => buildShards(plan, out, { hash: true, workers }) };
    const direct = (options: DirectOptions, count = workers): Contestant => ({
      run: () => buildShards(plan, out, { hash: true, workers: count, direct: options }),
    });
    const settings = share === 1 ? SETTINGS : SETTINGS.slice(0, 1);
    await check(plan, { place: place.folder, settings, workers });
    const isCold = dropCaches();
    const contestants: Record<string, Contestant> = { "build as usual": usual };
    if (share === 1) {
      contestants["cp -r"] = { run: () => execFileSync("cp", ["-r", parents.r1, out]) };
      if (hasDirectDd(parents.r1, out)) {
        contestants["dd direct, 8 MiB, one"] = { run: () => dd(parents.r1, out, 1) };
        contestants[`dd direct, 8 MiB, ${workers} at a time`] = { run: () => dd(parents.r1, out, workers) };
      }
      contestants["build --direct, 1 worker"] = direct({}, 1);
    }
    for (const options of settings) contestants[nameOf(options)] = direct(options);
    for (const contestant of Object.values(contestants)) {
      const { run } = contestant;
      contestant.prepare = () => {
        removeFolder(out);
        sync();
        if (isCold) dropCaches();
      };
      contestant.run = async () => {
        await run();
        sync();
      };
    }
    const times = await quickestOf(contestants, { rounds: ROUNDS });
    const what = share === 1 ? "R1T" : `λ ${share}`;
    for (const [name, seconds] of Object.entries(times)) {
      rows.push([
        ...[what, name, formatBytes(parents.fileBytes), `${seconds.toFixed(2)} s`],
        `${(parents.fileBytes / seconds / 1e9).toFixed(2)} GB/s`,
        `${(seconds / times["build as usual"]!).toFixed(2)}×`,
        times["cp -r"] === undefined ? "–" : `${(seconds / times["cp -r"]).toFixed(2)}×`,
      ]);
    }
    removeFolder(out);
  }
  removeFolder(place.folder);
  const head = ["recipe", "what", "bytes", "time", "speed", "of the usual", "of cp's"];
  printTable(`direct: past the system's cache, ${workers} workers, ${place.kind}, cold, synced`, head, rows);
  return "children equal the usual one byte for byte";
}

function nameOf({ readBytes, depth }: DirectOptions): string {
  return readBytes === undefined ? "build --direct" : `build --direct, ${readBytes / MIB} MiB × ${depth}`;
}

/** The usual child is right, and each direct one is the same. */
async function check(
  plan: BuildPlan,
  { place, settings, workers }: { place: string; settings: readonly DirectOptions[]; workers: number },
): Promise<void> {
  const [usual, other] = [join(place, "usual"), join(place, "other")];
  await buildShards(plan, usual, { hash: true, workers });
  checkChild(plan, usual);
  for (const direct of settings) {
    await buildShards(plan, other, { hash: true, workers, direct });
    for (const { name } of plan.shards) assertEqualFiles(join(usual, name), join(other, name));
    removeFolder(other);
  }
  removeFolder(usual);
}

function assertEqualFiles(first: string, second: string): void {
  const files = [first, second].map((path) => openSync(path, "r"));
  const buffers = files.map(() => Buffer.alloc(8 * MIB));
  try {
    assert.equal(statSync(first).size, statSync(second).size, second);
    for (let at = 0; at < statSync(first).size; at += 8 * MIB) {
      const [a, b] = files.map((fd, i) => buffers[i]!.subarray(0, readSync(fd, buffers[i]!, 0, 8 * MIB, at)));
      assert.ok(a!.equals(b!), `${second} differs from ${first} behind byte ${at}`);
    }
  } finally {
    for (const fd of files) closeSync(fd);
  }
}

const shardsOf = (folder: string): string[] =>
  readdirSync(folder).filter((name) => name.endsWith(".safetensors"));

function ddArguments(from: string, to: string): string[] {
  return [`if=${from}`, `of=${to}`, "bs=8M", "iflag=direct", "oflag=direct", "status=none"];
}

function hasDirectDd(from: string, out: string): boolean {
  mkdirSync(out);
  try {
    execFileSync("dd", [...ddArguments(join(from, shardsOf(from)[0]!), join(out, "first")), "count=1"], {
      stdio: "ignore",
    });
    return true;
  } catch {
    return false;
  } finally {
    removeFolder(out);
  }
}

/** All shards by dd, several processes at a time. */
async function dd(from: string, out: string, atATime: number): Promise<void> {
  mkdirSync(out);
  const names = shardsOf(from);
  const run = async () => {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const child = spawn("dd", ddArguments(join(from, name), join(out, name)), { stdio: "inherit" });
      const [status] = await once(child, "exit");
      assert.equal(status, 0, "dd");
    }
  };
  await Promise.all(Array.from({ length: atATime }, run));
}
