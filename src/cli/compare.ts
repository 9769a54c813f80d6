/** chimera compare: what two parents differ in, tensor by tensor. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { formatBytes, formatDuration, formatInteger } from "../base/format.ts";
import type { CompareEvent, CompareReport } from "../survey/compare.ts";
import { distanceIn, formatDistance } from "../survey/distance.ts";
import { sparkline } from "../survey/sparkline.ts";
import { requirePlace } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { createProgress, PROGRESS_MODES, type Progress, type ProgressMode } from "./progress.ts";
import { clean, columnsOfData, note, paint, paintError, print, printJson, table } from "./terminal.ts";

interface CompareCommandOptions {
  measure: "rms" | "relative";
  sample?: number;
  workers?: number;
  svg?: string;
  progress: ProgressMode;
  json?: boolean;
}

export function addCompare(program: Command): void {
  program
    .command("compare")
    .description("measure how far two checkpoints are from each other, by role, layer, expert and threshold")
    .argument("<base>", "the parent that differences are taken from")
    .argument("<other>", "the parent that is held against it")
    .addOption(
      new Option("--measure <measure>", "rms: ‖other − base‖ / √elements; relative: ‖other − base‖ / ‖base‖")
        .choices(["rms", "relative"])
        .default("rms"),
    )
    .option("--sample <n>", "look at n pieces of each tensor only: quick, and an estimate", parseCount)
    .option("--workers <n>", "worker threads (default: one per core)", parseCount)
    .option("--svg <file>", "write heat maps: layers by roles, layers by experts")
    .addOption(new Option("--progress <mode>", "progress on stderr").choices(PROGRESS_MODES).default("auto"))
    .option("--json", "the report as JSON on stdout, with a row for every tensor")
    .addHelpText(
      "after",
      `
The distances are those that a recipe's threshold is held against, to the last
bit. A weight and its block scales are one tensor.

Examples:
  $ chimera compare ./DeepSeek-V3-0324 ./DeepSeek-R1 --svg v3-r1.svg
  $ chimera compare ./DeepSeek-V3-0324 ./DeepSeek-R1 --sample 4      minutes instead of an hour
  $ chimera compare ./DeepSeek-R1 ./R1T --json | jq '.rows[] | select(.identical | not) | .name'`,
    )
    .action((base: string, other: string, options: CompareCommandOptions) =>
      runCompare(base, other, options),
    );
}

async function runCompare(base: string, other: string, options: CompareCommandOptions): Promise<void> {
  const node = await import("../checkpoint/node.ts");
  const { svg, measure, sample, workers } = options;
  if (svg) requirePlace(svg, node); // not after an hour of reading
  const { compare } = await import("../survey/compare.ts");
  const progress = createProgress(options.progress, "compare");
  const report = await interruptible((signal) =>
    compare(base, other, {
      measure,
      signal,
      onEvent: (event) => show(event, { progress, mode: options.progress }),
      ...(sample ? { sample } : {}),
      ...(workers ? { workers } : {}),
    }).finally(() => progress.end()),
  );
  for (const warning of report.warnings) note(`${paintError("yellow", "warning:")} ${clean(warning)}`);
  if (svg) {
    const { distanceMap } = await import("../survey/distance-map.ts");
    await node.writeFileAtomically(svg, distanceMap(report));
    note(`heat maps written to ${svg}`);
  }
  if (options.json) return printJson(report);
  showHead(report);
  showRoles(report);
  showLayers(report);
  showExperts(report);
  showTop(report);
  showCurve(report);
}

function show(event: CompareEvent, { progress, mode }: { progress: Progress; mode: ProgressMode }): void {
  progress.event(event);
  if (event.kind === "progress") {
    const { bytesDone, bytesTotal, tensorsDone, tensorsTotal } = event;
    const detail = `${formatInteger(tensorsDone)} of ${formatInteger(tensorsTotal)} tensors`;
    progress.update({ done: bytesDone, total: bytesTotal, detail });
  }
  if (event.kind === "finished") {
    progress.end();
    const { bytes, seconds } = event;
    const speed = `${(bytes / seconds / 1e9).toFixed(3)} GB/s`;
    // NDJSON has the event itself.
    if (mode !== "json" && mode !== "none")
      note(`read ${formatBytes(bytes)} in ${formatDuration(seconds)} (${speed})`);
  }
}

const MOST_LISTED = 20;

function showHead(report: CompareReport): void {
  const { base, other, measure, sample, total, configDifferences, onlyInBase, onlyInOther, notCompared } =
    report;
  print(`${paint("bold", `${clean(base.label)} → ${clean(other.label)}`)}  ${base.architecture.label}`);
  const same =
    total.equal > total.identical
      ? `, ${formatInteger(total.equal - total.identical)} more equal in value`
      : "";
  const unit = measure === "rms" ? "rms ‖Δ‖/√elements" : "relative ‖Δ‖/‖base‖";
  print(
    `${formatInteger(total.tensors)} tensors compared, ${formatInteger(total.identical)} identical in bytes${same}; ${unit}`,
  );
  if (sample !== null)
    print(paint("yellow", `Estimates: at most ${sample} pieces of each tensor were looked at.`));
  print();
  const value = (of: unknown) => (of === undefined ? "not there" : (JSON.stringify(of) ?? ""));
  list(
    "config.json differs",
    configDifferences.map(({ key, base: a, other: b }) => `${key}: ${value(a)} → ${value(b)}`),
  );
  list(`only in ${base.label}`, onlyInBase);
  list(`only in ${other.label}`, onlyInOther);
  list(
    "not comparable",
    notCompared.map(({ name, base: a, other: b }) => `${name}: ${a} → ${b}`),
  );
}

function list(what: string, items: readonly string[]): void {
  if (items.length === 0) return;
  print(`${clean(what)}: ${formatInteger(items.length)}`);
  for (const item of items.slice(0, MOST_LISTED)) print(`  ${clean(item)}`);
  if (items.length > MOST_LISTED)
    print(`  … and ${formatInteger(items.length - MOST_LISTED)} more (all of them with --json)`);
  print();
}

function showRoles({ byRole, byExpertMatrix, total, measure }: CompareReport): void {
  const rows = [["role", "tensors", "identical", "bytes", "mean", "min", "max"].map(head)];
  for (const { role, mtp, ...of } of [...byRole, { role: "all", mtp: false, ...total }]) {
    const { mean, min, max } = of[measure];
    const counts = [formatInteger(of.tensors), formatInteger(of.identical), formatBytes(of.bytes)];
    rows.push([roleName(role, mtp), ...counts, ...[mean, min, max].map(formatDistance)]);
  }
  print(table(rows, { right: [1, 2, 3, 4, 5, 6] }));
  const matrices = byExpertMatrix.filter(({ mtp }) => !mtp);
  const means = matrices.map((of) => `${clean(of.matrix)} ${formatDistance(of[measure].mean)}`);
  if (means.length > 0) print(paint("dim", `routed experts by matrix: ${means.join(", ")}`));
  print();
}

/** More would be no line; only a name made to mislead has more. */
const MOST_LAYERS = 1000;

