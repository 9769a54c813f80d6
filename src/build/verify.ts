/**
 * Proof of a child: it is planned again from its own recipe and its parents, and held against that plan.
 *
 * Checked, in this order: the record and the parents' headers; the folder's list of files and their hashes;
 * each shard's header, size and SHA-256; every copied tensor byte for byte against its parent; a sample of
 * the computed tensors (or all) computed again; index and config. A shard whose hash is off is gone through
 * tensor by tensor, so that the finding names what differs and where.
 */
import { createHash } from "node:crypto";
import { CheckpointError } from "../base/errors.ts";
import type { Source, Store } from "../checkpoint/source.ts";
import { openStore } from "../checkpoint/stores.ts";
import { createKernels } from "../kernels/probe.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { Heap, HEAP_BYTES } from "../logical/heap.ts";
import { elementIndex } from "../logical/pieces.ts";
import type { BuildPlan, PlanShard, PlanTensor } from "../plan/plan.ts";
import { planRecipe } from "../plan/plan-recipe.ts";
import { parseRecipe } from "../recipe/parse.ts";
import { bitsOf } from "../tensor/dtype.ts";
import { assembleShard } from "./assemble-shard.ts";
import { taskOf } from "./build.ts";
import { CHILD_NAME, type ChildRecord, readChildRecord } from "./child.ts";
import { indexText } from "./other-files.ts";
import { ParentSources } from "./sources.ts";
import { Interrupted } from "../base/errors.ts";

/** Something that is not as it should be. */
export interface Finding {
  code: "missing-file" | "file-hash" | "shard-size" | "shard-hash" | "header" | "tensor" | "index" | "plan" | "extra-file";
  message: string;
  file?: string;
  tensor?: string;
}

export interface VerifyReport {
  location: string;
  ok: boolean;
  findings: Finding[];
  checked: { shards: number; bytes: number; copied: number; recomputed: number; merged: number; files: number };
  seconds: number;
}

export interface VerifyOptions {
  /** Compute every merged tensor again, not a sample. */
  all?: boolean;
  /** Where parents lie now, by name. */
  locations?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number, shard: string) => void;
  kernels?: "auto" | "wasm" | "scalar";
}

/** Merged tensors that are computed again in each shard unless all are asked for. */
const SAMPLE_PER_SHARD = 8;

/**
 * Verifies a finished child. What differs is reported, not thrown.
 * Throws CheckpointError for a folder that holds no finished child, or parents that cannot be read.
 */
export async function verify(location: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  const startedAt = performance.now();
  const store = openStore(location);
  const record = await requireRecord(store);
  const findings: Finding[] = [];
  const plan = await planAgain(record, options);
  const checked = { shards: 0, bytes: 0, copied: 0, recomputed: 0, merged: 0, files: 0 };
  if (plan.digest !== record.planDigest) {
    throw new CheckpointError("parents-changed", planMismatch(record, plan), {
      note: "Its parents must be those that it was built from; --parent name=folder says where they are",
    });
  }
  const total = plan.totals.writeBytes;
  let done = 0;
  const kernels = createKernels(HEAP_BYTES, options.kernels ?? "auto");
  const present = new Map((await store.list()).map(({ name, byteLength }) => [name, byteLength]));
  for (const shard of plan.shards) {
    checked.shards++;
    const size = present.get(shard.name);
    if (size === undefined || size !== shard.byteLength) {
      const what = size === undefined ? "it is not there" : `it holds ${size} bytes, wanted ${shard.byteLength}`;
      const code = size === undefined ? "missing-file" : "shard-size";
      findings.push({ code, file: shard.name, message: `Cannot verify "${shard.name}": ${what}` });
      done += shard.byteLength;
      continue;
    }
    const wanted = record.shards.find(({ name }) => name === shard.name)?.sha256;
    const counts = await verifyShard(plan, shard, {
      store,
      kernels,
      wanted: wanted ?? "",
      all: options.all ?? false,
      findings,
      onBytes: (bytes) => {
        if (options.signal?.aborted) throw new Interrupted("The verification was stopped");
        done += bytes;
        options.onProgress?.(Math.min(done, total), total, shard.name);
      },
    });
    checked.bytes += shard.byteLength;
    checked.copied += counts.copied;
    checked.recomputed += counts.recomputed;
    checked.merged += counts.merged;
  }
  checked.files = await verifyFiles(store, { record, plan, findings, present });
  const seconds = (performance.now() - startedAt) / 1000;
  return { location: store.location, ok: findings.length === 0, findings, checked, seconds };
}

