/** The command line: parses arguments, runs one command, turns errors into exit statuses. */
import { Command } from "commander";
import { VERSION } from "../base/version.ts";
import { report } from "./exit.ts";
import { interruption } from "./interrupt.ts";

/** A command's module is loaded when it is named, all of them for help; what does the work loads when it runs. */
const COMMANDS: Record<string, () => Promise<(program: Command) => void>> = {
  inspect: async () => (await import("./inspect.ts")).addInspect,
  compare: async () => (await import("./compare.ts")).addCompare,
  recipe: async () => (await import("./recipe.ts")).addRecipe,
  plan: async () => (await import("./plan.ts")).addPlan,
  build: async () => (await import("./build.ts")).addBuild,
  verify: async () => (await import("./verify.ts")).addVerify,
  pull: async () => (await import("./pull.ts")).addPull,
  launch: async () => (await import("./launch.ts")).addLaunch,
  push: async () => (await import("./push.ts")).addPush,
  convert: async () => (await import("./convert.ts")).addConvert,
  generate: async () => (await import("./generate.ts")).addGenerate,
  chat: async () => (await import("./chat.ts")).addChat,
  logits: async () => (await import("./logits.ts")).addLogits,
  perplexity: async () => (await import("./perplexity.ts")).addPerplexity,
  eval: async () => (await import("./eval.ts")).addEval,
  sweep: async () => (await import("./sweep.ts")).addSweep,
  search: async () => (await import("./search.ts")).addSearch,
  ablate: async () => (await import("./ablate.ts")).addAblate,
  serve: async () => (await import("./serve.ts")).addServe,
  demo: async () => (await import("./demo.ts")).addDemo,
};

const EXAMPLES = `
Examples:
  $ chimera inspect ./DeepSeek-R1                       what is in a checkpoint
  $ chimera compare ./DeepSeek-V3-0324 ./DeepSeek-R1    what two parents differ in
  $ chimera plan recipes/r1t.yaml                       what a recipe would do, without doing it
  $ chimera build recipes/r1t.yaml -o ./R1T             make the child; run again to resume
  $ chimera verify ./R1T                                check it against its parents
  $ chimera eval ./DeepSeek-R1 ./R1T --n 200            what it inherited: accuracy, tokens, thinking, refusals
  $ chimera sweep recipes/r1t.yaml --lambda r1=0:1:0.1  how that changes with λ, without writing a child

Exit status: 0 done · 1 unexpected · 2 usage or recipe invalid · 3 input missing
or damaged · 4 verification mismatch · 5 not enough disk or memory · 75 try
again later · 130, 143 interrupted, state saved`;

/** Runs the command line and resolves to the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  const program = new Command("chimera")
    .description(
      "Assembles child language models from parent Mixture-of-Experts checkpoints, without training.",
    )
    .version(VERSION, "-V, --version")
    .addHelpText("after", EXAMPLES)
    .showSuggestionAfterError()
    .exitOverride();
  const [named = ""] = argv;
  const wanted = Object.hasOwn(COMMANDS, named) ? [COMMANDS[named]!] : Object.values(COMMANDS);
  for (const add of await Promise.all(wanted.map((load) => load()))) add(program);
  for (const command of program.commands) command.exitOverride();
  // `help recipe init`: commander's own help goes one command deep.
  const args = argv[0] === "help" && argv.length > 2 ? [...argv.slice(1), "--help"] : [...argv];
  try {
    await program.parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    const { signalName } = interruption;
    return report(error, signalName ? { signal: signalName } : {});
  }
}
