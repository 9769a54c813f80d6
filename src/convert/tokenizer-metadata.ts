/**
 * The tokenizer and the chat template of a checkpoint as keys of a GGUF. llama.cpp has code for each way of
 * splitting text before BPE and finds it by a name; a way that we know no name for is refused, since another one
 * would give other ids than those the model was trained with, and nobody would be told.
 */
import { CheckpointError } from "../base/errors.ts";
import { PRE_TOKENIZERS, TOKEN_TYPES } from "../gguf/tokenizer.ts";
import { bool, type EncodedValue, i32s, string, strings, u32 } from "../gguf/write.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { isObject, type JsonObject, own, readJsonObject } from "../text/json-file.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { TOKENIZER_FILE } from "../text/tokenizer-json.ts";

const TOKENIZER_BYTES = 200_000_000;
/** What llama.cpp's converter takes for a mark, whatever tokenizer.json says. */
const LOOKS_SPECIAL = /^<[|｜].*[|｜]>$/s;

export interface TokenizerWishes {
  /** Rows of the embedding: ids that have no token get a name of their own. */
  numTokens: number;
  /** llama.cpp's name for the way of splitting, where it is known from elsewhere. */
  pre?: string;
}

/** Throws CheckpointError for a tokenizer that GGUF, or we, have no words for. */
export async function tokenizerMetadata(
  source: Pick<WeightSource, "readSmall">,
  { numTokens, pre }: TokenizerWishes,
): Promise<Map<string, EncodedValue>> {
  const tokenizer = await loadTokenizer(source);
  const json = (await readJsonObject(source, TOKENIZER_FILE, TOKENIZER_BYTES))!;
  const settings = (await readJsonObject(source, "tokenizer_config.json")) ?? {};
  const model = own(json, "model") as JsonObject;
  if (own(model, "type") !== "BPE" || !tokenizer.isByteLevel)
    refuse(`its model is ${JSON.stringify(own(model, "type"))}`, "byte-level BPE");
  if (tokenizer.vocabSize > numTokens)
    refuse(`it has ${tokenizer.vocabSize} ids, the embedding ${numTokens} rows`, "a row for each id");
  const { tokens, types } = tokensOf(tokenizer, { json, numTokens });
  const metadata = new Map<string, EncodedValue>([
    ["tokenizer.ggml.model", string("gpt2")],
    ["tokenizer.ggml.pre", string(pre ?? preOf(json))],
    ["tokenizer.ggml.tokens", strings(tokens)],
    ["tokenizer.ggml.token_type", i32s(types)],
    ["tokenizer.ggml.merges", strings(mergesOf(model))],
  ]);
  if (tokenizer.bos !== undefined) metadata.set("tokenizer.ggml.bos_token_id", u32(tokenizer.bos));
  const eos = tokenizer.idOf(tokenizer.eosToken) ?? tokenizer.eos[0];
  if (eos !== undefined) metadata.set("tokenizer.ggml.eos_token_id", u32(eos));
  const padding = own(settings, "pad_token");
  const text = isObject(padding) ? own(padding, "content") : padding;
  const id = typeof text === "string" ? tokenizer.idOf(text) : undefined;
  if (id !== undefined) metadata.set("tokenizer.ggml.padding_token_id", u32(id));
  metadata.set("tokenizer.ggml.add_bos_token", bool(own(settings, "add_bos_token") === true));
  const template = await templateOf(source, settings);
  if (template !== undefined) metadata.set("tokenizer.chat_template", string(template));
  return metadata;
}

/** A vocabulary of no meaning, for models that are fed ids: without one no context opens. */
export function madeUpVocabulary(numTokens: number): Map<string, EncodedValue> {
  const tokens = Array.from({ length: numTokens }, (_, id) => `<${id}>`);
  return new Map<string, EncodedValue>([
    ["tokenizer.ggml.model", string("gpt2")],
    ["tokenizer.ggml.pre", string("deepseek-v3")],
    ["tokenizer.ggml.tokens", strings(tokens)],
    ["tokenizer.ggml.merges", strings([])],
  ]);
}

function tokensOf(
  tokenizer: Tokenizer,
  { json, numTokens }: { json: JsonObject; numTokens: number },
): { tokens: string[]; types: number[] } {
  const listed = own(json, "added_tokens");
  const added = new Map<number, JsonObject>();
  for (const token of Array.isArray(listed) ? (listed as JsonObject[]) : [])
    added.set(own(token, "id") as number, token);
  const tokens: string[] = [];
  const types: number[] = [];
  for (let id = 0; id < numTokens; id++) {
    const token = tokenizer.tokenOf(id);
    const extra = added.get(id);
    if (token === undefined) {
      tokens.push(`[PAD${id}]`);
      types.push(TOKEN_TYPES.unused);
    } else if (extra && (own(extra, "special") === true || LOOKS_SPECIAL.test(token))) {
      tokens.push(token);
      types.push(TOKEN_TYPES.control);
    } else {
      tokens.push(token);
      types.push(extra ? TOKEN_TYPES.userDefined : TOKEN_TYPES.normal);
    }
  }
  return { tokens, types };
}

/** "a b": symbols of bytes hold no space. */
function mergesOf(model: JsonObject): string[] {
  const merges = own(model, "merges") as (string | [string, string])[];
  return merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
}

/** llama.cpp's name for what tokenizer.json says of splitting. */
function preOf(json: JsonObject): string {
  const step = own(json, "pre_tokenizer");
  const steps = isObject(step) ? (own(step, "pretokenizers") ?? [step]) : [];
  const patterns = (Array.isArray(steps) ? (steps as JsonObject[]) : []).flatMap((each) => {
    const pattern = own(each, "type") === "Split" ? own(each, "pattern") : undefined;
    return isObject(pattern) ? [own(pattern, "Regex")] : [];
  });
  const known = Object.entries(PRE_TOKENIZERS).find(
    ([, wanted]) =>
      wanted.length === patterns.length && wanted.every((regex, i) => regex === spelt(patterns[i])),
  );
  if (known) return known[0];
  return refuse(
    "it splits text in a way that has no known name",
    `that of ${Object.keys(PRE_TOKENIZERS).join(", ")}`,
    "--pre NAME says what llama.cpp calls it",
  );
}

/** DeepSeek's own files have line ends in their expressions as they are, others as \r and \n: the same characters. */
function spelt(regex: unknown): unknown {
  return typeof regex === "string" ? regex.replaceAll("\r", "\\r").replaceAll("\n", "\\n") : regex;
}

/** A template lies in a file of its own, which wins, or in tokenizer_config.json; of several, the default one. */
async function templateOf(
  source: Pick<WeightSource, "readSmall">,
  settings: JsonObject,
): Promise<string | undefined> {
  const file = await source.readSmall("chat_template.jinja", TOKENIZER_BYTES);
  if (file) return new TextDecoder().decode(file);
  const entry = own(settings, "chat_template");
  if (typeof entry === "string") return entry;
  const named = Array.isArray(entry) ? (entry as JsonObject[]) : [];
  const chosen = named.find((each) => own(each, "name") === "default") ?? named[0];
  const template = chosen && own(chosen, "template");
  return typeof template === "string" ? template : undefined;
}

function refuse(what: string, wanted: string, note?: string): never {
  const message = `Cannot write the tokenizer into a GGUF: ${what}, wanted ${wanted}`;
  throw new CheckpointError("tokenizer", message, note ? { note } : {});
}
