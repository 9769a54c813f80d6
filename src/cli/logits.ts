/** chimera logits: logits, and hidden states if wanted, as a safetensors file. */
import type { Command } from "commander";
import type { Model } from "../runtime/model.ts";
import { UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { addModelOptions, type ModelCommandOptions, weightsOf, withModel } from "./model.ts";
import { createProgress } from "./progress.ts";
import { note, paint, print, printJson } from "./terminal.ts";

interface LogitsCommandOptions extends ModelCommandOptions {
  ids?: string;
  text?: string;
  output: string;
  hidden?: boolean;
  json?: boolean;
}

export function addLogits(program: Command): void {
  const command = program
    .command("logits")
    .description("write the logits of every position to a safetensors file")
    .argument("<model>", "a checkpoint, or a recipe")
    .option("--ids <file>", "token ids as JSON: a list, or a list of lists of one length")
    .option("--text <text>", "a text instead; BOS goes first where the tokenizer has one")
    .requiredOption("-o, --output <file>", "where to write")
    .option("--hidden", "hidden states too: hidden.embed, hidden.layer.0 …, hidden.norm");
  addModelOptions(command)
    .option("--json", "what was written as JSON on stdout")
    .addHelpText(
      "after",
      `
The file holds input_ids I64 [B, T] and logits F32 [B, T, vocabulary]; with
--hidden also F32 [B, T, hidden] after the embedding, each layer, final norm.

Examples:
  $ chimera logits ./R1T --text "What is 17 + 25?" -o logits.safetensors
  $ echo "[[0, 5, 17], [0, 9, 2]]" > ids.json
  $ chimera logits ./R1T --ids ids.json --hidden -o logits.safetensors`,
    )
    .action(run);
}

async function run(target: string, options: LogitsCommandOptions): Promise<void> {
  if ((options.ids === undefined) === (options.text === undefined))
    throw new UsageError("Cannot tell what to compute, wanted one of --ids and --text");
  const { folderExists } = await import("../checkpoint/node.ts");
  const { requirePlace } = await import("./exit.ts");
  requirePlace(options.output, { folderExists });
  const given = options.ids === undefined ? undefined : await readIds(options.ids);
  const { scoreBatch } = await import("../runtime/score.ts");
  const { writeTensors } = await import("../checkpoint/write-tensors.ts");
  await interruptible((signal) =>
    withModel(target, { ...options, traces: options.hidden === true, signal }, async (model) => {
      const { attachText } = await import("../runtime/talk.ts");
      const batch = given ?? [(await attachText(model)).promptOf(options.text!)];
      requireFit(batch, model);
      const progress = createProgress(options.progress, "compute");
      const total = batch.length * batch[0]!.length;
      let done = 0;
      const onTokens = (count: number) => {
        done += count;
        progress.event({ kind: "progress", tokensDone: done, tokensTotal: total });
        progress.update({ done, total, unit: "tokens" });
      };
      const tensors = await scoreBatch(model, batch, { signal, onTokens }).finally(() => progress.end());
      const bytes = await writeTensors(options.output, tensors);
      const { vocab } = model.config.sizes;
      const shape = [batch.length, batch[0]!.length, vocab];
      const report = { output: options.output, shape, bytes, tensors: [...tensors.keys()] };
      if (options.json) printJson({ ...report, ...weightsOf(model) });
      else print(`${paint("green", "written")}  ${options.output}: logits [${shape.join(", ")}]`);
      if (options.hidden && !options.json) note(`with hidden states: ${tensors.size - 2} tensors`);
    }),
  );
}

/** Refuses what the model has no row or no room for, before anything is computed. */
function requireFit(batch: readonly (readonly number[])[], { config, context }: Model): void {
  const { vocab } = config.sizes;
  const limit = Math.min(context, config.maxPositions);
  const { length } = batch[0]!;
  if (length > limit)
    throw new UsageError(`Cannot compute ${length} tokens, wanted at most the ${limit} of the context`);
  const strange = batch.flat().find((id) => id >= vocab);
  if (strange !== undefined)
    throw new UsageError(`Cannot embed token ${strange}, wanted an id from 0 to ${vocab - 1}`);
}

/** One list is a batch of one. */
async function readIds(path: string): Promise<number[][]> {
  const { readTextFile } = await import("../checkpoint/node.ts");
  const text = await readTextFile(path, 100_000_000);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`Cannot read "${path}": ${(error as Error).message}, wanted JSON`);
  }
  const batch = Array.isArray(value) && value.every(Array.isArray) ? value : [value];
  const isIds = (list: unknown) =>
    Array.isArray(list) && list.length > 0 && list.every((id) => Number.isInteger(id) && id >= 0);
  if (!batch.every(isIds) || batch.length === 0)
    throw new UsageError(`Cannot use "${path}": wanted a list of token ids, or a list of such lists`);
  const lists = batch as number[][];
  const odd = lists.find(({ length }) => length !== lists[0]!.length);
  if (odd) {
    throw new UsageError(
      `Cannot use "${path}": a list has ${odd.length} ids and the first ${lists[0]!.length}, wanted one length`,
    );
  }
  return lists;
}