async function requireRecord(store: Store): Promise<ChildRecord> {
  const record = await readChildRecord(store);
  if (record) return record;
  const unfinished = await store.readSmall(".chimera/state.json");
  const what = unfinished ? "it holds an unfinished build" : `it holds no ${CHILD_NAME}`;
  throw new CheckpointError("not-a-child", `Cannot verify "${store.location}": ${what}, wanted a finished child`, {
    note: unfinished ? "Run the build again to finish it" : "Only children that chimera built can be verified",
  });
}

async function planAgain(record: ChildRecord, { locations }: VerifyOptions): Promise<BuildPlan> {
  const recipe = parseRecipe(record.recipe, { file: record.recipeFile ?? CHILD_NAME });
  const recorded = Object.fromEntries(record.parents.map(({ name, location }) => [name, location]));
  return planRecipe(recipe, { locations: { ...recorded, ...locations } });
}

function planMismatch(record: ChildRecord, plan: BuildPlan): string {
  const changed = plan.parents.filter(
    ({ name, digest }) => record.parents.find((parent) => parent.name === name)?.digest !== digest,
  );
  if (changed.length === 0) {
    return `Cannot verify: the recipe now gives plan ${plan.digest.slice(0, 12)}…, the child was built from ${record.planDigest.slice(0, 12)}…`;
  }
  const lines = changed.map(({ name, digest, location }) => {
    const was = record.parents.find((parent) => parent.name === name)?.digest ?? "none";
    return `Cannot verify: headers of parent "${name}" (${location}) have digest ${digest.slice(0, 12)}…, wanted ${was.slice(0, 12)}…`;
  });
  return lines.join("\n");
}

interface ShardCheck {
  store: Store;
  kernels: Kernels;
  wanted: string;
  all: boolean;
  findings: Finding[];
  onBytes: (bytes: number) => void;
}

async function verifyShard(
  plan: BuildPlan,
  shard: PlanShard,
  { store, kernels, wanted, all, findings, onBytes }: ShardCheck,
): Promise<{ copied: number; recomputed: number; merged: number }> {
  const source = await store.open(shard.name);
  const sources = new ParentSources(plan.parents);
  const heap = new Heap(kernels.bytes.length);
  try {
    const sha256 = await hashOf(source, onBytes);
    const hashIsOff = sha256 !== wanted;
    const sample = new Set(all || hashIsOff ? mergesOf(shard) : sampleOf(shard));
    const counts = { copied: 0, recomputed: 0, merged: mergesOf(shard).length };
    const include = ({ action }: PlanTensor) => action.kind === "copy" || sample.has(action.merge);
    const faulty = new Set<string>();
    const buffer = new Uint8Array(HEAP_BYTES);
    await assembleShard(taskOf(plan, shard), {
      kernels,
      heap,
      sources,
      output: plan.output,
      include,
      put: async (bytes, offset, tensor) => {
        onBytes(0);
        const there = buffer.subarray(0, bytes.length);
        await source.read(there, offset);
        if (Buffer.compare(there, bytes) === 0) return;
        const at = there.findIndex((byte, i) => byte !== bytes[i]);
        const finding = describe(shard, tensor, { offset: offset + at, found: there[at]!, expected: bytes[at]! });
        const key = finding.tensor ?? "";
        if (!faulty.has(key)) findings.push(finding); // one finding per tensor, at its first byte
        faulty.add(key);
      },
    });
    if (hashIsOff && faulty.size === 0) {
      const message = `Cannot verify "${shard.name}": SHA-256 is ${sha256}, ${CHILD_NAME} says ${wanted}, yet every tensor is as it should be`;
      findings.push({ code: "shard-hash", file: shard.name, message });
    }
    counts.copied = shard.tensors.filter(({ action }) => action.kind === "copy").length;
    counts.recomputed = sample.size;
    return counts;
  } finally {
    await source.close();
    await sources.close();
  }
}

