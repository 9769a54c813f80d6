/**
 * The thread that runs chat templates: their text is a stranger's, and may loop or grow without end.
 *
 * Whoever asks ends the thread when the answer takes too long (chat-template.ts).
 */
import { parentPort } from "node:worker_threads";
import {
  type RenderLimits,
  type TemplateDialect,
  type TemplateFailure,
  TemplateFault,
  TemplateProgram,
} from "./template-program.ts";

export interface RenderTask extends RenderLimits {
  source: string;
  /** Default: "chat". */
  dialect?: TemplateDialect;
  variables: Record<string, unknown>;
}

export type RenderAnswer =
  | { kind: "ready" }
  | { kind: "rendered"; text: string }
  | { kind: "failed"; failure: TemplateFailure };

const programs = new Map<string, TemplateProgram>();

function answerTo({ source, dialect = "chat", variables, ...limits }: RenderTask): RenderAnswer {
  try {
    const key = `${dialect} ${source}`;
    const program = programs.get(key) ?? new TemplateProgram(source, dialect);
    programs.set(key, program);
    return { kind: "rendered", text: program.render(variables, limits) };
  } catch (error) {
    if (error instanceof TemplateFault) return { kind: "failed", failure: error.failure };
    const failure: TemplateFailure = { kind: "runtime", message: (error as Error).message };
    return { kind: "failed", failure };
  }
}

const port = parentPort!;
port.on("message", (task: RenderTask) => port.postMessage(answerTo(task)));
port.postMessage({ kind: "ready" } satisfies RenderAnswer);
