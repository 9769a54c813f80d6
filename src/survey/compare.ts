/**
 * What two checkpoints differ in, as plain data: which tensors they share, how far each is from its twin, and
 * how much a build would merge at which threshold. The distances are those that a build's threshold sees
 * (assembly.md section 1), to the last bit, with any number of workers.
 */

import { availableParallelism } from "node:os";
import { type ConfigDifference, compareConfigs } from "../arch/compare-configs.ts";
import { CheckpointError, Interrupted } from "../base/errors.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import type { Distance, Measure } from "../logical/measure.ts";
import {
  type Aggregate,
  aggregate,
  aggregateBy,
  type LayerExpertAggregate,
  type LayerRoleAggregate,
  type MatrixAggregate,
  type Measured,
  type RoleAggregate,
} from "./aggregate.ts";
import { batchesOf } from "./compare-batches.ts";
import { runPool } from "./compare-pool.ts";
import { type CurvePoint, thresholdCurve } from "./curve.ts";
import { type CompareRow, rowOf } from "./distance.ts";
import { type NotCompared, openSide, type Pair, pairUp, type Side } from "./pair-up.ts";
import { bytesToRead } from "./sample.ts";
import type { SideFiles } from "./shards.ts";

/** At most ten `progress` events a second. Bytes are those read of both sides' weights. */
export type CompareEvent =
  | { kind: "started"; tensors: number; bytes: number; workers: number }
  | { kind: "progress"; bytesDone: number; bytesTotal: number; tensorsDone: number; tensorsTotal: number }
  | { kind: "finished"; tensors: number; bytes: number; seconds: number };

export interface CompareOptions {
  /** What the curve goes by. Rows and sums have both. */
  measure?: Measure;
  /** Look at this many evenly spaced pieces of each tensor: all figures are estimates then. */
  sample?: number;
  /** Default: one per core. */
  workers?: number;
  signal?: AbortSignal;
  onEvent?: (event: CompareEvent) => void;
  kernels?: "auto" | "wasm" | "scalar";
}

export interface ComparedSide {
  label: string;
  location: string;
  architecture: { id: string; label: string; known: boolean };
  /** Findings on opening; `inspect` explains them. */
  problems: number;
}

/** JSON-able throughout, and the same whatever the number of workers. */
export interface CompareReport {
  base: ComparedSide;
  other: ComparedSide;
  measure: Measure;
  /** Pieces per tensor; null: every element was looked at. */
  sample: number | null;
  warnings: string[];
  configDifferences: ConfigDifference[];
  /** Names of logical tensors. */
  onlyInBase: string[];
  onlyInOther: string[];
  notCompared: NotCompared[];
  total: Aggregate;
  byRole: RoleAggregate[];
  byLayerRole: LayerRoleAggregate[];
  byLayerExpert: LayerExpertAggregate[];
  /** Within routed experts. */
  byExpertMatrix: MatrixAggregate[];
  curve: CurvePoint[];
  /** In the order of the base. */
  rows: CompareRow[];
}

const EVENT_INTERVAL_MS = 100;

/**
 * Measures every tensor that two checkpoints share, by the definitions of assembly.md section 1:
 * rms ‖other − base‖ / √elements and relative ‖other − base‖ / ‖base‖, on dequantised values, in float64.
 *
 * @param baseLocation, otherLocation folders, or single .safetensors files
 * @throws CheckpointError for a checkpoint that cannot be read, for two that share no tensor, and for a value
 *   that is not finite
 * @throws Interrupted when the signal fired
 * @throws RangeError for a sample or a number of workers below 1
 */
export async function compare(
  baseLocation: string,
  otherLocation: string,
  options: CompareOptions = {},
): Promise<CompareReport> {
  const { measure = "rms", sample, signal } = options;
  for (const [name, value] of [
    ["sample", sample],
    ["workers", options.workers],
  ] as const) {
    if (value === undefined || (Number.isInteger(value) && value >= 1)) continue;
    throw new RangeError(`Cannot compare with ${name} ${value}, wanted a whole number of 1 or more`);
  }
  const base = await openSide(baseLocation);
  const other = await openSide(otherLocation);
  if (signal?.aborted) throw new Interrupted("The comparison was stopped");
  const { pairs, ...apart } = pairUp(base, other);
  if (pairs.length === 0) throw nothingInCommon(base, other, apart.notCompared);
  const measured = await measureAll(pairs, base, other, options);
  const rows = measured.map(({ row }) => row);
  const inLayers = measured.filter(({ row }) => row.layer !== undefined);
  const experts = inLayers.filter(({ row }) => row.role === "routed-experts");
  const single = experts.filter(({ row }) => row.expert !== undefined);
  return {
    base: describe(base),
    other: describe(other),
    measure,
    sample: sample ?? null,
    warnings: warningsAbout(base, other),
    configDifferences: compareConfigs(base.checkpoint.config, other.checkpoint.config),
    ...apart,
    total: aggregate(measured),
    byRole: aggregateBy(measured, ["role", "mtp"]),
    byLayerRole: aggregateBy(measured, ["layer", "role", "mtp"]),
    byLayerExpert: aggregateBy(single, ["layer", "expert", "mtp"]) as LayerExpertAggregate[],
    byExpertMatrix: aggregateBy(experts, ["matrix", "mtp"]),
    curve: thresholdCurve(rows, measure),
    rows,
  };
}

