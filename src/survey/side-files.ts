/**
 * What lies beside the shards: tokenizer, chat template, generation settings, code, licences, lineage.
 *
 * None of it is needed to read tensors, so a damaged file here is a finding and not an end.
 */
import { asConfig, type Config, own } from "../arch/config.ts";
import type { Problem } from "../base/errors.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { shown } from "../checkpoint/shown.ts";
import { type GenerationPrompt, generationPromptOf } from "./chat-template.ts";

export interface SideFiles {
  tokenizer: { files: string[]; class?: string };
  chatTemplate?: ChatTemplate;
  /** generation_config.json as it stands. */
  generationConfig?: Config;
  licences: string[];
  /** Python files that auto_map in config.json names and that are not there. */
  missingCode: string[];
  lineage?: Lineage;
  problems: Problem[];
}

export interface ChatTemplate {
  file: string;
  characters: number;
  /** Names of further templates beside the default one. */
  others: string[];
  /** Absent when the template has none. */
  generationPrompt?: GenerationPrompt;
}

/** What chimera.json says of a child. */
export interface Lineage {
  tool?: string;
  base?: string;
  parents: { name: string; location?: string; revision?: string; digest?: string }[];
  recipeFile?: string;
  recipe?: string;
  planDigest?: string;
}

const TOKENIZER_DATA = /^(tokenizer\.json|tokenizer\.model|vocab\.json|vocab\.txt|.*\.tiktoken)$/;
const TOKENIZER_MORE =
  /^(tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|merges\.txt|tokenization_.*\.py)$/;
const LICENCE = /^(licen[cs]e|notice|copying)([.-].*)?$/i;
const LINEAGE = "chimera.json";
/** A child's record lists every tensor that data decided. */
const LINEAGE_BYTES = 500_000_000;

export async function readSideFiles(checkpoint: Checkpoint): Promise<SideFiles> {
  const { files, config, label } = checkpoint;
  const names = files.map(({ name }) => name);
  const problems: Problem[] = [];
  const read = (name: string, limit?: number) => readJson(checkpoint, name, problems, limit);
  const settings = await read("tokenizer_config.json");
  const className = settings && own(settings, "tokenizer_class");
  const chatTemplate = await findTemplate(checkpoint, settings, read);
  const generationConfig = await read("generation_config.json");
  const record = names.includes(LINEAGE) ? await read(LINEAGE, LINEAGE_BYTES) : undefined;
  if (record && own(record, "format") !== "chimera-child") {
    const message = `Cannot read "${LINEAGE}" of "${label}": its format is not "chimera-child"`;
    problems.push({ code: "side-file", message });
  }
  return {
    tokenizer: {
      files: names.filter((name) => TOKENIZER_DATA.test(name) || TOKENIZER_MORE.test(name)),
      ...(typeof className === "string" ? { class: className } : {}),
    },
    ...(chatTemplate ? { chatTemplate } : {}),
    ...(generationConfig ? { generationConfig } : {}),
    licences: names.filter((name) => LICENCE.test(name)),
    missingCode: missingCode(config ?? {}, new Set(names)),
    ...(record ? { lineage: lineageOf(record) } : {}),
    problems,
  };
}

/** Whether there is something to make tokens with, not only settings for it. */
export function hasTokenizer({ tokenizer }: SideFiles): boolean {
  return tokenizer.files.some((name) => TOKENIZER_DATA.test(name));
}

type ReadJson = (name: string, limit?: number) => Promise<Config | undefined>;

async function readJson(
  { store, label }: Checkpoint,
  name: string,
  problems: Problem[],
  limit?: number,
): Promise<Config | undefined> {
  const bytes = await store.readSmall(name, limit);
  if (!bytes) return undefined;
  let what = "it is not an object";
  try {
    const value = asConfig(JSON.parse(new TextDecoder().decode(bytes)));
    if (value) return value;
  } catch (error) {
    what = shown((error as Error).message);
  }
  problems.push({ code: "side-file", message: `Cannot read "${name}" of "${label}": ${what}` });
  return undefined;
}

/** A file of its own wins over tokenizer_config.json, as in transformers. */
async function findTemplate(
  { store }: Checkpoint,
  settings: Config | undefined,
  read: ReadJson,
): Promise<ChatTemplate | undefined> {
  const bytes = await store.readSmall("chat_template.jinja");
  if (bytes) return describeTemplate("chat_template.jinja", new TextDecoder().decode(bytes));
  const processor = await read("chat_template.json");
  return (
    describeTemplate("chat_template.json", processor && own(processor, "chat_template")) ??
    describeTemplate("tokenizer_config.json", settings && own(settings, "chat_template"))
  );
}

/** `value` is a template, or a list of named ones. */
function describeTemplate(file: string, value: unknown): ChatTemplate | undefined {
  const named = (Array.isArray(value) ? value : []).flatMap((item) => {
    const { name, template } = asConfig(item) ?? {};
    return typeof name === "string" && typeof template === "string" ? [{ name, template }] : [];
  });
  const first = named.find(({ name }) => name === "default") ?? named[0];
  const template = typeof value === "string" ? value : first?.template;
  if (template === undefined) return undefined;
  const others = named.filter((item) => item !== first).map(({ name }) => name);
  const generationPrompt = generationPromptOf(template);
  const found = { file, characters: template.length, others };
  return generationPrompt ? { ...found, generationPrompt } : found;
}

/** "modeling_deepseek.DeepseekV3Model" wants modeling_deepseek.py; "org/repo--module.Class" lies elsewhere. */
function missingCode(config: Config, names: ReadonlySet<string>): string[] {
  const targets = Object.values(asConfig(own(config, "auto_map")) ?? {}).flat();
  const local = targets.filter((target) => typeof target === "string" && !target.includes("--"));
  const files = new Set(local.map((target) => `${(target as string).split(".")[0]}.py`));
  return [...files].filter((file) => !names.has(file));
}

function lineageOf(record: Config): Lineage {
  const parents = own(record, "parents");
  const lineage: Lineage = {
    parents: (Array.isArray(parents) ? parents : []).flatMap((item) => {
      const name = texts(asConfig(item) ?? {}, ["name"]).name;
      return name ? [{ name, ...texts(item as Config, ["location", "revision", "digest"]) }] : [];
    }),
  };
  return { ...lineage, ...texts(record, ["tool", "base", "recipeFile", "recipe", "planDigest"]) };
}

/** Those of the keys that hold text. */
function texts<Key extends string>(config: Config, keys: readonly Key[]): Partial<Record<Key, string>> {
  const entries = keys.map((key) => [key, own(config, key)] as const);
  return Object.fromEntries(entries.filter(([, value]) => typeof value === "string")) as Partial<
    Record<Key, string>
  >;
}
