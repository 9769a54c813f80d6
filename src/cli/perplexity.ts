/** chimera perplexity: how well a model predicts a text, and how far another is from it there. */
import { type Command, Option } from "commander";
import { formatInteger } from "../base/format.ts";
import type { Model } from "../runtime/model.ts";
import type { WeightForm } from "../runtime/weights.ts";
import { UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import {
  addModelOptions,
  type ModelCommandOptions,
  parseCount,
  WEIGHT_FORMS,
  weightsOf,
  withModel,
} from "./model.ts";
import { createProgress } from "./progress.ts";
import { paint, print, printJson, table } from "./terminal.ts";

interface PerplexityCommandOptions extends ModelCommandOptions {
  text: string;
  window?: number;
  against?: string;
  againstWeights?: WeightForm;
  json?: boolean;
}

const DEFAULT_WINDOW = 512;

export function addPerplexity(program: Command): void {
  const command = program
    .command("perplexity")
    .description("measure how well a model predicts a text, or how far two models are apart on it")
    .argument("<model>", "a checkpoint, or a recipe")
    .requiredOption("--text <file>", "a text file")
    .option("--against <model>", "another checkpoint or recipe: KL divergence and top-1 agreement")
    .addOption(
      new Option(
        "--against-weights <form>",
        "how the other's weights are multiplied (default: stored)",
      ).choices(WEIGHT_FORMS),
    )
    .option("--window <n>", `tokens that are seen together (default: ${DEFAULT_WINDOW})`, parseCount);
  addModelOptions(command)
    .option("--json", "the report as JSON on stdout")
    .addHelpText(
      "after",
      `
The text is cut into windows, each scored for itself with BOS before it. KL
divergence is from the first model to the second, in nats, over all positions.
Both models need one vocabulary. With --weights int8 and the same model on the
other side it is the error of int8.

Examples:
  $ chimera perplexity ./R1T --text sample.txt
  $ chimera perplexity ./DeepSeek-R1 --against recipes/r1t.yaml --text sample.txt
  $ chimera perplexity ./R1T --text sample.txt --weights int8 --against ./R1T
  $ chimera perplexity ./R1T --text sample.txt --cache fp8 --json`,
    )
    .action(run);
}

async function run(target: string, options: PerplexityCommandOptions): Promise<void> {
  if (options.againstWeights && options.against === undefined)
    throw new UsageError("Cannot use --against-weights without --against, wanted another model");
  const { readTextFile } = await import("../checkpoint/node.ts");
  const text = await readTextFile(options.text, 1_000_000_000);
  await interruptible((signal) =>
    withModel(target, { ...options, mtp: false, signal }, async (model) => {
      if (options.against === undefined) return measure([model], { text, options, signal });
      const weights = options.againstWeights ?? "stored";
      return withModel(options.against, { ...options, weights, mtp: false, signal }, (other) =>
        measure([model, other], { text, options, signal }),
      );
    }),
  );
}

async function measure(
  models: readonly [Model] | readonly [Model, Model],
  { text, options, signal }: { text: string; options: PerplexityCommandOptions; signal: AbortSignal },
): Promise<void> {
  const { perplexity, windowsOf } = await import("../runtime/score.ts");
  const { attachText } = await import("../runtime/talk.ts");
  const [first, second] = models;
  if (second && second.config.sizes.vocab !== first.config.sizes.vocab) {
    const sizes = models.map(({ config }) => config.sizes.vocab);
    throw new UsageError(`Cannot compare these models: vocabularies are ${sizes.join(" and ")}, wanted one`);
  }
  const { tokenizer } = await attachText(first);
  const tokens = tokenizer.encode(text);
  if (tokens.length < 2)
    throw new UsageError(`Cannot score this text: it has ${tokens.length} tokens, wanted at least 2`);
  const length = Math.min(options.window ?? DEFAULT_WINDOW, ...models.map(({ context }) => context));
  if (length < 3) throw new UsageError(`Cannot use a window of ${length} tokens, wanted at least 3`);
  const windows = windowsOf(tokens, { length, bos: tokenizer.bos });
  const progress = createProgress(options.progress, "score");
  const total = windows.reduce((sum, { length }) => sum + length, 0);
  let done = 0;
  const result = await perplexity(models, windows, {
    signal,
    onTokens: (count) => {
      done += count;
      progress.event({ kind: "progress", tokensDone: done, tokensTotal: total });
      progress.update({ done, total, unit: "tokens" });
    },
  }).finally(() => progress.end());
  if (options.json) {
    const reports = result.reports.map((report, i) => ({ ...report, ...weightsOf(models[i]!) }));
    printJson({ window: length, ...result, reports });
    return;
  }
  const rows = [["", "weights", "tokens", "perplexity", "nats/token", "tokens/s"]];
  for (const [i, { tokens, perplexity, nll, seconds }] of result.reports.entries()) {
    const speed = (tokens / seconds).toFixed(1);
    const { label } = models[i]!.source;
    const { weights, dotProduct } = weightsOf(models[i]!);
    const form = dotProduct ? `${weights}, ${dotProduct}` : weights;
    rows.push([label, form, formatInteger(tokens), perplexity.toFixed(4), nll.toFixed(5), speed]);
  }
  print(table(rows, { right: [2, 3, 4, 5] }));
  if (!result.divergence) return;
  const { meanKl, medianKl, largestKl, top1Agreement } = result.divergence;
  print();
  print(
    `KL divergence  mean ${meanKl.toExponential(3)}, median ${medianKl.toExponential(3)}, largest ${largestKl.toExponential(3)}`,
  );
  print(`top-1          ${paint("bold", `${(100 * top1Agreement).toFixed(2)} %`)} of positions agree`);
}