/** One line per role over the main layers and the MTP ones, each from 0 to its own largest. */
function showLayers({ byLayerRole, measure }: CompareReport): void {
  const inLayers = byLayerRole.filter(({ layer }) => layer !== undefined);
  const last = inLayers.reduce((most, { layer }) => Math.max(most, layer!), 0);
  if (inLayers.length === 0 || last > MOST_LAYERS) return;
  const lines = [...new Set(inLayers.map(({ role }) => role))].map((role) => {
    const values: (number | undefined)[] = Array.from({ length: last + 1 }, () => undefined);
    for (const { layer, ...of } of inLayers) {
      if (of.role === role) values[layer!] = of[measure].mean ?? Number.POSITIVE_INFINITY;
    }
    const largest = Math.max(...values.filter((value) => value !== undefined));
    const name = role === "mtp" ? roleName(role, true) : role;
    return { name, line: [...sparkline(values)], largest: formatDistance(largest) };
  });
  // Whole tens of layers that fit beside names and figures; all of them where no terminal's edge is.
  const beside = Math.max(...lines.map(({ name, largest }) => name.length + largest.length + 5));
  const room = Math.max(10, Math.floor((columnsOfData() - beside) / 10) * 10);
  const step = Math.min(room, last + 1);
  for (let first = 0; first <= last; first += step) {
    const rows = [[head("layers"), head(ruler(first, Math.min(first + step - 1, last))), head("largest")]];
    for (const { name, line, largest } of lines)
      rows.push([name, line.slice(first, first + step).join(""), largest]);
    print(`${table(rows, { right: [2] })}\n`);
  }
}

