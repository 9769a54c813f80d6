/**
 * Which tensor of a synthetic parent lies in which shard: the layout of DeepSeek's releases
 * (checkpoint-format.md section 5), from the config alone.
 *
 * Their 163 shards come from a training run over a pipeline of eight stages: each stage packs its layers in
 * sequence and closes a shard as soon as it passes 4 GiB. Stages get as many layers as can be, the first and
 * the last ones fewer, as they also hold the embedding and the head. MTP layers are a run of their own, and
 * what they have beside a decoder block stays together. For the real config this gives 163 shards, with the
 * short ones where the release has them (#12 #34 #56 …).
 */
import { type Architecture, architectureOf, type ExpectedTensor } from "../../src/arch/architecture.ts";
import { configProblems } from "../../src/arch/config-problems.ts";
import { bitsOf, byteLengthOf } from "../../src/tensor/dtype.ts";

export interface LayoutTensor extends ExpectedTensor {
  byteLength: number;
}

export interface ShardLayout {
  name: string;
  /** In the order of their data. */
  tensors: LayoutTensor[];
}

export interface LayoutOptions {
  /** A shard is closed when it passes this. */
  shardBytes?: number;
  /**
   * "reference": as safetensors' own writer sorts them, larger elements first, then by name, so that all
   * scales stand before all codes. "adjacent": every weight is followed by its scale.
   */
  order?: "reference" | "adjacent";
}

export const SHARD_BYTES: number = 4 * 2 ** 30;
const NUM_STAGES = 8;

export interface ParentLayout {
  arch: Architecture;
  shards: ShardLayout[];
  /** Tensor -> shard, in the order of the index. */
  weightMap: Map<string, string>;
  tensorBytes: number;
}

/** Throws RangeError for a config that does not say which tensors there are. */
export function layOutParent(config: unknown, options: LayoutOptions = {}): ParentLayout {
  const { shardBytes = SHARD_BYTES, order = "reference" } = options;
  const arch = architectureOf(config);
  const expected = arch.expectedTensors?.();
  if (!expected) {
    const family = `config.json is of ${arch.label}, wanted DeepSeek-V2 or -V3`;
    throw new RangeError(`Cannot lay out a parent: ${configProblems(config)[0]?.message ?? family}`);
  }
  const tensors = expected.map((tensor) => ({
    ...tensor,
    byteLength: byteLengthOf(tensor.dtype, tensor.shape),
  }));
  const tensorBytes = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  // A checkpoint of few shards is one run: stages would only cut it into crumbs.
  const numStages = tensorBytes >= 2 * NUM_STAGES * shardBytes ? NUM_STAGES : 1;
  const groups = runsOf(tensors, arch, numStages).flatMap((run) => pack(run, shardBytes));
  const shards = groups.map((group, i) => ({
    name: shardName(i + 1, groups.length),
    tensors: order === "reference" ? group.sort(referenceOrder) : group,
  }));
  const shardOf = new Map(
    shards.flatMap(({ name, tensors }) => tensors.map((tensor) => [tensor.name, name])),
  );
  return {
    arch,
    shards,
    weightMap: new Map(tensors.map(({ name }) => [name, shardOf.get(name)!])),
    tensorBytes,
  };
}

/** Five digits, then six, as DeepSeek has it. */
export function shardName(index: number, count: number): string {
  return `model-${String(index).padStart(5, "0")}-of-${String(count).padStart(6, "0")}.safetensors`;
}

/** Larger elements first, then by name (safetensors, serialize.rs). */
function referenceOrder(a: LayoutTensor, b: LayoutTensor): number {
  return bitsOf(b.dtype) - bitsOf(a.dtype) || (a.name < b.name ? -1 : 1);
}

/** Tensors that go into the same shard: one, or the extras of an MTP layer. */
type Unit = LayoutTensor[];

/** Units in sequence, one list per stage and one for the MTP layers. */
function runsOf(tensors: readonly LayoutTensor[], arch: Architecture, numStages: number): Unit[][] {
  const numLayers = arch.numLayers!;
  const stages = stageOfLayers(numLayers, numStages);
  const last = numStages - 1;
  const runs: Unit[][] = Array.from({ length: numStages + 1 }, () => []);
  const first: Unit[] = [];
  const closing: Unit[] = [];
  const extras = new Map<number, Unit>();
  for (const tensor of tensors) {
    const { role, layer, mtp } = arch.locate(tensor.name);
    if (layer === undefined) (role === "embeddings" ? first : closing).push([tensor]);
    else if (!mtp) runs[stages[layer]!]!.push([tensor]);
    else if (role === "mtp" || role === "norms") extras.set(layer, [...(extras.get(layer) ?? []), tensor]);
    else runs[numStages]!.push([tensor]);
  }
  runs[0]!.unshift(...first);
  runs[last]!.push(...closing);
  runs[numStages]!.push(...extras.values());
  // In one run the MTP layers, too, simply follow.
  return (numStages === 1 ? [runs.flat()] : runs).filter((run) => run.length > 0);
}

/** The stage of each layer: as even as can be, the odd layers to the stages behind the first. */
function stageOfLayers(numLayers: number, numStages: number): number[] {
  const least = Math.floor(numLayers / numStages);
  const odd = numLayers % numStages;
  return Array.from({ length: numStages }, (_, stage) => {
    return new Array<number>(least + (stage >= 1 && stage <= odd ? 1 : 0)).fill(stage);
  }).flat();
}

function pack(run: readonly Unit[], shardBytes: number): LayoutTensor[][] {
  const groups: LayoutTensor[][] = [];
  let group: LayoutTensor[] = [];
  let size = 0;
  for (const unit of run) {
    group.push(...unit);
    size += unit.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (size <= shardBytes) continue;
    groups.push(group);
    [group, size] = [[], 0];
  }
  if (group.length > 0) groups.push(group);
  return groups;
}
