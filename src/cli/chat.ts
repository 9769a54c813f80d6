/** chimera chat: a conversation in the terminal; with stdin from a pipe, one question a line. */
import { createInterface, type Interface } from "node:readline";
import type { Command } from "commander";
import { CheckpointError, Interrupted } from "../base/errors.ts";
import { newStats } from "../runtime/generate.ts";
import type { Sequence } from "../runtime/model.ts";
import type { SamplerOptions } from "../runtime/sampler.ts";
import type { TextModel } from "../runtime/talk.ts";
import { gatherOutput, type OutputEvent } from "../text/output-events.ts";
import { UsageError } from "./exit.ts";
import {
  addSamplingOptions,
  drawAnswer,
  requireSampling,
  type SamplingCommandOptions,
  samplingOf,
  summaryOf,
} from "./generate.ts";
import { addModelOptions, formOf, type ModelCommandOptions, promptProgress, withTextModel } from "./model.ts";
import { clean, note, paintError } from "./terminal.ts";

interface ChatCommandOptions extends ModelCommandOptions, SamplingCommandOptions {
  system?: string;
  /** False with --no-think. */
  think?: boolean;
}

interface Message {
  role: "system" | "user" | "assistant";
  content: string;
  /** Templates leave it out of later turns, and so does chat. */
  reasoning_content?: string;
}

const HELP = `/reset        forget the conversation
/think        show thinking, or no longer
/save FILE    write the conversation as JSON
/help         this list
/quit         end; so does Ctrl-D
Ctrl-C stops an answer; twice at the prompt it ends the chat.`;

export function addChat(program: Command): void {
  const command = program
    .command("chat")
    .description("talk with a model in the terminal")
    .argument("<model>", "a checkpoint, or a recipe: its child is assembled as it is loaded, none is written")
    .option("--system <text>", "a system message before the conversation")
    .option("--no-think", "do not show thinking (/think toggles it)");
  addModelOptions(addSamplingOptions(command))
    .addHelpText(
      "after",
      `
In the chat:
${HELP.replace(/^/gm, "  ")}

With stdin from a pipe, every line is a question; answers go to stdout.

Examples:
  $ chimera chat ./R1T
  $ chimera chat recipes/mini/r1t.yaml --temperature 0
  $ printf 'What is 2 + 3?\\nWhat is 4 + 9?\\n' | chimera chat ./R1T`,
    )
    .action(run);
}

async function run(target: string, options: ChatCommandOptions): Promise<void> {
  await requireSampling(options);
  await withTextModel(target, options, async (text) => {
    await text.template(); // what is wrong with it is told before the first question
    const chat = new Chat(text, { options, sampling: await samplingOf(text, options) });
    const input = createInterface({
      input: process.stdin,
      ...(process.stdin.isTTY ? { output: process.stderr, historySize: 500 } : {}),
      prompt: "› ",
    });
    const interrupt = () => chat.interrupt(input);
    input.on("SIGINT", interrupt); // in a terminal, where Ctrl-C is a key
    process.on("SIGINT", interrupt);
    try {
      await chat.run(input);
    } finally {
      process.off("SIGINT", interrupt);
      input.close();
    }
  });
}

class Chat {
  readonly #text: TextModel;
  readonly #options: ChatCommandOptions;
  readonly #sampling: SamplerOptions;
  readonly #isTerminal = process.stdin.isTTY === true;
  readonly #sequence: Sequence;
  #messages: Message[];
  #showsThinking: boolean;
  #answering: AbortController | undefined;
  #isWarned = false;

  constructor(
    text: TextModel,
    { options, sampling }: { options: ChatCommandOptions; sampling: SamplerOptions },
  ) {
    this.#text = text;
    this.#options = options;
    this.#sampling = sampling;
    this.#sequence = text.model.newSequence();
    this.#messages = this.#beginning();
    this.#showsThinking = options.think !== false;
  }