/** "0         10        20": the tens, from a ten on. */
function ruler(first: number, last: number): string {
  let line = "";
  for (let layer = first; layer <= last; layer += 10) line = line.padEnd(layer - first) + layer;
  return line;
}

const NUM_EXPERTS = 5;

/** The two ends of the list; the heat map and --json have all of them. */
function showExperts({ byLayerExpert, measure }: CompareReport): void {
  if (byLayerExpert.length < 2) return;
  const distance = ({ [measure]: { mean } }: (typeof byLayerExpert)[number]) =>
    mean ?? Number.POSITIVE_INFINITY;
  const sorted = [...byLayerExpert].sort((a, b) => distance(b) - distance(a));
  if (distance(sorted[0]!) === 0) return;
  const rows = [["most", "routed expert", "least", "routed expert"].map(head)];
  for (let i = 0; i < Math.min(NUM_EXPERTS, sorted.length); i++) {
    const [most, least] = [sorted[i]!, sorted[sorted.length - 1 - i]!];
    const cells = [most, least].flatMap((of) => [
      formatDistance(distance(of)),
      `layer ${of.layer}${of.mtp ? " (MTP)" : ""}, expert ${of.expert}`,
    ]);
    rows.push(cells);
  }
  print(`${table(rows, { right: [0, 2] })}\n`);
}

const NUM_TOP = 10;

function showTop({ rows, measure }: CompareReport): void {
  const different = rows.filter(({ equal }) => !equal);
  if (different.length === 0) {
    print(`${paint("green", "equal")}  no tensor differs`);
    return;
  }
  const top = different.sort((a, b) => distanceIn(b, measure) - distanceIn(a, measure)).slice(0, NUM_TOP);
  const lines = top.map((row) => [formatDistance(row[measure]), formatBytes(row.bytes), clean(row.name)]);
  print(table([["largest", "bytes", "tensor"].map(head), ...lines], { right: [0, 1] }));
  print();
}

function showCurve({ curve, total, measure }: CompareReport): void {
  if (total.equal === total.tensors) return;
  print(
    `What a rule for all tensors would merge with ${paint("bold", `measure: ${measure}`)} and this threshold:`,
  );
  const rows = [["threshold", "tensors", "", "bytes", "", "of them routed experts"].map(head)];
  for (const { threshold, tensors, bytes, tensorShare, byteShare, routedExperts } of curve) {
    const shares = [tensorShare, byteShare].map((share) => `${(100 * share).toFixed(1)} %`);
    const counts = [formatInteger(tensors), shares[0]!, formatBytes(bytes), shares[1]!];
    rows.push([String(threshold), ...counts, formatInteger(routedExperts.tensors)]);
  }
  print(table(rows, { right: [0, 1, 2, 3, 4, 5] }));
}

/** The role `mtp` is what an MTP layer has beside attention, experts and norms. */
function roleName(role: string, mtp: boolean): string {
  return mtp ? `${role === "mtp" ? "extras" : role} (MTP)` : role;
}

function head(text: string): string {
  return paint("dim", text);
}

function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1_000_000) {
    throw new InvalidArgumentError("wanted a whole number of 1 or more");
  }
  return value;
}
