/**
 * A child that is not written: the recipe's tensors, assembled row by row as they are asked for, by the same
 * code and to the same bytes as a build. To whoever reads weights it is a checkpoint like any other.
 */
import { CheckpointError } from "../base/errors.ts";
import { openStore } from "../checkpoint/stores.ts";
import { createKernels } from "../kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../logical/heap.ts";
import { mergeTensor } from "../logical/merge.ts";
import { type Operand, readScales, type ScaleDtype } from "../logical/operand.ts";
import { type LogicalTensor, pairTensors } from "../logical/pairs.ts";
import {
  type Extent,
  type RowRange,
  rowLength,
  type StoredWeight,
  type WeightReference,
  type WeightSource,
} from "../logical/weight-source.ts";
import type { BuildPlan, PlanMerge, PlanOperand, PlanTensor } from "../plan/plan.ts";
import { floatSize, isFloat } from "../tensor/dtype.ts";
import { otherFiles } from "./other-files.ts";
import { type Resolved, resolveMerge } from "./resolve.ts";
import { ParentSources } from "./sources.ts";

/** A tensor that is one parent's as it is. */
interface Copied {
  name: string;
  shape: readonly number[];
  operand: PlanOperand;
}

/** How a thread opens the child that a plan describes. */
export function virtualChild(plan: BuildPlan): WeightReference {
  return { module: import.meta.url, data: plan };
}

/** Opens a virtual child. Throws CheckpointError for parents that cannot be read, or have changed. */
export async function openWeights(data: unknown): Promise<WeightSource> {
  const plan = data as BuildPlan;
  const stores = plan.parents.map(({ location }) => openStore(location));
  const files = await otherFiles(plan, stores);
  const configBytes = files.get("config.json");
  if (!configBytes) {
    const label = plan.parents[plan.base]!.name;
    throw new CheckpointError(
      "missing",
      `Cannot run a child of "${label}": it has no config.json, wanted one`,
    );
  }
  return new VirtualChild(plan, files, JSON.parse(new TextDecoder().decode(configBytes)));
}

