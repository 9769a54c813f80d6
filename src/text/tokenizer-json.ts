/**
 * tokenizer.json, checked and repaired before the library gets it.
 *
 * The library takes parsed JSON on trust: an unknown type falls through to a guess, a split behaviour that
 * it does not know is treated as "isolated", and its own ByteLevel regex uses JavaScript's `\s`, which holds
 * U+FEFF and not U+0085 (in the Rust library it is the reverse). Ids that are silently others than those the
 * model was trained with are the worst that can happen here, so everything that is not known is refused.
 */
import { CheckpointError } from "../base/errors.ts";
import { shown } from "../checkpoint/shown.ts";
import { BYTE_SYMBOLS, UTF8_BYTES } from "./byte-level.ts";
import { isObject, type JsonObject, own } from "./json-file.ts";

export const TOKENIZER_FILE = "tokenizer.json";

const MODELS = ["BPE", "WordPiece", "Unigram"];
const BEHAVIOURS = ["isolated", "removed"];
/** No vocabulary is near it; an id from a damaged file must not allocate gigabytes. */
const MAX_ID = 2 ** 24;
/** The regex of ByteLevel with use_regex, in the dialect of a Split. */
const BYTE_LEVEL_REGEX = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

export interface AddedToken extends JsonObject {
  id: number;
  content: string;
}

export interface TokenizerJson extends JsonObject {
  model: JsonObject;
  added_tokens: AddedToken[];
}

/** Throws CheckpointError for what the library would not tokenise as the Rust library does. */
export function checkTokenizerJson(json: JsonObject): TokenizerJson {
  const model = own(json, "model");
  if (!isObject(model)) refuse('it has no "model"');
  const type = own(model, "type");
  if (typeof type !== "string" || !MODELS.includes(type))
    refuse(`its model type is ${quoted(type)}, wanted ${MODELS.join(", ")}`);
  if (type === "Unigram") checkUnigram(model);
  else checkVocabulary(own(model, "vocab"));
  if (type === "BPE") checkMerges(own(model, "merges"));

  const preTokenizer = repaired(own(json, "pre_tokenizer") ?? null);
  const checked: TokenizerJson = {
    ...json,
    model,
    added_tokens: addedTokens(own(json, "added_tokens") ?? []),
    // The library wants all of these to be there.
    normalizer: own(json, "normalizer") ?? null,
    pre_tokenizer: preTokenizer,
    post_processor: own(json, "post_processor") ?? null,
    decoder: own(json, "decoder") ?? null,
  };
  if (type === "BPE" && hasByteLevel(preTokenizer)) checkAlphabet(model);
  return checked;
}

function checkVocabulary(vocabulary: unknown): void {
  if (!isObject(vocabulary)) refuse('its model has no "vocab"');
  for (const [token, id] of Object.entries(vocabulary)) checkId(id, token);
}

function checkUnigram(model: JsonObject): void {
  const vocabulary = own(model, "vocab");
  const isPair = (entry: unknown) =>
    Array.isArray(entry) && typeof entry[0] === "string" && typeof entry[1] === "number";
  if (!Array.isArray(vocabulary) || !vocabulary.every(isPair))
    refuse('its model has no "vocab" of pairs of a token and a number');
}

function checkMerges(merges: unknown): void {
  const isMerge = (merge: unknown) =>
    typeof merge === "string" ? merge.includes(" ") : Array.isArray(merge) && merge.length === 2;
  if (!Array.isArray(merges)) refuse('its model has no "merges"');
  const at = merges.findIndex((merge) => !isMerge(merge) || typeof merge !== typeof merges[0]);
  if (at >= 0) refuse(`merge ${at} is ${quoted(merges[at])}, wanted two tokens`);
}

function addedTokens(tokens: unknown): AddedToken[] {
  if (!Array.isArray(tokens)) refuse('its "added_tokens" are no list');
  return tokens.map((token: unknown, index) => {
    const content = isObject(token) ? own(token, "content") : undefined;
    if (typeof content !== "string" || content === "") refuse(`added token ${index} has no content`);
    checkId(own(token as JsonObject, "id"), content);
    return token as AddedToken;
  });
}

function checkId(id: unknown, token: string): void {
  if (Number.isInteger(id) && (id as number) >= 0 && (id as number) < MAX_ID) return;
  refuse(`the id of "${shown(token)}" is ${quoted(id)}, wanted a whole number from 0 to ${MAX_ID - 1}`);
}

/** Without an unknown token, bytes that have no symbol would vanish from the text. */
function checkAlphabet(model: JsonObject): void {
  if (typeof own(model, "unk_token") === "string" || own(model, "byte_fallback") === true) return;
  const vocabulary = own(model, "vocab") as JsonObject;
  const missing = UTF8_BYTES.filter((byte) => !Object.hasOwn(vocabulary, BYTE_SYMBOLS[byte]!));
  if (missing.length === 0) return;
  refuse(`${missing.length} of ${UTF8_BYTES.length} bytes have no token (first ${missing[0]})`);
}

/** The pre-tokenizer with ByteLevel's regex as a Split of its own; unknown behaviours are refused. */
function repaired(step: unknown): unknown {
  if (!isObject(step)) return step;
  const type = own(step, "type");
  if (type === "Sequence") {
    const steps = own(step, "pretokenizers");
    if (!Array.isArray(steps)) refuse('its pre-tokenizer is a Sequence without "pretokenizers"');
    return { ...step, pretokenizers: steps.map(repaired) };
  }
  if (type === "Split") {
    const behaviour = own(step, "behavior");
    if (typeof behaviour !== "string" || !BEHAVIOURS.includes(behaviour.toLowerCase()))
      refuse(`its pre-tokenizer splits with behaviour ${quoted(behaviour)}, wanted ${BEHAVIOURS.join(", ")}`);
    if (own(step, "invert") === true && behaviour.toLowerCase() === "isolated")
      refuse("its pre-tokenizer has an inverted Split that keeps what it splits at");
    const regex = patternOf(step);
    if (regex?.includes("\\G")) refuse("its pre-tokenizer has a regex with \\G");
  }
  if (type === "ByteLevel" && own(step, "use_regex") !== false && own(step, "add_prefix_space") !== true) {
    const split = {
      type: "Split",
      pattern: { Regex: BYTE_LEVEL_REGEX },
      behavior: "Isolated",
      invert: false,
    };
    return { type: "Sequence", pretokenizers: [split, { ...step, use_regex: false }] };
  }
  return step;
}

function patternOf(split: JsonObject): string | undefined {
  const pattern = own(split, "pattern");
  const regex = isObject(pattern) ? own(pattern, "Regex") : undefined;
  return typeof regex === "string" ? regex : undefined;
}

/** Whether a pre-tokenizer or a decoder works on bytes. */
export function hasByteLevel(step: unknown): boolean {
  if (!isObject(step)) return false;
  if (own(step, "type") === "ByteLevel") return true;
  const steps = own(step, "pretokenizers");
  return Array.isArray(steps) && steps.some(hasByteLevel);
}

function quoted(value: unknown): string {
  return shown(JSON.stringify(value) ?? "missing");
}

export function refuse(what: string, cause?: unknown): never {
  throw new CheckpointError("tokenizer", `Cannot use "${TOKENIZER_FILE}": ${what}`, { cause });
}
