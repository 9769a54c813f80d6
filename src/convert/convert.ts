/**
 * A checkpoint, or the child of a recipe, as a GGUF file for llama.cpp. Rows are read, decoded and encoded some
 * at a time: memory does not grow with the model, nor with its largest tensor.
 */
import { modelConfigOf } from "../arch/model-config.ts";
import { CheckpointError } from "../base/errors.ts";
import { encodeBlocks, firstUnfit } from "../gguf/blocks.ts";
import { aligned, type EncodedMetadata, encodeGgufHeader, entryByteLength } from "../gguf/write.ts";
import { openReference, type WeightReference, type WeightSource } from "../logical/weight-source.ts";
import { formatShape } from "../tensor/dtype.ts";
import { metadataOf, type OutputTensor, tensorsOf } from "./deepseek2.ts";
import { fileStem } from "./file-stem.ts";
import { valuesOf } from "./floats.ts";
import { requireRoom, type Write, type WriteOptions, writeLargeFile } from "./output-file.ts";
import { madeUpVocabulary, tokenizerMetadata } from "./tokenizer-metadata.ts";

/** How matrices are stored. Norms, router and its bias are F32 in all of them. */
export const OUTPUT_TYPES = { f32: "F32", f16: "F16", bf16: "BF16", q8_0: "Q8_0" } as const;
export type OutputType = keyof typeof OUTPUT_TYPES;

export interface ConvertOptions extends WriteOptions {
  type: OutputType;
  /** llama.cpp's name of the pre-tokenizer. */
  pre?: string;
  /** A vocabulary of no meaning instead of the checkpoint's: for models that are fed ids. */
  madeUpVocabulary?: boolean;
  /** Check everything, write nothing. */
  dryRun?: boolean;
}

export interface ConvertReport {
  path: string;
  bytes: number;
  tensors: number;
  /** Tensors of the file by type. */
  types: Record<string, number>;
  /** Weights of the checkpoint that the file has no place for. */
  leftOut: string[];
}

/** Throws CheckpointError for what the format cannot say, BuildError where the file cannot be written. */
export async function convertToGguf(
  reference: WeightReference,
  path: string,
  options: ConvertOptions,
): Promise<ConvertReport> {
  const source = await openReference(reference);
  try {
    const type = OUTPUT_TYPES[options.type];
    const config = modelConfigOf(source.config);
    if ("problems" in config) {
      const { problems } = config;
      throw new CheckpointError(problems[0]!.code, problems.map(({ message }) => message).join("\n"));
    }
    const tensors = tensorsOf(config, type);
    for (const tensor of tensors) requireParts(source, tensor);
    const { vocab } = config.sizes;
    const pre = options.pre ? { pre: options.pre } : {};
    const metadata: EncodedMetadata = new Map([
      ...metadataOf(config, { type, name: fileStem(path) }),
      ...(options.madeUpVocabulary
        ? madeUpVocabulary(vocab)
        : await tokenizerMetadata(source, { numTokens: vocab, ...pre })),
    ]);
    const header = encodeGgufHeader(metadata, tensors);
    const byteLength = tensors.reduce((sum, tensor) => sum + aligned(entryByteLength(tensor)), header.length);
    if (options.dryRun) requireRoom(path, byteLength, options);
    else {
      const fill = async (write: Write) => {
        await write(header);
        for (const tensor of tensors) await writeTensor(source, tensor, write);
      };
      await writeLargeFile(path, { ...options, byteLength, fill });
    }
    return {
      path,
      bytes: byteLength,
      tensors: tensors.length,
      types: countTypes(tensors),
      leftOut: leftOut(source, tensors),
    };
  } finally {
    await source.close();
  }
}

/** The checkpoint must have what the config promises, before anything is written. */
function requireParts(source: WeightSource, { name, shape, parts }: OutputTensor): void {
  const elements = shape.reduce((product, dim) => product * dim, 1);
  let found = 0;
  for (const { weight: of, rows } of parts) {
    const weight = source.weights.get(of);
    if (weight === undefined) {
      const what = `Cannot write "${name}": "${of}" of "${source.label}" is not there`;
      throw new CheckpointError("missing-tensor", what);
    }
    const [all = 1, ...rest] = weight.shape;
    const taken = rows ? (rows.to <= all ? rows.to - rows.from : Number.NaN) : all;
    found += rest.reduce((product, dim) => product * dim, taken);
  }
  if (found === elements) return;
  const first = parts[0]!.weight;
  const what = `"${first}" is ${formatShape(source.weights.get(first)!.shape)}, wanted what config.json says`;
  throw new CheckpointError("shape-mismatch", `Cannot write "${name}" ${formatShape(shape)}: ${what}`);
}

async function writeTensor(source: WeightSource, tensor: OutputTensor, write: Write): Promise<void> {
  const { name, type, parts } = tensor;
  for (const part of parts) {
    for await (const values of valuesOf(source, part)) {
      const bad = firstUnfit(type, values);
      if (bad >= 0) {
        const what = `Cannot write "${name}" as ${type}: "${part.weight}" holds ${values[bad]}`;
        throw new CheckpointError("not-finite", `${what}, wanted a value that ${type} can hold`);
      }
      await write(encodeBlocks(type, values));
    }
  }
  const byteLength = entryByteLength(tensor);
  const padding = aligned(byteLength) - byteLength;
  if (padding > 0) await write(new Uint8Array(padding));
}

function countTypes(tensors: readonly OutputTensor[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { type } of tensors) counts[type] = (counts[type] ?? 0) + 1;
  return counts;
}

function leftOut(source: WeightSource, tensors: readonly OutputTensor[]): string[] {
  const used = new Set(tensors.flatMap(({ parts }) => parts.map(({ weight }) => weight)));
  return [...source.weights.keys()].filter((name) => !used.has(name));
}