class VirtualChild implements WeightSource {
  readonly label: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly block: { rows: number; cols: number };
  readonly weights = new Map<string, StoredWeight>();
  readonly #plan: BuildPlan;
  readonly #files: ReadonlyMap<string, Uint8Array>;
  readonly #tensors = new Map<string, PlanTensor>();
  readonly #pairs: ReadonlyMap<string, LogicalTensor>;
  readonly #sources: ParentSources;
  readonly #kernels = createKernels(HEAP_BYTES, "auto");
  readonly #heap = new Heap(HEAP_BYTES);
  readonly #resolved = new Map<number, Promise<Resolved>>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    plan: BuildPlan,
    files: ReadonlyMap<string, Uint8Array>,
    config: Readonly<Record<string, unknown>>,
  ) {
    const [rows, cols] = plan.output.block;
    this.#plan = plan;
    this.#files = files;
    this.label = plan.recipeFile ?? "recipe";
    this.config = config;
    this.block = { rows, cols };
    this.#sources = new ParentSources(plan.parents);
    this.#sources.expectAll(plan);
    const stored = plan.shards.flatMap(({ name: shard, tensors }) =>
      tensors.map((tensor) => ({ ...tensor, shard })),
    );
    stored.sort((a, b) => a.rank - b.rank); // the order of the index
    for (const tensor of stored) this.#tensors.set(tensor.name, tensor);
    const { tensors } = pairTensors(new Map(stored.map((tensor) => [tensor.name, tensor])), {
      label: this.label,
      block: this.block,
    });
    this.#pairs = tensors;
    for (const [name, { weight, scale }] of tensors) {
      const { dtype, shape } = weight;
      if (isFloat(dtype)) this.weights.set(name, { name, dtype, shape, hasScale: scale !== undefined });
    }
  }

  async readSmall(name: string): Promise<Uint8Array | undefined> {
    return this.#files.get(name);
  }

  read(name: string, rows: RowRange, into: Uint8Array): Promise<Float32Array | undefined> {
    return this.#inTurn(() => this.#read(name, rows, into));
  }

  /** One read at a time: they share the kernels' heap. */
  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(action);
    this.#turn = result.catch(() => {});
    return result;
  }

  async #read(name: string, rows: RowRange, into: Uint8Array): Promise<Float32Array | undefined> {
    const copied = await this.#copied(name);
    if (copied) return this.#copyRows(copied, rows, into);
    const { action } = this.#tensors.get(name)!;
    if (action.kind !== "merge") throw new Error(`internal: "${name}" is neither copied nor merged`);
    const { terms } = await this.#resolve(action.merge);
    return this.#mergeRows(this.#plan.merges[action.merge]!, terms, rows, into);
  }

  readScales(name: string, rows: RowRange): Promise<Float32Array | undefined> {
    return this.#inTurn(async () => {
      const copied = await this.#copied(name);
      if (copied) return this.#scalesOf(copied, rows);
      throw new Error(`internal: scales of "${name}" come with its rows`);
    });
  }

  extentOf(name: string, { from }: RowRange): Promise<Extent | undefined> {
    return this.#inTurn(async () => {
      const copied = await this.#copied(name);
      if (!copied) return undefined;
      const { parent, shard, dtype, offset } = copied.operand;
      const source = await this.#sources.get(parent, shard, { direct: true });
      return { source, offset: offset + from * rowLength(copied) * floatSize(dtype) };
    });
  }

  /** What a tensor is a copy of; undefined where it is a sum. */
  async #copied(name: string): Promise<Copied | undefined> {
    const { action } = this.#tensors.get(name)!;
    if (action.kind === "merge") {
      const { terms, copy } = await this.#resolve(action.merge);
      const { shape } = this.#plan.merges[action.merge]!;
      return copy ? { name, shape, operand: terms[0]!.operand } : undefined;
    }
    const { weight, scale } = this.#pairs.get(name)!;
    const { dtype } = this.weights.get(name)!;
    const operand: PlanOperand = { ...action, dtype, byteLength: weight.byteLength };
    const scaleAction = scale && this.#tensors.get(scale.name)!.action;
    if (scale && scaleAction?.kind === "copy") {
      const { shard, offset } = scaleAction;
      operand.scale = { shard, offset, byteLength: scale.byteLength, dtype: scale.dtype as ScaleDtype };
    }
    return { name, shape: weight.shape, operand };
  }

  /** Decided once: it may take reading the parents. */
  #resolve(index: number): Promise<Resolved> {
    const known = this.#resolved.get(index);
    if (known) return known;
    const environment = { kernels: this.#kernels, heap: this.#heap };
    const { output } = this.#plan;
    const merge = this.#plan.merges[index]!;
    const resolving = resolveMerge(merge, { ...environment, sources: this.#sources, output });
    this.#resolved.set(index, resolving);
    return resolving;
  }

  /** Rows of one parent as they are, and their scales as float32. */
  async #copyRows(copied: Copied, rows: RowRange, into: Uint8Array): Promise<Float32Array | undefined> {
    const { parent, shard, dtype, offset } = copied.operand;
    const source = await this.#sources.get(parent, shard);
    await source.read(into, offset + rows.from * rowLength(copied) * floatSize(dtype));
    return this.#scalesOf(copied, rows);
  }

  async #scalesOf({ name, shape, operand }: Copied, rows: RowRange): Promise<Float32Array | undefined> {
    if (!operand.scale) return undefined;
    const some = await this.#operand({ name, shape: [...shape] }, operand, this.#wholeBlocks(rows, shape));
    return readScales(some, this.#kernels, this.#heap);
  }

  /** Rows of a sum. Blocks of rows are computed whole: a new scale is that of a whole block. */
  async #mergeRows(
    merge: PlanMerge,
    terms: Resolved["terms"],
    rows: RowRange,
    into: Uint8Array,
  ): Promise<Float32Array | undefined> {
    const { output } = this.#plan;
    const banded = merge.dtype === "F8_E4M3" || terms.some(({ operand }) => operand.scale);
    const whole = banded ? this.#wholeBlocks(rows, merge.shape) : rows;
    const operands: Operand[] = [];
    for (const { operand } of terms) operands.push(await this.#operand(merge, operand, whole));
    const rowBytes = rowLength(merge) * floatSize(merge.dtype);
    const before = (rows.from - whole.from) * rowBytes;
    const powerOfTwo = output.scaleFormat === "ue8m0" || merge.scaleDtype === "F8_E8M0";
    return mergeTensor(
      operands,
      terms.map(({ weight }) => weight),
      { dtype: merge.dtype, block: this.block, powerOfTwo },
      {
        kernels: this.#kernels,
        heap: this.#heap,
        emit: async (bytes, offset) => {
          const from = Math.max(offset, before);
          const to = Math.min(offset + bytes.length, before + into.length);
          if (to > from) into.set(bytes.subarray(from - offset, to - offset), from - before);
        },
      },
    );
  }

  #wholeBlocks({ from, to }: RowRange, shape: readonly number[]): RowRange {
    const { rows } = this.block;
    return { from: Math.floor(from / rows) * rows, to: Math.min(Math.ceil(to / rows) * rows, shape[0]!) };
  }

  /** Some rows of a parent's tensor, as a tensor. */
  async #operand(
    { name, shape }: Pick<PlanMerge, "name" | "shape">,
    planned: PlanOperand,
    { from, to }: RowRange,
  ): Promise<Operand> {
    const { parent, dtype, scale } = planned;
    const length = rowLength({ shape });
    const rowBytes = length * floatSize(dtype);
    const operand: Operand = {
      name,
      owner: this.#sources.nameOf(parent),
      dtype,
      shape: [to - from, ...shape.slice(1)],
      source: await this.#sources.get(parent, planned.shard),
      offset: planned.offset + from * rowBytes,
      byteLength: (to - from) * rowBytes,
      block: this.block,
    };
    if (!scale) return operand;
    const { rows, cols } = this.block;
    const size = scale.dtype === "F32" ? 4 : scale.dtype === "BF16" ? 2 : 1;
    const rowOfScales = Math.ceil(length / cols) * size;
    operand.scale = {
      source: await this.#sources.get(parent, scale.shard),
      dtype: scale.dtype,
      offset: scale.offset + Math.floor(from / rows) * rowOfScales,
      byteLength: (Math.ceil(to / rows) - Math.floor(from / rows)) * rowOfScales,
    };
    return operand;
  }

  async close(): Promise<void> {
    await this.#sources.close();
  }
}
