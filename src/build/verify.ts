/**
 * Proof of a child: it is planned again from its own recipe and its parents, and held against that plan.
 *
 * Checked, in this order: the record and the parents' headers; the folder's list of files and their hashes;
 * each shard's header, size and SHA-256; every copied tensor byte for byte against its parent; a sample of
 * the computed tensors (or all) computed again; index, config and tokenizer against what the parents give. A shard whose hash is off is gone through
 * tensor by tensor, so that the finding names what differs and where.
 */

import { createHash } from "node:crypto";
import { CheckpointError, Interrupted } from "../base/errors.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import type { Source, Store } from "../checkpoint/source.ts";
import { openStore } from "../checkpoint/stores.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { createKernels } from "../kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../logical/heap.ts";
import { elementIndex } from "../logical/pieces.ts";
import type { BuildPlan, PlanShard, PlanTensor } from "../plan/plan.ts";
import { planRecipe } from "../plan/plan-recipe.ts";
import { parseRecipe } from "../recipe/parse.ts";
import { bitsOf } from "../tensor/dtype.ts";
import { assembleShard } from "./assemble-shard.ts";
import { taskOf } from "./build.ts";
import { CHILD_NAME, type ChildRecord, readChildRecord } from "./child.ts";
import type { VerifyEvent } from "./events.ts";
import { otherFiles } from "./other-files.ts";
import { ParentSources } from "./sources.ts";

/** Something that is not as it should be. */
export interface Finding {
  /** Stable, for scripts. */
  code:
    | "missing-file"
    | "file-hash"
    | "file-source"
    | "shard-size"
    | "shard-hash"
    | "header"
    | "tensor"
    | "plan"
    | "extra-file";
  /** Names element, file and byte where a tensor differs, with both values. */
  message: string;
  /** Within the child's folder. */
  file?: string;
  tensor?: string;
}

export interface VerifyReport {
  location: string;
  /** Nothing was found. */
  ok: boolean;
  findings: Finding[];
  checked: {
    shards: number;
    /** Of the shards that were hashed. */
    bytes: number;
    /** Tensors of the child that were held against a parent's bytes. */
    copied: number;
    /** Merges computed again, of `merged`: all, or a sample of each shard. */
    recomputed: number;
    merged: number;
    /** Beside the shards. */
    files: number;
  };
  seconds: number;
}

export interface VerifyOptions {
  /** Compute every merged tensor again, not a sample. */
  all?: boolean;
  /** Where parents lie now, by name. */
  locations?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
  onEvent?: (event: VerifyEvent) => void;
  kernels?: "auto" | "wasm" | "scalar";
}

const EVENT_INTERVAL_MS = 100;

/** As much as most pieces hold. */
const COMPARE_BYTES = 4 << 20;

/** Merged tensors that are computed again in each shard unless all are asked for. */
const SAMPLE_PER_SHARD = 8;

