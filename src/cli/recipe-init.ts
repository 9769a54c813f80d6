/** chimera recipe init: a commented recipe, from options, and by questions for what they leave open. */
import { homedir } from "node:os";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { type Command, Option } from "commander";
import { Interrupted, RecipeError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import type { SelectableRole } from "../recipe/recipe.ts";
import type { RecipeAnswers } from "../recipe/template.ts";
import { requirePlace, UsageError } from "./exit.ts";
import { parentOption, parseParent } from "./plan.ts";
import { note, paint, paintError, print, quoted } from "./terminal.ts";

interface InitOptions {
  parent?: Record<string, string>;
  base?: string;
  role?: string[];
  weight?: Record<string, string>;
  template?: string;
  output?: string;
}

export function addInit(recipe: Command): void {
  recipe
    .command("init")
    .description("write a commented recipe, by questions or from options")
    .addOption(parentOption("a parent; the first is the base unless --base says otherwise"))
    .option("--base <name>", "whose bytes stand where no rule says otherwise")
    .option(
      "--role <role>",
      "which tensors are merged: routed-experts, attention, all …; repeatable",
      collect,
    )
    .addOption(
      new Option("--weight <name=λ>", "weights by parent, like r1=1; repeatable").argParser(parseParent),
    )
    .option("--template <name>", "whose chat template the child gets")
    .option("-o, --output <file>", "where to write it (default: stdout)")
    .addHelpText(
      "after",
      `
Folders are as seen from here; in the recipe they stand as seen from its file.
What the options leave open (the parents; roles and weights of two or more) is
asked for, when a terminal is there to answer.

Examples:
  $ chimera recipe init -o my.yaml
  $ chimera recipe init --parent v3=./V3 --parent r1=./R1 --weight r1=1 -o r1t.yaml
  $ chimera recipe init --parent v3=./V3 --parent r1=./R1 --role attention --weight r1=0.4`,
    )
    .action(init);
}

async function init(options: InitOptions): Promise<void> {
  const node = await import("../checkpoint/node.ts");
  const { output } = options;
  if (output) {
    requirePlace(output, node);
    if (node.fileExists(output))
      throw new UsageError(`Cannot write "${output}": it exists, wanted a new file`);
  }
  const given = isComplete(options) ? options : await ask(options, node);
  const text = await recipeText(answersFrom(given));
  if (!output) return print(text.trimEnd());
  await node.writeFileAtomically(output, text);
  print(`${paint("green", "written")}  ${output}`);
  print(paint("dim", `next: chimera recipe check ${quoted(output)}`));
}

/** Whether a recipe follows from the options; one parent alone needs no rule. */
function isComplete({ parent = {}, role, weight }: InitOptions): boolean {
  const count = Object.keys(parent).length;
  return count === 1 || (count > 1 && (role !== undefined || weight !== undefined));
}

/** Lines and columns of a text that nobody has seen would not help. */
async function recipeText(answers: RecipeAnswers): Promise<string> {
  const { recipeTemplate } = await import("../recipe/template.ts");
  try {
    return recipeTemplate(answers);
  } catch (error) {
    if (!(error instanceof RecipeError)) throw error;
    throw new RecipeError(error.problems.map(({ line, column, ...problem }) => problem));
  }
}

function answersFrom({ parent = {}, base, role, weight = {}, template, output }: InitOptions): RecipeAnswers {
  const parents = Object.entries(parent).map(([name, path]) => ({ name, path: asSeenFrom(output, path) }));
  const weights = Object.fromEntries(Object.entries(weight).map(([name, value]) => [name, numberOf(value)]));
  const chosen = base ?? parents[0]!.name;
  const donor = parents.find(({ name }) => name !== chosen)?.name;
  const merges = role !== undefined || Object.keys(weights).length > 0;
  const defaults = merges && Object.keys(weights).length === 0 && donor ? { [donor]: 1 } : weights;
  return {
    parents,
    base: chosen,
    ...(merges ? { roles: (role ?? ["routed-experts"]) as SelectableRole[], weights: defaults } : {}),
    ...(template ? { chatTemplate: template } : {}),
  };
}

/** A recipe's parents are relative to its file, what a person types is relative to where they are. */
function asSeenFrom(output: string | undefined, typed: string): string {
  const path = typed.startsWith("~/") ? join(homedir(), typed.slice(2)) : typed;
  const folder = output === undefined ? process.cwd() : dirname(resolve(output));
  if (folder === process.cwd() || isAbsolute(path) || /^[a-z][a-z0-9+.-]+:/i.test(path)) return path;
  const seen = relative(folder, resolve(path)).replaceAll("\\", "/");
  return seen.startsWith(".") ? seen : `./${seen}`;
}

function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

function isNumber(text: string): boolean {
  return text.trim() !== "" && Number.isFinite(Number(text));
}

function numberOf(text: string): number {
  if (!isNumber(text)) throw new UsageError(`Cannot use "${text}" as a weight, wanted a number`);
  return Number(text);
}

interface Question {
  text: string;
  /** What an empty answer means. */
  fallback: string;
  /** What is wrong with an answer; it is asked for again then. */
  fault?: (answer: string) => string | undefined;
}

/** Questions at the terminal. Ctrl-C or Ctrl-D ends without having written anything. */
async function ask(
  options: InitOptions,
  { folderExists }: { folderExists: (path: string) => boolean },
): Promise<InitOptions> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError(
      "Cannot ask without a terminal",
      "Give --parent name=folder for each parent, --role and --weight",
    );
  }
  const { PARENT_NAME, SELECTABLE_ROLES } = await import("../recipe/vocabulary.ts");
  const { createInterface } = await import("node:readline/promises");
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<never>((_, reject) => {
    reader.on("SIGINT", () => reject(new Interrupted("nothing was written")));
    reader.on("close", () => reject(new Interrupted("nothing was written")));
  });
  closed.catch(() => {}); // when all questions were answered nobody waits for it
  const question = async ({ text, fallback, fault }: Question): Promise<string> => {
    for (;;) {
      const shown = `${text} ${paintError("dim", `[${fallback}]`)} `;
      const answer = (await Promise.race([reader.question(shown), closed])).trim() || fallback;
      const wrong = fault?.(answer);
      if (wrong === undefined) return answer;
      note(`  ${paintError("yellow", wrong)}`);
    }
  };
  const oneOf = (answer: string, words: readonly string[]) => {
    if (words.includes(answer)) return undefined;
    const near = nearest(answer, words);
    return `"${answer}" is none of ${words.join(", ")}${near ? `; did you mean ${near}?` : ""}`;
  };

  try {
    note("A child takes every tensor from its base, except where a rule says otherwise.");
    const parent = { ...options.parent };
    while (options.parent === undefined) {
      const count = Object.keys(parent).length;
      const folder = await question(FOLDERS[Math.min(count, 2)]!);
      if (folder === "none") break;
      if (!folderExists(folder))
        note(`  ${paintError("dim", "there is no such folder yet; noted all the same")}`);
      const name = await question({
        text: "  its short name:",
        fallback: shortName(folder, Object.keys(parent)),
        fault: (answer) =>
          Object.hasOwn(parent, answer)
            ? `"${answer}" is taken`
            : PARENT_NAME.test(answer)
              ? undefined
              : "wanted letters, digits, dots, dashes and underscores",
      });
      parent[name] = folder;
    }
    const names = Object.keys(parent);
    const base = options.base ?? names[0]!;
    const others = names.filter((name) => name !== base);
    if (others.length === 0) return { ...options, parent };
    note(`Roles: ${SELECTABLE_ROLES.join(", ")}`);
    const role = await question({
      text: "What comes from the others, one role or several:",
      fallback: "routed-experts",
      fault: (answer) =>
        answer
          .split(/[\s,]+/)
          .map((word) => oneOf(word, SELECTABLE_ROLES))
          .find(Boolean),
    });
    const weight: Record<string, string> = {};
    for (const name of others) {
      weight[name] = await question({
        text: `Weight of ${name} there (1: its bytes, 0.5: half and half):`,
        fallback: String(Math.floor(100 / others.length) / 100),
        fault: (answer) => (isNumber(answer) ? undefined : `"${answer}" is not a number`),
      });
    }
    const template =
      options.template ??
      (await question({
        text: `Chat template (${names.join(", ")}):`,
        fallback: base,
        fault: (answer) => oneOf(answer, names),
      }));
    return { ...options, parent, role: role.split(/[\s,]+/), weight, template };
  } finally {
    reader.close();
  }
}

const FOLDERS: readonly Question[] = [
  { text: "Folder of the base:", fallback: "./DeepSeek-V3-0324" },
  { text: "Folder of the other parent:", fallback: "./DeepSeek-R1" },
  { text: "Folder of one more parent:", fallback: "none" },
];

/** "./DeepSeek-V3-0324" -> "v3", or what is left of the name. */
function shortName(folder: string, taken: readonly string[]): string {
  const last = folder
    .replace(/[/\\]+$/, "")
    .split(/[/\\]/)
    .at(-1)!
    .toLowerCase();
  const short =
    /\b(v3|r1t2|r1t|r1|v2)\b/.exec(last.replaceAll("_", "-"))?.[1] ?? last.replace(/[^a-z0-9._-]/g, "-");
  return taken.includes(short) || short === "" ? `parent${taken.length + 1}` : short;
}
