/** A small model with something wrong, and the error that tells it: for tests of bad input. */
import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import { argmax, generate } from "../../src/runtime/generate.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { ModelOptions } from "../../src/runtime/model-options.ts";
import { attachText, type TextModel } from "../../src/runtime/talk.ts";
import { readCheckpointTensors, type TensorContent, writeCheckpoint } from "../support/safetensors.ts";
import { type Ends, temporaryFolder } from "../support/temporary-folder.ts";

export type Json = Record<string, unknown>;
export const MODEL = "models/mini-v3";
export const FILES: readonly string[] = ["tokenizer.json", "tokenizer_config.json", "generation_config.json"];

export interface Damage {
  config?: (config: Json) => void;
  tensors?: (tensors: Map<string, TensorContent>) => void;
  tokenizerConfig?: (config: Json) => void;
}

/** A copy of mini-v3 with something wrong. */
export function damaged(t: Ends, { config, tensors, tokenizerConfig }: Damage): string {
  const folder = join(temporaryFolder(t), "model");
  const read = (file: string) => JSON.parse(readFileSync(join(MODEL, file), "utf8")) as Json;
  const settings = read("config.json");
  config?.(settings);
  if (tensors) {
    const all = readCheckpointTensors(MODEL);
    tensors(all);
    const list = [...all].map(([name, content]) => ({ name, ...content }));
    writeCheckpoint(folder, { config: settings, shards: [{ name: "model.safetensors", tensors: list }] });
    for (const file of FILES) cpSync(join(MODEL, file), join(folder, file));
  } else {
    cpSync(MODEL, folder, { recursive: true });
    writeFileSync(join(folder, "config.json"), JSON.stringify(settings));
  }
  if (tokenizerConfig) {
    const value = read("tokenizer_config.json");
    tokenizerConfig(value);
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(value));
  }
  return folder;
}

export interface Told {
  name: string;
  code: string;
  message: string;
  note: string | undefined;
}

/** The error of an action, as it is told. */
export async function errorOf(action: () => Promise<unknown>): Promise<Told> {
  try {
    await action();
  } catch (error) {
    const { name, code, message, note } = error as Told;
    return { name, code, message, note };
  }
  return assert.fail("nothing was wrong");
}

export async function loadText(folder: string): Promise<TextModel> {
  const model = await loadModel(checkpointReference(folder), { threads: 1 });
  try {
    return await attachText(model);
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

export async function loadError(t: TestContext, damage: Damage): Promise<Told> {
  const told = await errorOf(async () => {
    await (await loadText(damaged(t, damage))).dispose();
  });
  assert.equal(told.name, "CheckpointError", told.message);
  return told;
}

/** Loads a damaged model and generates some tokens with it. */
export async function runError(t: TestContext, damage: Damage, options: ModelOptions = {}): Promise<Told> {
  const model = await loadModel(checkpointReference(damaged(t, damage)), { threads: 1, ...options });
  try {
    return await errorOf(async () => {
      const all = { prompt: [0, 5, 6, 7], choose: argmax, maxTokens: 3 };
      for await (const _ of generate(model, model.newSequence(), all));
    });
  } finally {
    await model.dispose();
  }
}

export function setValue(
  tensors: Map<string, TensorContent>,
  name: string,
  { at, value }: { at: number; value: number },
): void {
  const { dtype, bytes } = tensors.get(name)!;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dtype === "BF16") {
    const word = new DataView(new ArrayBuffer(4));
    word.setFloat32(0, value);
    view.setUint16(2 * at, word.getUint16(0), true);
  } else if (dtype === "F32") view.setFloat32(4 * at, value, true);
  else bytes[at] = value; // a code
}
