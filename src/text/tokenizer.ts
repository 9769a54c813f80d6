/**
 * Text to token ids and back, by the checkpoint's own tokenizer.json.
 *
 * `tokenizer_class` in tokenizer_config.json is not looked at: for the DeepSeek family it is misleading.
 * Encoding is the library's; decoding of byte-level vocabularies is ours, since a stream needs the bytes of
 * single tokens, and both ways must agree. Decoding never tidies spaces: text is what the tokens say.
 */
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { CheckpointError } from "../base/errors.ts";
import { bytesOfSymbols } from "./byte-level.ts";
import { isObject, type JsonObject, own, readJsonObject, type TextFiles } from "./json-file.ts";
import { checkTokenizerJson, hasByteLevel, refuse, TOKENIZER_FILE } from "./tokenizer-json.ts";

const TOKENIZER_BYTES = 200_000_000;

/** Settings beside tokenizer.json, as parsed; each may be missing. */
export interface TokenizerSettings {
  tokenizerConfig?: JsonObject | undefined;
  generationConfig?: JsonObject | undefined;
  config?: JsonObject | undefined;
}

/** Throws CheckpointError naming the file when one is missing, malformed or of an unknown kind. */
export async function loadTokenizer(files: TextFiles): Promise<Tokenizer> {
  const json = await readJsonObject(files, TOKENIZER_FILE, TOKENIZER_BYTES);
  if (!json) {
    const note = `A checkpoint is run with its ${TOKENIZER_FILE}; vocab.json, tokenizer.model and .tiktoken files are not read`;
    throw new CheckpointError("tokenizer-missing", `Cannot open "${TOKENIZER_FILE}": there is no such file`, {
      note,
    });
  }
  return new Tokenizer(json, {
    tokenizerConfig: await readJsonObject(files, "tokenizer_config.json"),
    generationConfig: await readJsonObject(files, "generation_config.json"),
    config: await readJsonObject(files, "config.json"),
  });
}

export interface EncodeOptions {
  /** Begin and end tokens as the post-processor adds them. Rendered chat templates bring their own. */
  addSpecial?: boolean;
}

export interface DecodeOptions {
  /** Leaves special tokens out. */
  skipSpecial?: boolean;
}

export class Tokenizer {
  /** One more than the largest id. There may be ids below it without a token: see hasToken(). */
  readonly vocabSize: number;
  readonly bos: number | undefined;
  /** Every id that ends a generation. */
  readonly eos: readonly number[];
  /** The texts for chat templates; "" when there is none. */
  readonly bosToken: string;
  readonly eosToken: string;
  /** Tokens are bytes, not characters: bytesOf() knows them. */
  readonly isByteLevel: boolean;
  readonly #library: Library;
  readonly #tokens: readonly (string | undefined)[];
  readonly #added: ReadonlySet<number>;
  readonly #special: ReadonlySet<number>;
  readonly #bytes: (Uint8Array | undefined)[] = [];
  readonly #prefix: readonly number[];
  readonly #suffix: readonly number[];

  constructor(
    json: JsonObject,
    { tokenizerConfig = {}, generationConfig = {}, config = {} }: TokenizerSettings = {},
  ) {
    const checked = checkTokenizerJson(json);
    try {
      this.#library = new Library(checked, tokenizerConfig);
    } catch (cause) {
      refuse((cause as Error).message, cause);
    }
    this.#tokens = [...(this.#library.model?.vocab ?? [])]; // dense: holes become undefined
    this.vocabSize = this.#tokens.length;
    this.isByteLevel = hasByteLevel(checked.decoder);
    this.#added = new Set(checked.added_tokens.map(({ id }) => id));

    this.bosToken = textOf(own(tokenizerConfig, "bos_token")) ?? "";
    this.eosToken = textOf(own(tokenizerConfig, "eos_token")) ?? "";
    this.bos =
      this.idOf(this.bosToken) ??
      this.#ids(own(generationConfig, "bos_token_id"))[0] ??
      this.#ids(own(config, "bos_token_id"))[0];
    const ends = this.#ids(own(generationConfig, "eos_token_id") ?? own(config, "eos_token_id"));
    const end = this.idOf(this.eosToken);
    // What the template ends a turn with also ends a generation, though generation_config.json forgets it.
    this.eos = [...new Set(end === undefined ? ends : [...ends, end])];
    if (this.bosToken === "" && this.bos !== undefined) this.bosToken = this.tokenOf(this.bos) ?? "";
    if (this.eosToken === "" && this.eos.length > 0) this.eosToken = this.tokenOf(this.eos[0]!) ?? "";

    const special = checked.added_tokens.filter((token) => token.special === true).map(({ id }) => id);
    this.#special = new Set([...special, ...this.#additional(tokenizerConfig)]);
    this.#prefix = own(tokenizerConfig, "add_bos_token") === true && this.bos !== undefined ? [this.bos] : [];
    this.#suffix = own(tokenizerConfig, "add_eos_token") === true && end !== undefined ? [end] : [];
  }