  #beginning(): Message[] {
    const { system } = this.#options;
    return system === undefined ? [] : [{ role: "system", content: system }];
  }

  /** Line after line until there is none, or until /quit. */
  async run(input: Interface): Promise<void> {
    if (this.#isTerminal)
      note(paintError("dim", `${clean(this.#text.model.source.label)} · /help tells what there is`));
    const lines = linesOf(input);
    for (;;) {
      if (this.#isTerminal) input.prompt();
      const line = await lines();
      if (line === undefined) break;
      this.#isWarned = false;
      const question = line.trim();
      if (question === "") continue;
      if (question === "/quit" || question === "/exit") break;
      if (question.startsWith("/")) await this.#command(question);
      else await this.#ask(question);
    }
    if (this.#isTerminal) note();
  }

  /** Ctrl-C: ends an answer; at the prompt, the second one ends the chat. */
  interrupt(input: Interface): void {
    if (this.#answering) {
      this.#answering.abort();
      return;
    }
    if (this.#isWarned || !this.#isTerminal) {
      input.close();
      return;
    }
    this.#isWarned = true;
    note(paintError("dim", "\nCtrl-C once more ends the chat"));
    input.prompt();
  }

  async #command(line: string): Promise<void> {
    const [name = "", ...words] = line.split(/\s+/);
    const file = words.join(" ");
    if (name === "/help") note(HELP);
    else if (name === "/reset") {
      this.#messages = this.#beginning();
      note(paintError("dim", "a new conversation"));
    } else if (name === "/think") {
      this.#showsThinking = !this.#showsThinking;
      note(paintError("dim", this.#showsThinking ? "thinking is shown" : "thinking is not shown"));
    } else if (name === "/save") await this.#save(file);
    else note(`${paintError("red", "error:")} there is no ${clean(name)}, /help lists what there is`);
  }

  async #save(file: string): Promise<void> {
    if (file === "") {
      note(`${paintError("red", "error:")} /save needs the name of a file`);
      return;
    }
    const { fileExists, writeFileAtomically } = await import("../checkpoint/node.ts");
    const value = { schemaVersion: 1, model: this.#text.model.source.label, messages: this.#messages };
    try {
      // A file of that name stays: it may be another conversation.
      if (fileExists(file)) throw new UsageError(`Cannot write "${file}": it exists, wanted a new file`);
      await writeFileAtomically(file, `${JSON.stringify(value, null, 2)}\n`);
      note(paintError("dim", `saved ${this.#messages.length} messages in ${clean(file)}`));
    } catch (error) {
      note(`${paintError("red", "error:")} ${clean((error as Error).message)}`);
    }
  }

  async #ask(question: string): Promise<void> {
    const answering = new AbortController();
    const stats = newStats();
    const messages: Message[] = [...this.#messages, { role: "user", content: question }];
    const { maxTokens, stop, mtp, progress } = this.#options;
    const prompted = promptProgress(progress);
    const events = this.#text.answer(
      messages.map(({ role, content }) => ({ role, content })),
      {
        ...this.#sampling,
        ...(maxTokens ? { maxTokens } : {}),
        ...(stop ? { stop } : {}),
        ...(mtp ? { speculate: true } : {}),
        sequence: this.#sequence,
        signal: answering.signal,
        onPrompt: prompted.onPrompt,
        stats,
      },
    );
    this.#answering = answering;
    try {
      const seen: OutputEvent[] = [];
      await drawAnswer(this.#shown(prompted.until(events), seen));
      const { content, reasoning } = gatherOutput(seen);
      const answer: Message = { role: "assistant", content };
      if (reasoning !== "") answer.reasoning_content = reasoning;
      // Stopped while it thought: as if it had not been asked.
      if (content !== "" || stats.finish !== "aborted") this.#messages = [...messages, answer];
      note(paintError("dim", `${summaryOf(stats)}${formOf(this.#text.model)}`));
    } catch (error) {
      this.#forgive(error);
    } finally {
      this.#answering = undefined;
    }
  }

  /** The events that are drawn; all of them are kept. */
  async *#shown(events: AsyncIterable<OutputEvent>, seen: OutputEvent[]): AsyncGenerator<OutputEvent> {
    let isTold = false;
    for await (const event of events) {
      seen.push(event);
      if (event.kind !== "reasoning" || this.#showsThinking) yield event;
      else if (!isTold && this.#isTerminal) {
        note(paintError("dim", "thinking …"));
        isTold = true;
      }
    }
  }

  /** A question that cannot be answered is as if it had not been asked. A script wants to know. */
  #forgive(error: unknown): void {
    if (error instanceof Interrupted) {
      note(paintError("dim", "\nstopped"));
      return;
    }
    if (!this.#isTerminal || !(error instanceof CheckpointError)) throw error;
    note(`${paintError("red", "error:")} ${clean(error.message)}`);
    if (error.code === "context") note(`  ${paintError("cyan", "note:")} /reset begins a new conversation`);
  }
}

/** The next line, each time it is asked for; undefined behind the last one. None is lost in between. */
function linesOf(input: Interface): () => Promise<string | undefined> {
  const lines: string[] = [];
  let isClosed = false;
  let wake = () => {};
  input.on("line", (line) => {
    lines.push(line);
    wake();
  });
  input.on("close", () => {
    isClosed = true;
    wake();
  });
  return async () => {
    while (lines.length === 0 && !isClosed) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return lines.shift();
  };
}
