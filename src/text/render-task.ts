/** What is asked of the thread that runs chat templates, and how it answers. */
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

/** Runs a task, in whatever thread. Templates are kept as they are parsed. */
export function answerTo({ source, dialect = "chat", variables, ...limits }: RenderTask): RenderAnswer {
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