function mergesOf(shard: PlanShard): number[] {
  const indices = shard.tensors.flatMap(({ action }) => (action.kind === "merge" ? [action.merge] : []));
  return [...new Set(indices)];
}

/** Evenly spaced, the same every time. */
function sampleOf(shard: PlanShard): number[] {
  const all = mergesOf(shard);
  if (all.length <= SAMPLE_PER_SHARD) return all;
  return Array.from({ length: SAMPLE_PER_SHARD }, (_, i) => all[Math.floor((i * all.length) / SAMPLE_PER_SHARD)]!);
}

async function hashOf(source: Source, onBytes: (bytes: number) => void): Promise<string> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(Math.min(4 << 20, source.byteLength));
  for (let position = 0; position < source.byteLength; position += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, source.byteLength - position));
    await source.read(piece, position);
    hash.update(piece);
    onBytes(piece.length);
  }
  return hash.digest("hex");
}

/** Names the tensor that holds a position of the file, and the element. */
function describe(
  shard: PlanShard,
  near: PlanTensor | undefined,
  { offset, found, expected }: { offset: number; found: number; expected: number },
): Finding {
  const hex = (byte: number) => `0x${byte.toString(16).padStart(2, "0")}`;
  const values = `byte ${offset} of "${shard.name}" is ${hex(found)}, wanted ${hex(expected)}`;
  const tensor = near && shard.tensors.find((t) => offset >= t.offset && offset < t.offset + t.byteLength);
  if (!tensor) {
    return { code: "header", file: shard.name, message: `Cannot verify the header of "${shard.name}": ${values}` };
  }
  const element = Math.floor(((offset - tensor.offset) * 8) / bitsOf(tensor.dtype));
  const index = elementIndex(tensor.shape, element).join(", ");
  const message = `Cannot verify "${tensor.name}": element [${index}] differs, ${values}`;
  return { code: "tensor", file: shard.name, tensor: tensor.name, message };
}

async function verifyFiles(
  store: Store,
  { record, plan, findings, present }: { record: ChildRecord; plan: BuildPlan; findings: Finding[]; present: ReadonlyMap<string, number> },
): Promise<number> {
  for (const [name, wanted] of Object.entries(record.files)) {
    const bytes = await store.readSmall(name, 500_000_000);
    if (!bytes) {
      findings.push({ code: "missing-file", file: name, message: `Cannot verify "${name}": it is not there` });
      continue;
    }
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    if (sha256 !== wanted) {
      const message = `Cannot verify "${name}": SHA-256 is ${sha256}, ${CHILD_NAME} says ${wanted}`;
      findings.push({ code: "file-hash", file: name, message });
    }
    if (name === "model.safetensors.index.json" && sha256 === wanted) {
      if (new TextDecoder().decode(bytes) !== indexText(plan)) {
        findings.push({ code: "index", file: name, message: `Cannot verify "${name}": it does not say what the plan says` });
      }
    }
  }
  const known = new Set([...Object.keys(record.files), ...plan.shards.map(({ name }) => name)]);
  for (const name of present.keys()) {
    if (name.endsWith(".safetensors") && !known.has(name)) {
      findings.push({ code: "extra-file", file: name, message: `Found "${name}", which is no part of the child` });
    }
  }
  return Object.keys(record.files).length;
}