  encode(text: string, { addSpecial = false }: EncodeOptions = {}): number[] {
    const { ids } = this.#library.encode(text, { add_special_tokens: addSpecial }) as { ids: number[] };
    if (ids.includes(undefined as never))
      throw new RangeError("Cannot encode the text: a part of it has no token, wanted one");
    if (!addSpecial) return ids;
    // add_bos_token stands for a post-processor that transformers makes when it loads the file.
    const begin = this.#prefix.filter((id) => ids[0] !== id);
    const end = this.#suffix.filter((id) => ids.at(-1) !== id);
    return [...begin, ...ids, ...end];
  }

  /** Throws RangeError for an id without a token. */
  decode(ids: readonly number[], { skipSpecial = false }: DecodeOptions = {}): string {
    for (const id of ids) this.#checkId(id);
    const kept = skipSpecial ? ids.filter((id) => !this.#special.has(id)) : [...ids];
    if (kept.length === 0) return "";
    if (!this.isByteLevel) {
      return this.#library.decode(kept, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
    }
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    let text = "";
    for (const id of kept) text += decoder.decode(this.bytesOf(id), { stream: true });
    return text + decoder.decode();
  }

  /** The bytes that a token adds to the text. Of byte-level tokenizers only; do not change them. */
  bytesOf(id: number): Uint8Array {
    if (!this.isByteLevel)
      throw new TypeError("Cannot tell the bytes of a token: the tokenizer is not byte-level");
    const known = this.#bytes[id];
    if (known) return known;
    this.#checkId(id);
    const token = this.#tokens[id]!;
    const bytes = this.#added.has(id) ? new TextEncoder().encode(token) : bytesOfSymbols(token);
    this.#bytes[id] = bytes;
    return bytes;
  }

  idOf(token: string): number | undefined {
    return this.#library.token_to_id(token);
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens[id];
  }

  /** Begin, end and padding marks; tags such as <think> often are not special. */
  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  hasToken(id: number): boolean {
    return this.#tokens[id] !== undefined;
  }

  /** Ids below `rows` without a token: padding rows of an embedding, which must never be sampled. */
  idsWithoutToken(rows: number): number[] {
    return Array.from({ length: rows }, (_, id) => id).filter((id) => !this.hasToken(id));
  }

  #checkId(id: number): void {
    if (this.hasToken(id)) return;
    throw new RangeError(`Cannot decode id ${id}: it has no token, wanted one of the ${this.vocabSize} ids`);
  }

  /** A number or a list of them; only those that have a token. */
  #ids(value: unknown): number[] {
    const values: unknown[] = Array.isArray(value) ? value : [value];
    return values.filter((id): id is number => typeof id === "number" && this.hasToken(id));
  }

  #additional(tokenizerConfig: JsonObject): number[] {
    const more = own(tokenizerConfig, "additional_special_tokens");
    const texts = [this.bosToken, this.eosToken, textOf(own(tokenizerConfig, "pad_token"))];
    if (Array.isArray(more)) texts.push(...more.map(textOf));
    return texts.map((text) => (text ? this.idOf(text) : undefined)).filter((id) => id !== undefined);
  }
}

/** "…" or { content: "…" }, as older files write it. */
function textOf(token: unknown): string | undefined {
  const text = isObject(token) ? own(token, "content") : token;
  return typeof text === "string" ? text : undefined;
}
