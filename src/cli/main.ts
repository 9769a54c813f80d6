/** The command line: parses arguments, runs one command, turns errors into exit statuses. */
import { Command } from "commander";
import { VERSION } from "../base/version.ts";
import { report } from "./exit.ts";
import { interruption } from "./interrupt.ts";

/** Commands load their own modules when they run: `chimera --help` needs none of them. */
const COMMANDS: (() => Promise<(program: Command) => void>)[] = [
  async () => (await import("./inspect.ts")).addInspect,
  async () => (await import("./compare.ts")).addCompare,
  async () => (await import("./recipe.ts")).addRecipe,
  async () => (await import("./plan.ts")).addPlan,
  async () => (await import("./build.ts")).addBuild,
  async () => (await import("./verify.ts")).addVerify,
  async () => (await import("./pull.ts")).addPull,
  async () => (await import("./launch.ts")).addLaunch,
  async () => (await import("./push.ts")).addPush,
  async () => (await import("./convert.ts")).addConvert,
  async () => (await import("./generate.ts")).addGenerate,
  async () => (await import("./chat.ts")).addChat,
  async () => (await import("./logits.ts")).addLogits,
  async () => (await import("./perplexity.ts")).addPerplexity,
  async () => (await import("./eval.ts")).addEval,
  async () => (await import("./sweep.ts")).addSweep,
  async () => (await import("./search.ts")).addSearch,
  async () => (await import("./ablate.ts")).addAblate,
  async () => (await import("./serve.ts")).addServe,
  async () => (await import("./demo.ts")).addDemo,
];

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
  for (const load of COMMANDS) (await load())(program);
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
