/**
 * A child of GGUF parents as a GGUF, without any conversion: whatever the recipe takes from one parent is copied
 * block for block as that parent has it, in whatever quantisation. Where single experts of a merged tensor come
 * from different parents their slices are put together, which asks for one type in all of them.
 *
 * The plan is the one that the recipe has for any parents (plan/); a tensor for which it needs arithmetic is
 * refused. Metadata is the base's, the tokenizer's and the chat template's keys are those of the parents that the
 * recipe names.
 */

import { CheckpointError, PlanError, type Problem } from "../base/errors.ts";
import { ggufOf } from "../checkpoint/gguf-store.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import type { Source } from "../checkpoint/source.ts";
import { openStore } from "../checkpoint/stores.ts";
import type { GgufModel, GgufTensor } from "../gguf/model.ts";
import { type ViewTensor, viewOf } from "../gguf/view.ts";
import { aligned, type EncodedMetadata, type EncodedValue, encodeGgufHeader, string } from "../gguf/write.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { formatShape } from "../tensor/dtype.ts";
import { fileStem } from "./file-stem.ts";
import { requireRoom, type Write, type WriteOptions, writeLargeFile } from "./output-file.ts";

/** Bytes that are copied together. */
const STEP = 4 << 20;

export interface StitchOptions extends WriteOptions {
  /** Check everything, write nothing. */
  dryRun?: boolean;
}

export interface StitchReport {
  path: string;
  bytes: number;
  tensors: number;
  /** By parent, in the plan's order. */
  parents: { name: string; tensors: number; bytes: number }[];
  /** Tensors that are stored in another type than the base's. */
  otherTypes: string[];
}

/** A run of bytes of a parent's tensor. */
interface Slice {
  parent: number;
  tensor: GgufTensor;
  offset: number;
  byteLength: number;
}

interface StitchedTensor {
  base: GgufTensor;
  /** What the child has: the name of the base's, the type of the parent's that it is taken from. */
  type: GgufTensor["type"];
  byteLength: number;
  slices: Slice[];
}

/** Whether the parents of a plan are GGUF files: all, none, or some. */
export function ggufParents({ parents }: BuildPlan): "all" | "none" | "some" {
  const count = parents.filter(({ location }) => ggufOf(openStore(location))).length;
  return count === parents.length ? "all" : count === 0 ? "none" : "some";
}

/** Throws PlanError with every tensor that cannot be copied, CheckpointError for parents, BuildError for the file. */
export async function stitchGguf(
  plan: BuildPlan,
  path: string,
  options: StitchOptions = {},
): Promise<StitchReport> {
  const models = await Promise.all(plan.parents.map(({ location }) => modelOf(location)));
  requireUnchanged(plan, models);
  const tensors = chooseSlices(plan, models);
  const metadata = stitchedMetadata(plan, models, fileStem(path));
  const { alignment } = models[plan.base]!.files[0]!.header;
  const entries = tensors.map(({ base, type }) => ({ name: base.name, type, shape: base.shape }));
  const header = encodeGgufHeader(metadata, entries, alignment);
  const padded = (byteLength: number) => aligned(byteLength, alignment);
  const byteLength = tensors.reduce((sum, tensor) => sum + padded(tensor.byteLength), header.length);
  if (options.dryRun) requireRoom(path, byteLength, options);
  else {
    const open = new Map<string, Promise<Source>>();
    const sourceOf = (parent: number, file: string): Promise<Source> => {
      const key = `${parent}/${file}`;
      const source = open.get(key) ?? models[parent]!.store.open(file);
      open.set(key, source);
      return source;
    };
    const fill = async (write: Write) => {
      await write(header);
      for (const tensor of tensors) {
        for (const slice of tensor.slices)
          await copySlice(await sourceOf(slice.parent, slice.tensor.file), slice, write);
        const padding = padded(tensor.byteLength) - tensor.byteLength;
        if (padding > 0) await write(new Uint8Array(padding));
      }
      for (const source of open.values()) await (await source).checkUnchanged();
    };
    try {
      await writeLargeFile(path, { ...options, byteLength, fill });
    } finally {
      for (const source of open.values()) await source.then((s) => s.close()).catch(() => {});
    }
  }
  return reportOf(plan, tensors, { path, bytes: byteLength });
}

