/** Small `deepseek2` files with blocks at random, of any types, whole or split: for tests of reading and stitching. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { modelConfigOf } from "../../src/arch/model-config.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { metadataOf, tensorsOf } from "../../src/convert/deepseek2.ts";
import { tokenizerMetadata } from "../../src/convert/tokenizer-metadata.ts";
import { blockOf, type GgufType, ggufByteLength } from "../../src/gguf/types.ts";
import { aligned, encodeGgufHeader, string, u32 } from "../../src/gguf/write.ts";
import { u32 as u32Bytes } from "./source-of.ts";

const MINI = fileURLToPath(new URL("../../../models/mini-v3", import.meta.url));

/** Every row that may be of a K type has 256 elements. */
const CONFIG = {
  model_type: "deepseek_v3",
  vocab_size: 640,
  hidden_size: 256,
  intermediate_size: 256,
  moe_intermediate_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  q_lora_rank: 256,
  kv_lora_rank: 256,
  qk_nope_head_dim: 32,
  qk_rope_head_dim: 16,
  v_head_dim: 32,
  n_routed_experts: 4,
  n_shared_experts: 1,
  num_experts_per_tok: 2,
  n_group: 2,
  topk_group: 1,
  first_k_dense_replace: 1,
  routed_scaling_factor: 2.5,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  max_position_embeddings: 256,
  norm_topk_prob: true,
  scoring_func: "sigmoid",
  topk_method: "noaux_tc",
};

const HALVES: Partial<Record<GgufType, number[]>> = {
  F16: [0],
  BF16: [0],
  Q8_0: [0],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
};

export interface RandomGguf {
  /** The type of a matrix by its name; Q8_0 and F32 stand where rows are no whole blocks, and for vectors. */
  typeOf: (name: string) => GgufType;
  seed: number;
  /** Files. Default 1. */
  parts?: number;
  template?: string;
  /** As files were before llama.cpp cut kv_b_proj by heads, lengths by head. */
  isOld?: boolean;
}

/** Writes "NAME.gguf", or "NAME-00001-of-0000N.gguf" and so on; returns the path of the first. */
export async function writeRandomGguf(
  folder: string,
  name: string,
  { typeOf, seed, parts = 1, template, isOld }: RandomGguf,
): Promise<string> {
  const config = modelConfigOf(CONFIG);
  if ("problems" in config) throw new Error(config.problems[0]!.message);
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  };
  const layout = isOld ? oldLayout(tensorsOf(config, "F32")) : tensorsOf(config, "F32");
  const tensors = layout.map(({ name: of, shape }) => {
    const wanted = shape.length === 1 || of.includes("ffn_gate_inp") ? "F32" : typeOf(of);
    const type = Number.isNaN(ggufByteLength(wanted, shape)) ? "Q8_0" : wanted;
    return { name: of, shape, type, bytes: blocks(type, ggufByteLength(type, shape), random) };
  });
  const metadata = new Map([
    ...metadataOf(config, { type: "Q8_0", name }),
    ...(await tokenizerMetadata(openStore(MINI), { numTokens: 640 })),
    ["quantize.made_by", string(name)],
  ]);
  if (isOld) {
    const lengths = { key_length: 32 + 16, value_length: 32, head_count_kv: 2 };
    for (const [key, value] of Object.entries(lengths))
      metadata.set(`deepseek2.attention.${key}`, u32(value));
    for (const key of ["key_length_mla", "value_length_mla"]) metadata.delete(`deepseek2.attention.${key}`);
    for (const key of ["expert_group_count", "expert_group_used_count"]) metadata.delete(`deepseek2.${key}`);
  }
  if (template !== undefined) metadata.set("tokenizer.chat_template", string(template));
  const five = (n: number) => String(n).padStart(5, "0");
  const pathOf = (part: number) =>
    join(folder, parts === 1 ? `${name}.gguf` : `${name}-${five(part + 1)}-of-${five(parts)}.gguf`);
  const perPart = Math.ceil(tensors.length / parts);
  for (let part = 0; part < parts; part++) {
    const some = tensors.slice(part * perPart, (part + 1) * perPart);
    const keys = new Map(part === 0 ? metadata : []);
    if (parts > 1) {
      const u16 = (value: number) => Buffer.concat([u32Bytes(2), Buffer.of(value & 255, value >> 8)]);
      keys.set("split.no", u16(part));
      keys.set("split.count", u16(parts));
      keys.set("split.tensors.count", Buffer.concat([u32Bytes(5), u32(tensors.length).subarray(4)]));
    }
    const data = some.map(({ bytes }) =>
      Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]),
    );
    writeFileSync(pathOf(part), Buffer.concat([encodeGgufHeader(keys, some), ...data]));
  }
  return pathOf(0);
}

/** kv_b_proj whole, in place of its two parts. */
function oldLayout(tensors: readonly { name: string; shape: readonly number[] }[]): typeof tensors {
  return tensors
    .filter(({ name }) => !name.includes("attn_v_b"))
    .map(({ name, shape }) =>
      name.includes("attn_k_b")
        ? { name: name.replace("attn_k_b", "attn_kv_b"), shape: [2 * (32 + 32), 256] }
        : { name, shape },
    );
}

/** Any bits, but for numbers of 16 and 32 bits that are scales: those are small and finite. */
function blocks(type: GgufType, byteLength: number, random: () => number): Uint8Array {
  const bytes = Uint8Array.from({ length: byteLength }, random);
  if (type === "F32")
    return new Uint8Array(Float32Array.from({ length: byteLength / 4 }, () => (random() - 128) / 512).buffer);
  const size = blockOf(type).bytes;
  for (const at of HALVES[type] ?? [])
    for (let i = at; i < byteLength; i += size) bytes[i + 1] = 0x20 | (bytes[i + 1]! & 0x83);
  return bytes;
}
