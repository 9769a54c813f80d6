/**
 * One shard of the child as a stream of bytes: the header, then every tensor from its sources.
 *
 * Who receives the bytes decides what this is: a build writes and hashes them, a verification compares
 * them with what is there. Pieces come in file order, except that block scales follow their weight, whose
 * codes decide them.
 */
import { encodeHeader } from "../checkpoint/header.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { Heap } from "../logical/heap.ts";
import { mergeTensor } from "../logical/merge.ts";
import { readScales } from "../logical/operand.ts";
import type { PlanMerge, PlanOutput, PlanShard, PlanTensor } from "../plan/plan.ts";
import { type CopyRun, copyRun } from "./copy-run.ts";
import { type Outcome, type Resolved, resolveMerge } from "./resolve.ts";
import type { ParentSources } from "./sources.ts";

/** A shard with the merges that its tensors name. */
export interface ShardTask {
  shard: PlanShard;
  merges: Record<number, PlanMerge>;
}

export interface ShardEnvironment {
  kernels: Kernels;
  heap: Heap;
  sources: ParentSources;
  output: PlanOutput;
  /** Receives bytes (valid until it settles) for a position of the file. */
  put: (bytes: Uint8Array, offset: number, tensor: PlanTensor | undefined) => Promise<void>;
  /** Called between pieces; throws to stop. */
  checkpoint?: () => void;
  /** Leaves out tensors: for verifying a sample. The header is always made. */
  include?: (tensor: PlanTensor) => boolean;
}

/** Outcomes of the shard's merges by the name of the weight. */
export type ShardOutcome = Record<string, Outcome>;

export async function assembleShard(
  { shard, merges }: ShardTask,
  environment: ShardEnvironment,
): Promise<ShardOutcome> {
  const { put, include } = environment;
  const outcomes: ShardOutcome = {};
  await environment.sources.expect({ shard, merges }, include);
  await put(encodeHeader(shard.tensors, new Map(shard.metadata)), 0, undefined);
  const tensors = include ? shard.tensors.filter(include) : shard.tensors;
  const scales = new Map<number, PlanTensor>();
  const weights = new Set<number>();
  for (const tensor of tensors) {
    if (tensor.action.kind !== "merge") continue;
    if (tensor.part === "scale") scales.set(tensor.action.merge, tensor);
    else weights.add(tensor.action.merge);
  }
  for (let i = 0; i < tensors.length; ) {
    const tensor = tensors[i]!;
    if (tensor.action.kind === "copy") {
      const run = runFrom(tensors, i);
      await copyRun(run, environment);
      i += run.tensors.length;
      continue;
    }
    i++;
    const index = tensor.action.merge;
    if (tensor.part === "scale" && weights.has(index)) continue; // comes with its weight
    const weight = tensor.part === "scale" ? undefined : tensor;
    const scale = tensor.part === "scale" ? tensor : scales.get(index);
    outcomes[merges[index]!.name] = await putMerge(merges[index]!, { weight, scale }, environment);
  }
  return outcomes;
}

/** Neighbours that are neighbours in one file of a parent too: copied in one sweep. */
function runFrom(tensors: readonly PlanTensor[], start: number): CopyRun {
  const first = tensors[start]!;
  const action = first.action;
  if (action.kind !== "copy") throw new Error("internal: a run starts with a copy");
  const run: PlanTensor[] = [first];
  let [from, to] = [action.offset + first.byteLength, first.offset + first.byteLength];
  for (let i = start + 1; i < tensors.length; i++) {
    const next = tensors[i]!;
    const { action: other } = next;
    if (other.kind !== "copy" || other.parent !== action.parent || other.shard !== action.shard) break;
    if (other.offset !== from || next.offset !== to) break;
    run.push(next);
    from += next.byteLength;
    to += next.byteLength;
  }
  return { parent: action.parent, shard: action.shard, offset: action.offset, tensors: run };
}

interface Parts {
  /** Where codes go; undefined when they are another shard's. */
  weight: PlanTensor | undefined;
  /** Where the scales go; undefined without scales, or when they are another shard's. */
  scale: PlanTensor | undefined;
}

async function putMerge(merge: PlanMerge, parts: Parts, environment: ShardEnvironment): Promise<Outcome> {
  const resolved = await resolveMerge(merge, environment);
  if (resolved.copy) await putCopy(merge, resolved, parts, environment);
  else await putSum(merge, resolved, parts, environment);
  return resolved.outcome;
}

async function putCopy(
  merge: PlanMerge,
  { terms }: Resolved,
  { weight, scale: to }: Parts,
  environment: ShardEnvironment,
): Promise<void> {
  const { sources, output, put, kernels, heap } = environment;
  const { operand } = terms[0]!;
  const { parent, shard, offset, scale } = operand;
  if (weight) await copyRun({ parent, shard, offset, tensors: [weight] }, environment);
  if (!to || !scale) return;
  if (scale.dtype === to.dtype) {
    await copyRun({ parent, shard: scale.shard, offset: scale.offset, tensors: [to] }, environment);
    return;
  }
  // The child's scales are F32, as merged ones are: the same values, and the codes stay.
  const widened = await readScales(await sources.operand(operand, merge, output), kernels, heap);
  await put(new Uint8Array(widened.buffer), to.offset, to);
}

async function putSum(
  merge: PlanMerge,
  { terms }: Resolved,
  { weight, scale }: Parts,
  environment: ShardEnvironment,
): Promise<void> {
  const { sources, output, put } = environment;
  const operands = await Promise.all(terms.map(({ operand }) => sources.operand(operand, merge, output)));
  const [rows, cols] = output.block;
  const powerOfTwo = output.scaleFormat === "ue8m0" || merge.scaleDtype === "F8_E8M0";
  const scales = await mergeTensor(
    operands,
    terms.map((term) => term.weight),
    { dtype: merge.dtype, block: { rows, cols }, powerOfTwo },
    { ...environment, emit: async (bytes, offset) => weight && put(bytes, weight.offset + offset, weight) },
  );
  if (scale && scales) await put(scaleBytes(scales, merge), scale.offset, scale);
}

/** Scales as the child stores them. UE8M0 is the exponent of a power of two. */
function scaleBytes(scales: Float32Array, { scaleDtype }: PlanMerge): Uint8Array {
  if (scaleDtype !== "F8_E8M0") return new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength);
  const bits = new Uint32Array(scales.buffer, scales.byteOffset, scales.length);
  return Uint8Array.from(bits, (value) => value >>> 23);
}