/**
 * Verifies a finished child against its recipe and its parents, which must be there: assembly.md section 5.
 * What differs is reported, not thrown.
 *
 * @throws CheckpointError by `code`: "not-a-child", "parents-changed", "missing" … (folder and parents)
 * @throws Interrupted when the signal fired
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
  const bytesTotal = plan.totals.writeBytes;
  const emit = options.onEvent ?? (() => {});
  let before = 0; // bytes of the shards that are through
  let toldAt = 0;
  const tell = (bytesDone: number, shard: string) => {
    toldAt = performance.now();
    emit({ kind: "progress", bytesDone: Math.min(Math.round(bytesDone), bytesTotal), bytesTotal, shard });
  };
  emit({ kind: "started", shards: plan.shards.length, bytes: bytesTotal });
  const kernels = createKernels(HEAP_BYTES, options.kernels ?? "auto");
  const present = new Map((await store.list()).map(({ name, byteLength }) => [name, byteLength]));
  for (const shard of plan.shards) {
    checked.shards++;
    const size = present.get(shard.name);
    if (size === undefined || size !== shard.byteLength) {
      const what =
        size === undefined ? "it is not there" : `it holds ${size} bytes, wanted ${shard.byteLength}`;
      const code = size === undefined ? "missing-file" : "shard-size";
      findings.push({ code, file: shard.name, message: `Cannot verify "${shard.name}": ${what}` });
      before += shard.byteLength;
      continue;
    }
    let done = 0;
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
        if (performance.now() - toldAt >= EVENT_INTERVAL_MS) tell(before + done, shard.name);
      },
    });
    before += shard.byteLength;
    tell(before, shard.name);
    checked.bytes += shard.byteLength;
    checked.copied += counts.copied;
    checked.recomputed += counts.recomputed;
    checked.merged += counts.merged;
  }
  checked.files = await verifyFiles(store, { record, plan, findings, present });
  const seconds = (performance.now() - startedAt) / 1000;
  const ok = findings.length === 0;
  emit({ kind: "finished", ok, shards: checked.shards, bytes: checked.bytes, seconds });
  return { location: publicLocation(store.location), ok, findings, checked, seconds };
}

async function requireRecord(store: Store): Promise<ChildRecord> {
  await store.list(); // says so when there is no such folder
  const record = await readChildRecord(store);
  if (record) return record;
  const unfinished = await store.readSmall(".chimera/state.json");
  const what = unfinished ? "it holds an unfinished build" : `it holds no ${CHILD_NAME}`;
  throw new CheckpointError(
    "not-a-child",
    `Cannot verify "${publicLocation(store.location)}": ${what}, wanted a finished child`,
    {
      note: unfinished
        ? "Run the build again to finish it"
        : "Only children that chimera built can be verified",
    },
  );
}

/** The plan of a finished child: from its own recipe, and its parents where they were or where they are now. */
export async function planAgain(
  record: ChildRecord,
  { locations }: Pick<VerifyOptions, "locations"> = {},
): Promise<BuildPlan> {
  const recipe = parseRecipe(record.recipe, { file: record.recipeFile ?? CHILD_NAME });
  const recorded = Object.fromEntries(record.parents.map(({ name, location }) => [name, location]));
  try {
    return await planRecipe(recipe, { locations: { ...recorded, ...locations } });
  } catch (error) {
    if (!(error instanceof CheckpointError && error.code === "missing")) throw error;
    const note = "If a parent has moved, --parent name=folder says where it is";
    throw new CheckpointError(error.code, error.message, { note, cause: error });
  }
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
    return `Cannot verify: headers of parent "${name}" (${publicLocation(location)}) have digest ${digest.slice(0, 12)}…, wanted ${was.slice(0, 12)}…`;
  });
  return lines.join("\n");
}