async function measureAll(
  pairs: readonly Pair[],
  base: Side,
  other: Side,
  options: CompareOptions,
): Promise<Measured[]> {
  const { sample, signal, onEvent } = options;
  const wanted = options.workers ?? availableParallelism();
  const batches = batchesOf(
    pairs,
    base.checkpoint.shards.map(({ name }) => name),
    wanted,
  );
  const workers = Math.min(wanted, batches.length);
  const bytesTotal = pairs.reduce((sum, pair) => sum + bytesToRead(pair, sample), 0);
  const tensorsTotal = pairs.length;
  const found: ({ sums: Distance; identical: boolean } | undefined)[] = new Array(pairs.length);
  const startedAt = performance.now();
  let [bytesDone, tensorsDone, toldAt] = [0, 0, startedAt];
  const tell = () => {
    const now = performance.now();
    if (now - toldAt < EVENT_INTERVAL_MS) return;
    toldAt = now;
    onEvent?.({ kind: "progress", bytesDone, bytesTotal, tensorsDone, tensorsTotal });
  };
  onEvent?.({ kind: "started", tensors: tensorsTotal, bytes: bytesTotal, workers });
  await runPool(batches, {
    setup: { sides: [filesOf(base), filesOf(other)], sample, kernels: options.kernels ?? "auto" },
    workers,
    ...(signal ? { signal } : {}),
    onBytes: (bytes) => {
      bytesDone += bytes;
      tell();
    },
    onMeasured: (results) => {
      for (const { index, sums, identical } of results) found[index] = { sums, identical };
      tensorsDone += results.length;
      tell();
    },
  });
  const seconds = (performance.now() - startedAt) / 1000;
  onEvent?.({ kind: "finished", tensors: tensorsTotal, bytes: bytesDone, seconds });
  return pairs.map((pair, index) => {
    const { sums, identical } = found[index]!;
    return { row: rowOf(pair, sums, identical), sums };
  });
}

function filesOf({ label, checkpoint: { store, shards } }: Side): SideFiles {
  const present = shards.flatMap(({ name, identity }) => (identity === undefined ? [] : [[name, identity]]));
  return { location: store.location, label, identities: Object.fromEntries(present) };
}

function describe({
  label,
  checkpoint: { store, problems },
  arch: { id, label: family, known },
}: Side): ComparedSide {
  return {
    label,
    location: publicLocation(store.location),
    architecture: { id, label: family, known },
    problems: problems.length,
  };
}

function warningsAbout(base: Side, other: Side): string[] {
  const warnings: string[] = [];
  if (base.arch.id !== other.arch.id) {
    warnings.push(
      `"${base.label}" is ${base.arch.label} and "${other.label}" is ${other.arch.label}: only names and shapes tell that tensors belong together`,
    );
  }
  if (
    base.arch.quantization === "fp8-block" &&
    other.arch.quantization === "fp8-block" &&
    base.arch.scaleFormat !== other.arch.scaleFormat
  ) {
    warnings.push(
      `scale_fmt of "${base.label}" is ${base.arch.scaleFormat}, of "${other.label}" ${other.arch.scaleFormat}`,
    );
  }
  for (const { checkpoint } of [base, other]) {
    const { length } = checkpoint.problems;
    if (length === 0) continue;
    const more = length === 1 ? "" : `, and ${length - 1} more`;
    warnings.push(`${checkpoint.problems[0]!.message}${more} (chimera inspect lists them)`);
  }
  return warnings;
}

function nothingInCommon(base: Side, other: Side, notCompared: readonly NotCompared[]): CheckpointError {
  const [a, b] = [base.label, other.label];
  const example = ({ tensors }: Side): string => JSON.stringify(tensors.keys().next().value ?? "");
  const [odd] = notCompared;
  const what = odd
    ? `none of the ${notCompared.length} tensors they share can be measured ("${odd.name}": ${odd.base} and ${odd.other})`
    : `they share no tensor (${example(base)}, ${example(other)})`;
  return new CheckpointError(
    "nothing-in-common",
    `Cannot compare "${a}" with "${b}": ${what}, wanted equal names and shapes`,
  );
}