async function modelOf(location: string): Promise<GgufModel> {
  const gguf = ggufOf(openStore(location));
  if (gguf) return gguf.model();
  throw new CheckpointError(
    "not-gguf",
    `Cannot stitch "${publicLocation(location)}": it is no GGUF file, wanted one`,
  );
}

/** The plan was made of these files, perhaps a while ago. */
function requireUnchanged({ parents }: BuildPlan, models: readonly GgufModel[]): void {
  for (const [i, { name, shards }] of parents.entries()) {
    const identity = models[i]!.files.map((file) => file.identity).join(" ");
    if (shards.every((shard) => shard.identity === identity)) continue;
    const note = "A parent must not change between plan and build; plan again";
    throw new CheckpointError("changed", `Cannot build from "${name}": it has changed since it was planned`, {
      note,
    });
  }
}

function chooseSlices(plan: BuildPlan, models: readonly GgufModel[]): StitchedTensor[] {
  const problems: Problem[] = [];
  const chosen = chosenParents(plan, problems);
  const base = models[plan.base]!;
  const members = membersOf(viewOf(base));
  const tensors: StitchedTensor[] = [];
  for (const tensor of base.tensors.values()) {
    // A part of a joined tensor goes where the whole one goes.
    const names = members.get(tensor.name)!;
    const parents = names.map((name) => chosen.get(name));
    if (parents.includes(undefined)) continue; // told already
    const report = (code: string, what: string, note?: string) =>
      problems.push({ code, message: `Cannot stitch "${tensor.name}": ${what}`, ...(note ? { note } : {}) });
    const stitched = stitch(tensor, parents as number[], { plan, models, report });
    if (stitched) tensors.push(stitched);
  }
  if (problems.length > 0) throw new PlanError(problems);
  return tensors;
}

/** Which parent gives each tensor, by its usual name. Whatever would have to be computed is a problem. */
function chosenParents(plan: BuildPlan, problems: Problem[]): Map<string, number> {
  const chosen = new Map<string, number>();
  const told = new Set<number>();
  for (const { tensors } of plan.shards) {
    for (const { name, action } of tensors) {
      if (action.kind === "copy") {
        chosen.set(name, action.parent);
        continue;
      }
      const { inputs, test, rule } = plan.merges[action.merge]!;
      // One parent by the weight 1: the plan would convert it to the base's type, here it keeps its own.
      if (inputs.length === 1 && inputs[0]!.weight === 1 && !test) {
        chosen.set(name, inputs[0]!.parent);
        continue;
      }
      if (rule !== undefined && told.has(rule)) continue; // the same for every tensor of a rule
      if (rule !== undefined) told.add(rule);
      const weights = inputs.map(({ parent, weight }) => `${weight} of "${plan.parents[parent]!.name}"`);
      const what = test ? "a threshold looks into its values" : `it would be ${weights.join(" + ")}`;
      const by = rule === undefined ? "" : `, by rule ${rule + 1}`;
      problems.push({
        code: "not-copyable",
        message: `Cannot stitch "${name}"${by}: ${what}, wanted one parent with the weight 1`,
        note: "Blocks of a GGUF are copied, not computed with. chimera build RECIPE -o FOLDER decodes and computes",
      });
    }
  }
  return chosen;
}

/** By tensor of the file the names of what it is a part of, in its order. */
function membersOf(view: readonly ViewTensor[]): Map<string, string[]> {
  const members = new Map<string, string[]>();
  for (const { name, parts } of view) {
    for (const { tensor } of parts) {
      const names = members.get(tensor.name) ?? [];
      if (names.at(-1) !== name) names.push(name); // the heads of one matrix
      members.set(tensor.name, names);
    }
  }
  return members;
}