interface ShardCheck {
  store: Store;
  kernels: Kernels;
  wanted: string;
  all: boolean;
  findings: Finding[];
  /** Of the shard's bytes: half of them by hashing, half by comparing. */
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
    const sha256 = await hashOf(source, (bytes) => onBytes(bytes / 2));
    const hashIsOff = sha256 !== wanted;
    const sample = new Set(all || hashIsOff ? mergesOf(shard) : sampleOf(shard));
    const counts = { copied: 0, recomputed: 0, merged: mergesOf(shard).length };
    const include = ({ action }: PlanTensor) => action.kind === "copy" || sample.has(action.merge);
    const faulty = new Set<string>();
    const included = shard.tensors.filter(include).reduce((sum, { byteLength }) => sum + byteLength, 0);
    const share = shard.byteLength / 2 / (shard.dataStart + included);
    let buffer = new Uint8Array(COMPARE_BYTES);
    const compare = async (bytes: Uint8Array, offset: number, tensor: PlanTensor | undefined) => {
      onBytes(bytes.length * share);
      if (bytes.length > buffer.length) buffer = new Uint8Array(bytes.length); // a header may be long
      const there = buffer.subarray(0, bytes.length);
      await source.read(there, offset);
      if (Buffer.compare(there, bytes) === 0) return;
      // A piece may hold many tensors: one finding for each, at its first byte.
      for (let at = 0; at < bytes.length; ) {
        at = firstDifference(there, bytes, at);
        if (at < 0) return;
        const position = offset + at;
        const finding = describe(shard, tensor, {
          offset: position,
          found: there[at]!,
          expected: bytes[at]!,
        });
        const key = finding.tensor ?? "";
        if (!faulty.has(key)) findings.push(finding);
        faulty.add(key);
        at = endOf(shard, tensor, position) - offset;
      }
    };
    // Pieces may come while others are compared; they share the buffer, so they take turns.
    let last = Promise.resolve();
    const put = (bytes: Uint8Array, offset: number, tensor: PlanTensor | undefined) => {
      last = last.then(() => compare(bytes, offset, tensor));
      return last;
    };
    await assembleShard(taskOf(plan, shard), { kernels, heap, sources, output: plan.output, include, put });
    if (hashIsOff && faulty.size === 0) {
      const message = `Cannot verify "${shard.name}": SHA-256 is ${sha256}, ${CHILD_NAME} says ${wanted || "nothing"}, yet every tensor is as it should be`;
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
  return Array.from(
    { length: SAMPLE_PER_SHARD },
    (_, i) => all[Math.floor((i * all.length) / SAMPLE_PER_SHARD)]!,
  );
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
  const tensor = near && tensorAt(shard, offset);
  if (!tensor) {
    return {
      code: "header",
      file: shard.name,
      message: `Cannot verify the header of "${shard.name}": ${values}`,
    };
  }
  const element = Math.floor(((offset - tensor.offset) * 8) / bitsOf(tensor.dtype));
  const index = elementIndex(tensor.shape, element).join(", ");
  const message = `Cannot verify "${tensor.name}": element [${index}] differs, ${values}`;
  return { code: "tensor", file: shard.name, tensor: tensor.name, message };
}

function tensorAt(shard: PlanShard, position: number): PlanTensor | undefined {
  return shard.tensors.find(({ offset, byteLength }) => position >= offset && position < offset + byteLength);
}

/** Where the tensor (or the header) ends that holds a position. */
function endOf(shard: PlanShard, near: PlanTensor | undefined, position: number): number {
  const tensor = near && tensorAt(shard, position);
  return tensor ? tensor.offset + tensor.byteLength : shard.dataStart;
}

function firstDifference(a: Uint8Array, b: Uint8Array, from: number): number {
  for (let i = from; i < a.length; i++) if (a[i] !== b[i]) return i;
  return -1;
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Hashes against the record, and content against what the parents give: config and index, above all. */
async function verifyFiles(
  store: Store,
  {
    record,
    plan,
    findings,
    present,
  }: { record: ChildRecord; plan: BuildPlan; findings: Finding[]; present: ReadonlyMap<string, number> },
): Promise<number> {
  for (const [name, wanted] of Object.entries(record.files)) {
    const bytes = await store.readSmall(name, 500_000_000);
    if (!bytes) {
      findings.push({
        code: "missing-file",
        file: name,
        message: `Cannot verify "${name}": it is not there`,
      });
      continue;
    }
    const sha256 = sha256Of(bytes);
    if (sha256 !== wanted) {
      const message = `Cannot verify "${name}": SHA-256 is ${sha256}, ${CHILD_NAME} says ${wanted}`;
      findings.push({ code: "file-hash", file: name, message });
    }
  }
  const stores = plan.parents.map(({ location }) => openStore(location));
  for (const [name, expected] of await otherFiles(plan, stores)) {
    const bytes = await store.readSmall(name, 500_000_000);
    const recorded = record.files[name];
    if (recorded === undefined) {
      findings.push({
        code: "plan",
        file: name,
        message: `Cannot verify "${name}": ${CHILD_NAME} does not name it`,
      });
    } else if (bytes && Buffer.compare(bytes, expected) !== 0 && sha256Of(bytes) === recorded) {
      const message = `Cannot verify "${name}": it is not what the parents' files give now`;
      findings.push({ code: "file-source", file: name, message });
    }
  }
  const known = new Set([...Object.keys(record.files), ...plan.shards.map(({ name }) => name)]);
  for (const name of present.keys()) {
    if (name.endsWith(".safetensors") && !known.has(name)) {
      findings.push({
        code: "extra-file",
        file: name,
        message: `Found "${name}", which is no part of the child`,
      });
    }
  }
  return Object.keys(record.files).length;
}
