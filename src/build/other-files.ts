/**
 * Everything of the child but its shards: config, tokenizer, chat template, code, licences, index.
 *
 * Files are taken from parents as bytes wherever possible. config.json is edited in its text, so that the
 * base's key order and number spelling stay. A tokenizer's files come from one parent together; only the
 * chat template may come from another.
 */

import { architectureOf } from "../arch/architecture.ts";
import { asConfig } from "../arch/config.ts";
import { formatShardIndex, INDEX_NAME } from "../checkpoint/shard-index.ts";
import type { Store } from "../checkpoint/source.ts";
import { TEMPLATE_FILES, TOKENIZER_CONFIG, TOKENIZER_FILES } from "../plan/donors.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { editJsonText } from "./json-text.ts";

/** Of the base; its card and its index are replaced by the child's own. */
const BASE_FILES = /^(generation_config\.json|preprocessor_config\.json|[\w.-]+\.py)$/;
const LICENCE = /^(licen[cs]e|notice|copying)([.-].*)?$/i;
const SMALL_FILE_BYTES = 200_000_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Name -> content, without the model card and chimera.json. `stores` are the parents', in their order. */
export async function otherFiles(
  plan: BuildPlan,
  stores: readonly Store[],
): Promise<Map<string, Uint8Array>> {
  const base = stores[plan.files.config]!;
  const files = new Map<string, Uint8Array>();
  for (const { name } of await base.list()) {
    if (BASE_FILES.test(name) && !TOKENIZER_FILES.test(name)) files.set(name, await readAll(base, name));
  }
  const tokenizer = stores[plan.files.tokenizer]!;
  for (const { name } of await tokenizer.list()) {
    if (TOKENIZER_FILES.test(name)) files.set(name, await readAll(tokenizer, name));
  }
  if (plan.files.chatTemplate !== plan.files.tokenizer) {
    await takeTemplate(files, stores[plan.files.chatTemplate]!);
  }
  await addLicences(files, plan, stores);
  const config = await base.readSmall("config.json");
  if (config) files.set("config.json", editConfig(config, plan, new Set(files.keys())));
  files.set(INDEX_NAME, encoder.encode(indexText(plan)));
  return files;
}

async function readAll(store: Store, name: string): Promise<Uint8Array> {
  return (await store.readSmall(name, SMALL_FILE_BYTES))!;
}

/** A template lies in a file of its own, which wins, or in tokenizer_config.json. */
async function takeTemplate(files: Map<string, Uint8Array>, from: Store): Promise<void> {
  for (const name of TEMPLATE_FILES) {
    const bytes = await from.readSmall(name, SMALL_FILE_BYTES);
    if (bytes) files.set(name, bytes);
    else files.delete(name);
  }
  // The .json is for processors: tokenizers do not read it, so an entry beside it stays.
  const entry = files.has(TEMPLATE_FILES[0]!) ? undefined : await templateEntry(from);
  const config = files.get(TOKENIZER_CONFIG);
  if (!config && entry === undefined) return;
  const text = config ? decoder.decode(config) : "{\n}\n";
  files.set(TOKENIZER_CONFIG, encoder.encode(editJsonText(text, new Map([["chat_template", entry]]))));
}

/** chat_template of tokenizer_config.json as JSON text. */
async function templateEntry(from: Store): Promise<string | undefined> {
  const bytes = await from.readSmall(TOKENIZER_CONFIG);
  const value = bytes && (JSON.parse(decoder.decode(bytes)) as Record<string, unknown>).chat_template;
  return value === undefined ? undefined : JSON.stringify(value);
}

/** The base's licence under its own name, those of others with the parent's name where they differ. */
async function addLicences(
  files: Map<string, Uint8Array>,
  plan: BuildPlan,
  stores: readonly Store[],
): Promise<void> {
  const order = [plan.base, ...plan.parents.keys()].filter((parent, i, all) => all.indexOf(parent) === i);
  for (const parent of order) {
    const store = stores[parent]!;
    for (const { name } of await store.list()) {
      if (!LICENCE.test(name)) continue;
      const bytes = await readAll(store, name);
      const present = files.get(name);
      if (present && Buffer.compare(present, bytes) === 0) continue;
      files.set(present || parent !== plan.base ? `${name}.${plan.parents[parent]!.name}` : name, bytes);
    }
  }
}

const TORCH_DTYPE = { bf16: "bfloat16", f16: "float16", f32: "float32" } as const;

/** The base's config.json, changed only where the child differs from the base. */
export function editConfig(config: Uint8Array, plan: BuildPlan, files: ReadonlySet<string>): Uint8Array {
  const text = decoder.decode(config);
  const value = JSON.parse(text) as Record<string, unknown>;
  const edits = new Map<string, string | undefined>();
  const { dtype, quantized, block } = plan.output;
  // Other quantisations (packed integers) are copied as they are, and described by what the base says.
  const { quantization } = architectureOf(value);
  const isFp8 = asConfig(value.quantization_config)?.quant_method === "fp8";
  if (!quantized && isFp8) edits.set("quantization_config", undefined);
  if (quantized && quantization === "none") {
    const wanted = {
      quant_method: "fp8",
      fmt: "e4m3",
      activation_scheme: "dynamic",
      weight_block_size: block,
    };
    edits.set("quantization_config", JSON.stringify(wanted));
  }
  if (dtype === "bf16" || dtype === "f16" || dtype === "f32") {
    for (const key of ["torch_dtype", "dtype"]) {
      if (key in value) edits.set(key, JSON.stringify(TORCH_DTYPE[dtype]));
    }
  }
  // Code that config.json points to must be there, or transformers refuses the folder.
  const targets = Object.values((value.auto_map as Record<string, unknown> | undefined) ?? {}).flat();
  const isMissing = (target: unknown) => {
    if (typeof target !== "string" || target.includes("--")) return false; // no code, or that of another repository
    return !files.has(`${target.split(".")[0]}.py`);
  };
  if (targets.some(isMissing)) edits.set("auto_map", undefined);
  return edits.size === 0 ? config : encoder.encode(editJsonText(text, edits));
}

/** The index of the child, in the order of the base's. */
export function indexText(plan: BuildPlan): string {
  const entries = plan.shards.flatMap(({ name, tensors }) =>
    tensors.map((tensor) => ({ tensor, shard: name })),
  );
  entries.sort((a, b) => a.tensor.rank - b.tensor.rank);
  const weightMap = new Map(entries.map(({ tensor, shard }) => [tensor.name, shard]));
  const totalSize = entries.reduce((sum, { tensor }) => sum + tensor.byteLength, 0);
  return formatShardIndex(weightMap, totalSize);
}