function stitch(
  base: GgufTensor,
  parents: readonly number[],
  {
    plan,
    models,
    report,
  }: {
    plan: BuildPlan;
    models: readonly GgufModel[];
    report: (code: string, what: string, note?: string) => void;
  },
): StitchedTensor | undefined {
  const used = [...new Set(parents)];
  const found = new Map<number, GgufTensor>();
  for (const parent of used) {
    const { name } = plan.parents[parent]!;
    const own = models[parent]!.tensors.get(base.name);
    if (own === undefined) {
      report(
        "missing-tensor",
        `"${name}" has none of this name, wanted as in the base`,
        isOfAttention(base.name),
      );
    } else if (formatShape(own.shape) !== formatShape(base.shape)) {
      const wanted = `wanted ${formatShape(base.shape)} as in the base`;
      report("shape-mismatch", `its shape in "${name}" is ${formatShape(own.shape)}, ${wanted}`);
    } else found.set(parent, own);
  }
  if (found.size < used.length) return undefined;
  if (used.length === 1) {
    const tensor = found.get(used[0]!)!;
    const { type, byteLength } = tensor;
    return {
      base,
      type,
      byteLength,
      slices: [{ parent: used[0]!, tensor, offset: tensor.offset, byteLength }],
    };
  }
  const types = used.map((parent) => `${found.get(parent)!.type} in "${plan.parents[parent]!.name}"`);
  if ([...found.values()].some(({ type }) => type !== found.get(used[0]!)!.type)) {
    const what = `its experts come from several parents, and it is ${types.join(" and ")}, wanted one type`;
    report(
      "type-mismatch",
      what,
      "Take all experts of a layer from one parent, or files of one quantisation",
    );
    return undefined;
  }
  const slices: Slice[] = parents.map((parent, expert) => {
    const tensor = found.get(parent)!;
    const size = tensor.byteLength / parents.length;
    return { parent, tensor, offset: tensor.offset + expert * size, byteLength: size };
  });
  if (!slices.every((slice) => Number.isInteger(slice.byteLength)))
    throw new Error(`internal: "${base.name}" is not cut evenly into ${parents.length}`);
  const { type, byteLength: whole } = found.get(used[0]!)!;
  return { base, type, byteLength: whole, slices };
}

function isOfAttention(name: string): string | undefined {
  if (!/\.attn_(k|v|kv)_b\./.test(name)) return undefined;
  return "llama.cpp changed how it stores kv_b_proj in spring 2025: one file is older, make it anew";
}

async function copySlice(source: Source, { offset, byteLength }: Slice, write: Write): Promise<void> {
  for (let done = 0; done < byteLength; done += STEP) {
    const bytes = new Uint8Array(Math.min(STEP, byteLength - done));
    await source.read(bytes, offset + done);
    await write(bytes);
  }
}

const TOKENIZER = /^tokenizer\./;
const TEMPLATE = /^tokenizer\.chat_template/;

/** The base's keys; those of the tokenizer and of the template from the parents that the recipe names. */
function stitchedMetadata(plan: BuildPlan, models: readonly GgufModel[], name: string): EncodedMetadata {
  const { base, files } = plan;
  const keysOf = (parent: number) =>
    [...models[parent]!.metadata].map(([key, { encoded }]) => [key, encoded] as const);
  let entries = keysOf(base).filter(([key]) => !key.startsWith("split."));
  if (files.tokenizer !== base) entries = replaced(entries, TOKENIZER, keysOf(files.tokenizer));
  if (files.chatTemplate !== files.tokenizer)
    entries = replaced(entries, TEMPLATE, keysOf(files.chatTemplate));
  const metadata = new Map<string, EncodedValue>(entries);
  metadata.set("general.name", string(name));
  return metadata;
}

type Entry = readonly [string, EncodedValue];

/** The keys of a kind as another file has them, where they stood; at the end where none stood. */
function replaced(entries: readonly Entry[], kind: RegExp, others: readonly Entry[]): Entry[] {
  const at = entries.findIndex(([key]) => kind.test(key));
  const before = at < 0 ? entries : entries.slice(0, at);
  const after = at < 0 ? [] : entries.slice(at);
  return [
    ...before,
    ...others.filter(([key]) => kind.test(key)),
    ...after.filter(([key]) => !kind.test(key)),
  ];
}

function reportOf(
  { parents }: BuildPlan,
  tensors: readonly StitchedTensor[],
  { path, bytes }: { path: string; bytes: number },
): StitchReport {
  const report = parents.map(({ name }) => ({ name, tensors: 0, bytes: 0 }));
  for (const { slices } of tensors) {
    for (const parent of new Set(slices.map((slice) => slice.parent))) report[parent]!.tensors++;
    for (const slice of slices) report[slice.parent]!.bytes += slice.byteLength;
  }
  const otherTypes = tensors.filter(({ base, type }) => base.type !== type).map(({ base }) => base.name);
  return { path, bytes, tensors: tensors.length, parents: report, otherTypes };
}
