/**
 * The tensors of a GGUF as those of a checkpoint: under the names of DeepSeek's own, each expert for itself,
 * kv_b_proj whole. Tensors that have no other name keep their own.
 *
 * A tensor of the view is made of parts, runs of elements of the file; so whoever copies blocks (stitching) and
 * whoever wants floats (view-source.ts) go by the same list. F32, F16 and BF16 stay what they are; what is
 * quantised is F32, decoded while it is read.
 */
import { CheckpointError } from "../base/errors.ts";
import { shown } from "../base/shown.ts";
import { ARCHITECTURE } from "./config.ts";
import { MetadataReader } from "./metadata.ts";
import type { GgufModel, GgufTensor } from "./model.ts";
import { checkpointNameOf, expertsOf, keyValueName, keyValueOf } from "./names.ts";

/** Far more than any model has: what a head may claim costs memory for each of them. */
const MAX_EXPERTS = 1 << 16;
const MAX_HEADS = 1 << 14;
const MAX_TENSORS = 1 << 20;
/** What tensors are put together of, two for each head of a layer: DeepSeek-V3's of 61,000. */
const MAX_PARTS = 1 << 20;
/** Elements of a head's keys, which are turned round in memory. DeepSeek's have 65,536. */
const MAX_TURNED = 1 << 24;

export interface ViewPart {
  tensor: GgufTensor;
  /** Elements of it, in the file's order. */
  from: number;
  count: number;
  /** Rows and columns as the file has them, where the view has them the other way round. */
  transposed?: { rows: number; cols: number };
}

export interface ViewTensor {
  name: string;
  dtype: "F32" | "F16" | "BF16";
  shape: readonly number[];
  /** One after another they are the tensor. */
  parts: readonly ViewPart[];
}

/** In the order of the file. Throws CheckpointError where parts do not fit each other. */
export function viewOf(model: GgufModel): ViewTensor[] {
  const architecture = new MetadataReader(model).string("general.architecture");
  const isKnown = architecture === ARCHITECTURE;
  const view: ViewTensor[] = [];
  let [numParts, counted] = [0, 0];
  for (const tensor of model.tensors.values()) {
    for (; counted < view.length; counted++) numParts += view[counted]!.parts.length;
    if (numParts > MAX_PARTS)
      fail(model, tensor.name, `tensors are put together of more than ${MAX_PARTS} parts, wanted fewer`);
    if (view.length > MAX_TENSORS)
      fail(model, tensor.name, `single experts make more than ${MAX_TENSORS} tensors, wanted fewer`);
    const experts = isKnown ? expertsOf(tensor.name) : undefined;
    const keyValue = isKnown ? keyValueOf(tensor.name) : undefined;
    if (experts) view.push(...eachExpert(model, tensor, experts.nameOf));
    else if (keyValue?.part === "k") view.push(joinedKeyValue(model, tensor, keyValue));
    else if (keyValue?.part === "v") requirePartner(model, tensor, keyValueName(keyValue.layer, "k"));
    else view.push(whole(tensor, (isKnown ? checkpointNameOf(tensor.name) : undefined) ?? tensor.name));
  }
  const names = new Set<string>();
  for (const { name } of view) {
    if (names.has(name)) fail(model, name, "two tensors of the file would have this name, wanted one");
    names.add(name);
  }
  return view;
}

function whole(tensor: GgufTensor, name: string): ViewTensor {
  const { shape } = tensor;
  return { name, dtype: dtypeOf([tensor]), shape, parts: [{ tensor, from: 0, count: countOf(shape) }] };
}

function eachExpert(model: GgufModel, tensor: GgufTensor, nameOf: (expert: number) => string): ViewTensor[] {
  const [numExperts = 0, ...shape] = tensor.shape;
  if (shape.length !== 2 || countOf(tensor.shape) === 0 || numExperts > MAX_EXPERTS) {
    const wanted = `experts (at most ${MAX_EXPERTS}) × rows × columns`;
    fail(model, tensor.name, `it is [${tensor.shape.join(", ")}], wanted ${wanted}`);
  }
  const count = countOf(shape);
  const dtype = dtypeOf([tensor]);
  return Array.from({ length: numExperts }, (_, expert) => {
    return { name: nameOf(expert), dtype, shape, parts: [{ tensor, from: expert * count, count }] };
  });
}

/** kv_b_proj: of each head the rows of its keys, which k_b has as columns, then those of its values. */
function joinedKeyValue(
  model: GgufModel,
  keys: GgufTensor,
  { layer, whole: name }: { layer: number; whole: string },
): ViewTensor {
  const values = requirePartner(model, keys, keyValueName(layer, "v"));
  const [heads = 0, latent = 0, nope = 0] = keys.shape;
  const [valueHeads, valueDim = 0, valueLatent] = values.shape;
  if (
    keys.shape.length !== 3 ||
    values.shape.length !== 3 ||
    valueHeads !== heads ||
    valueLatent !== latent
  ) {
    const found = `it is [${keys.shape.join(", ")}] and "${shown(values.name)}" [${values.shape.join(", ")}]`;
    fail(model, keys.name, `${found}, wanted heads × latent × keys and heads × values × latent`);
  }
  if (heads > MAX_HEADS || latent * nope > MAX_TURNED || countOf(keys.shape) * countOf(values.shape) === 0) {
    const wanted = `at most ${MAX_HEADS} heads of 1 to ${MAX_TURNED} elements`;
    fail(model, keys.name, `it is [${keys.shape.join(", ")}], wanted ${wanted}`);
  }
  const parts: ViewPart[] = [];
  for (let head = 0; head < heads; head++) {
    const [keyCount, valueCount] = [latent * nope, valueDim * latent];
    parts.push(
      { tensor: keys, from: head * keyCount, count: keyCount, transposed: { rows: latent, cols: nope } },
      { tensor: values, from: head * valueCount, count: valueCount },
    );
  }
  return { name, dtype: dtypeOf([keys, values]), shape: [heads * (nope + valueDim), latent], parts };
}

function requirePartner(model: GgufModel, { name }: GgufTensor, partner: string): GgufTensor {
  return model.tensors.get(partner) ?? fail(model, name, `"${partner}" is not there, wanted both`);
}

/** The type of all of them, where that is one of floats. */
function dtypeOf(tensors: readonly GgufTensor[]): ViewTensor["dtype"] {
  const { type } = tensors[0]!;
  return tensors.every((tensor) => tensor.type === type) && (type === "F16" || type === "BF16")
    ? type
    : "F32";
}

function countOf(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

function fail(model: GgufModel, name: string, what: string): never {
  const where = `Cannot use "${shown(name)}" of "${shown(model.label)}"`;
  throw new CheckpointError("gguf-tensors", `${where}: ${what}`);
}
