/**
 * What the commands that run a model share: a checkpoint or a recipe becomes a running model, with progress
 * while it loads, and everything is ended and freed when the command is.
 */
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { formatBytes, formatDuration, formatInteger, parseBytes } from "../base/format.ts";
import type { WeightReference } from "../logical/weight-source.ts";
import type { ExpertUse } from "../runtime/expert-use.ts";
import type { Model } from "../runtime/model.ts";
import type { LoadEvent, ModelOptions } from "../runtime/model-options.ts";
import type { ExpertMemory } from "../runtime/placement.ts";
import type { TextModel } from "../runtime/talk.ts";
import type { WeightForm } from "../runtime/weights.ts";
import { parentOption } from "./plan.ts";
import { createProgress, PROGRESS_MODES, type ProgressMode } from "./progress.ts";
import { clean, note, paintError } from "./terminal.ts";

export interface ModelCommandOptions {
  threads?: number;
  context?: number;
  cache?: "f32" | "bf16" | "fp8";
  weights: WeightForm;
  /** False with --no-mtp, true with --mtp. */
  mtp?: boolean;
  expertMemory?: number;
  parent?: Record<string, string>;
  progress: ProgressMode;
}

/** As the runtime has them, which is not loaded for a command's help. */
const MAX_THREADS = 256;
export const WEIGHT_FORMS: readonly WeightForm[] = ["stored", "int8"];

/** `speculates`: whether the MTP layer can be used. */
export function addModelOptions(
  command: Command,
  { speculates = true }: { speculates?: boolean } = {},
): Command {
  command
    .option("--threads <n>", "threads (default: one per core; one for a tiny model)", parseThreads)
    .option("--context <n>", "tokens that the cache has room for (default: the model's)", parseCount)
    .addOption(new Option("--cache <type>", "how the cache is stored").choices(["f32", "bf16", "fp8"]))
    .addOption(
      new Option("--weights <form>", "how weights are multiplied: int8 is faster and inexact")
        .choices(WEIGHT_FORMS)
        .default("stored"),
    )
    .option(
      "--expert-memory <size>",
      "read routed experts from disk as they are needed, keep this much of them in memory: 20GB",
      parseSize,
    );
  if (speculates) {
    command
      .option(
        "--mtp",
        "speculate with the MTP layer, also where it does not pay (default: as long as it does)",
      )
      .option("--no-mtp", "do not load the MTP layer, nor speculate with it");
  }
  return command
    .addOption(parentOption("where a parent of a recipe lies; repeatable"))
    .addOption(new Option("--progress <mode>", "progress on stderr").choices(PROGRESS_MODES).default("auto"));
}

export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 2 ** 31)
    throw new InvalidArgumentError("wanted a whole number above 0");
  return value;
}

function parseThreads(text: string): number {
  const threads = Number(text);
  if (Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS) return threads;
  throw new InvalidArgumentError(`wanted a whole number from 1 to ${MAX_THREADS}`);
}

function parseSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined) throw new InvalidArgumentError("wanted a size such as 20GB or 512MiB");
  return bytes;
}

export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("wanted a number");
  return value;
}

/** A folder is a checkpoint; a recipe or a plan is a child that need not be written. */
export async function referenceOf(
  target: string,
  { parent }: Pick<ModelCommandOptions, "parent">,
): Promise<WeightReference> {
  const { modelReference, namesChild } = await import("../library/model-source.ts");
  if (!parent || !namesChild(target)) return modelReference(target);
  const { planOf } = await import("./plan.ts");
  return modelReference(await planOf(target, parent));
}

/** Loads the model behind a target, runs an action with it, and frees it. */
export async function withModel<T>(
  target: string,
  options: ModelCommandOptions & Pick<ModelOptions, "traces" | "signal">,
  action: (model: Model) => Promise<T>,
): Promise<T> {
  const { loadModel } = await import("../runtime/load-model.ts");
  const reference = await referenceOf(target, options);
  const progress = createProgress(options.progress, "load");
  const { threads, context, cache, weights, mtp, expertMemory, traces, signal } = options;
  const model = await loadModel(reference, {
    weights,
    onEvent: (event) => show(event, { progress, options }),
    ...(threads ? { threads } : {}),
    ...(context ? { context } : {}),
    ...(cache ? { cache } : {}),
    ...(mtp === undefined ? {} : { mtp }),
    ...(expertMemory === undefined ? {} : { expertMemory }),
    ...(traces ? { traces } : {}),
    ...(signal ? { signal } : {}),
  }).finally(() => progress.end());
  try {
    if (mtp && !model.hasMtp)
      note(`${paintError("yellow", "warning:")} there is no MTP layer to speculate with`);
    for (const warning of model.config.warnings)
      note(`${paintError("yellow", "warning:")} ${clean(warning)}`);
    return await action(model);
  } finally {
    await model.dispose();
  }
}

