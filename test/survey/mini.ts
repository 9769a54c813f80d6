/** Variants of the small parents: the tensors of models/mini-v3 with something changed, in a folder of their own. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  readShardTensors,
  type TestCheckpoint,
  type TestShard,
  type TestTensor,
  writeCheckpoint,
} from "../support/safetensors.ts";

export const MINI_V3 = "models/mini-v3";
export const MINI_R1 = "models/mini-r1";

const SHARDS = ["model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"];

export function miniConfig(): Record<string, unknown> {
  return JSON.parse(readFileSync(join(MINI_V3, "config.json"), "utf8")) as Record<string, unknown>;
}

/** The checkpoint as writeCheckpoint() takes it: without an index, which is made when it is written. */
export function mini(
  folder: string = MINI_V3,
): TestCheckpoint & { shards: { name: string; tensors: TestTensor[] }[] } {
  const names = ["generation_config.json", "tokenizer.json", "tokenizer_config.json"];
  return {
    config: miniConfig(),
    shards: SHARDS.map((name) => {
      const tensors = readShardTensors(readFileSync(join(folder, name)));
      return { name, tensors: [...tensors].map(([tensor, content]) => ({ name: tensor, ...content })) };
    }),
    files: Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), "utf8")])),
  };
}

/** Removes tensors for which the condition holds. */
export function without(shards: readonly TestShard[], isGone: (name: string) => boolean): TestShard[] {
  return shards.map((shard) => ({ ...shard, tensors: shard.tensors.filter(({ name }) => !isGone(name)) }));
}

/** One file with one tensor of these float32 values, and no config. */
export function single(folder: string, name: string, values: readonly number[]): string {
  const bytes = new Uint8Array(Float32Array.from(values).buffer);
  const tensors: TestTensor[] = [{ name, dtype: "F32", shape: [values.length], bytes }];
  return writeCheckpoint(folder, { shards: [{ name: "model.safetensors", tensors }] });
}
