/** A checkpoint as a source of weights: bytes as they lie in its shards. */
import { architectureOf } from "../arch/architecture.ts";
import { CheckpointError } from "../base/errors.ts";
import { openWholeCheckpoint } from "../checkpoint/checkpoint.ts";
import type { Source } from "../checkpoint/source.ts";
import { openStore } from "../checkpoint/stores.ts";
import { floatSize, isFloat } from "../tensor/dtype.ts";
import { UE8M0_VALUES } from "../tensor/float8.ts";
import { decodeBf16 } from "../tensor/float16.ts";
import { badScale } from "./operand.ts";
import { type LogicalTensor, pairTensors } from "./pairs.ts";
import {
  type RowRange,
  rowLength,
  type StoredWeight,
  type WeightReference,
  type WeightSource,
} from "./weight-source.ts";

interface Data {
  location: string;
}

/** How another thread opens the checkpoint in a folder. */
export function checkpointReference(location: string): WeightReference {
  const data: Data = { location };
  return { module: import.meta.url, data };
}

/** Opens the checkpoint that a reference names. Throws CheckpointError for what is missing or contradictory. */
export async function openWeights(data: unknown): Promise<WeightSource> {
  const { location } = data as Data;
  const store = openStore(location);
  const checkpoint = await openWholeCheckpoint(store);
  const { config, label } = checkpoint;
  if (config === undefined) {
    throw new CheckpointError("missing", `Cannot run "${label}": it has no config.json, wanted one`);
  }
  const { block } = architectureOf(config);
  const { tensors, problems } = pairTensors(checkpoint.tensors, { label, block });
  if (problems.length > 0) {
    throw new CheckpointError(problems[0]!.code, problems.map(({ message }) => message).join("\n"));
  }
  const weights = new Map<string, StoredWeight>();
  for (const [name, { weight, scale }] of tensors) {
    const { dtype, shape } = weight;
    if (isFloat(dtype)) weights.set(name, { name, dtype, shape, hasScale: scale !== undefined });
  }
  const open = new Map<string, Promise<Source>>();
  const sourceOf = (shard: string, direct = false): Promise<Source> => {
    const key = `${direct}/${shard}`;
    const known = open.get(key);
    if (known) return known;
    const source = store.open(shard, { direct }).then((opened) => {
      // All of it will be wanted, by one rank or another: a server is better asked for much at a time.
      opened.expect?.(extentsIn(shard));
      return opened;
    });
    open.set(key, source);
    return source;
  };
  const extentsIn = (shard: string) => {
    const stored = [...tensors.values()].flatMap(({ weight, scale }) => (scale ? [weight, scale] : [weight]));
    return stored.filter((tensor) => tensor.shard === shard);
  };
  const rowBytesOf = (name: string) => rowLength(weights.get(name)!) * floatSize(weights.get(name)!.dtype);
  const readScales = async (name: string, rows: RowRange) => {
    const { weight, scale } = tensors.get(name)!;
    return scale && readScaleRows({ name, weight, scale }, rows, { block, sourceOf, label });
  };
  return {
    label,
    config,
    block,
    weights,
    readSmall: (name, limitBytes) => store.readSmall(name, limitBytes),
    read: async (name, rows, into) => {
      const { weight } = tensors.get(name)!;
      await (await sourceOf(weight.shard)).read(into, weight.offset + rows.from * rowBytesOf(name));
      return readScales(name, rows);
    },
    readScales,
    extentOf: async (name, { from }) => {
      const { weight } = tensors.get(name)!;
      return { source: await sourceOf(weight.shard, true), offset: weight.offset + from * rowBytesOf(name) };
    },
    close: async () => {
      // What could not be opened was told of when it was wanted; the others must be closed all the same.
      for (const source of open.values()) await source.then((s) => s.close()).catch(() => {});
      open.clear();
    },
  };
}

async function readScaleRows(
  { name, weight, scale }: LogicalTensor,
  { from, to }: { from: number; to: number },
  context: {
    block: { rows: number; cols: number };
    sourceOf: (shard: string) => Promise<Source>;
    label: string;
  },
): Promise<Float32Array> {
  const { block, sourceOf, label } = context;
  const perRow = Math.ceil(rowLength(weight) / block.cols);
  const first = Math.floor(from / block.rows);
  const count = (Math.ceil(to / block.rows) - first) * perRow;
  const { dtype } = scale!;
  const size = dtype === "F32" ? 4 : dtype === "BF16" ? 2 : 1;
  const bytes = new Uint8Array(count * size);
  const source = await sourceOf(scale!.shard);
  await source.read(bytes, scale!.offset + first * perRow * size);
  const view = new DataView(bytes.buffer);
  const scales = Float32Array.from({ length: count }, (_, i) => {
    if (dtype === "F32") return view.getFloat32(4 * i, true);
    return dtype === "BF16" ? decodeBf16(view.getUint16(2 * i, true)) : UE8M0_VALUES[bytes[i]!]!;
  });
  const bad = scales.findIndex((value) => !(value > 0 && value < Infinity));
  if (bad >= 0) {
    const operand = { name, owner: label, shape: weight.shape, block, scale: { source } };
    throw badScale(operand as never, first * perRow + bad, scales[bad]!);
  }
  return scales;
}