/** How a model's weights are multiplied, for reports: "stored", or "int8" and the dot product that is used. */
export function weightsOf({ weights, dotProduct }: Model): { weights: WeightForm; dotProduct?: string } {
  return weights === "int8" ? { weights, dotProduct } : { weights };
}

/** The same for a line of figures; empty where weights are as stored. */
export function formOf({ weights, dotProduct }: Model): string {
  return weights === "int8" ? ` · int8 weights (inexact), ${dotProduct} dot product` : "";
}

/** Progress of a long prompt: a bar after a second, gone when the answer begins. */
export function promptProgress(mode: ProgressMode): {
  onPrompt: (done: number, total: number) => void;
  until: <T>(events: AsyncIterable<T>) => AsyncGenerator<T>;
} {
  const progress = createProgress(mode, "prompt", { unit: "tokens", delay: 1000 });
  return {
    onPrompt: (done, total) => {
      progress.event({ kind: "prompt", tokensDone: done, tokensTotal: total });
      progress.update({ done, total });
    },
    until: async function* (events) {
      try {
        for await (const event of events) {
          progress.erase();
          yield event;
        }
      } finally {
        progress.erase();
      }
    },
  };
}

/** As withModel(), with tokenizer and template. */
export async function withTextModel<T>(
  target: string,
  options: ModelCommandOptions & Pick<ModelOptions, "traces" | "signal">,
  action: (text: TextModel) => Promise<T>,
): Promise<T> {
  const { attachText } = await import("../runtime/talk.ts");
  return withModel(target, options, async (model) => {
    const text = await attachText(model);
    try {
      return await action(text);
    } finally {
      await text.close();
    }
  });
}

function show(
  event: LoadEvent,
  { progress, options }: { progress: ReturnType<typeof createProgress>; options: ModelCommandOptions },
): void {
  progress.event(event);
  if (event.kind === "progress") progress.update({ done: event.bytesDone, total: event.bytesTotal });
  if (options.progress === "json" || options.progress === "none") return;
  if (event.kind === "placed" && event.experts) note(paintError("dim", residenceOf(event.experts, options)));
  // Loads of a moment need no word.
  if (event.kind === "finished" && event.seconds > 2) {
    progress.end();
    note(`loaded ${formatBytes(event.bytes)} in ${formatDuration(event.seconds)}`);
  }
}

function residenceOf(experts: ExpertMemory, { expertMemory }: ModelCommandOptions): string {
  const { numExperts, numSlots, workingSet, expertBytes } = experts;
  const isFloor = numSlots === workingSet && workingSet * expertBytes > expertMemory!;
  const why = isFloor ? "; those of one token, the least that is kept" : "";
  const counts = `${formatInteger(numSlots)} of ${formatInteger(numExperts)}`;
  return `experts: ${counts} in memory at a time, ${formatBytes(numSlots * expertBytes)}${why}`;
}

/** What the cache of experts did for so many tokens, in a few words. */
export function expertsInWords(
  use: ExpertUse,
  { tokens, seconds }: { tokens: number; seconds: number },
): string {
  const wanted = use.hits + use.misses;
  const percent = (part: number, whole: number) => `${Math.round((100 * part) / Math.max(whole, 1e-9))} %`;
  const words = [`experts ${percent(use.hits, wanted)} in memory`];
  if (use.ahead > 0) words.push(`${percent(use.ahead, wanted)} read ahead`);
  words.push(`${formatBytes(use.bytes / Math.max(tokens, 1))}/token from disk`);
  words.push(`${percent(Math.min(use.waiting, seconds), seconds)} of the time waited`);
  return words.join(", ");
}
