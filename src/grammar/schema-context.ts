/** What the parts of the translation of a schema share: rules that are made, problems that are found. */
import type { Problem } from "../base/errors.ts";
import type { Grammar } from "./grammar.ts";

export class SchemaContext {
  readonly rules: Record<string, Grammar> = {};
  readonly problems: Problem[] = [];
  /** What a schema inside another stands for. */
  readonly valueOf: (schema: unknown, path: string) => Grammar;
  #numRules = 0;

  constructor(translate: (schema: unknown, path: string) => Grammar) {
    this.valueOf = translate;
  }

  /** Defines a rule of its own name; returns the reference. */
  newRule(what: string, grammar: Grammar): Grammar & { kind: "rule" } {
    const name = `${what} ${this.#numRules++}`;
    this.rules[name] = grammar;
    return { kind: "rule", name };
  }

  /** Notes a problem; returns what stands for the part, so that the others are found too. */
  refuse(
    path: string,
    is: string,
    { wanted, code = "unsupported-schema" }: { wanted: string; code?: string },
  ): Grammar {
    const where = path === "" ? "the schema" : `"${path}"`;
    const note = `Wanted ${wanted}`;
    this.problems.push({ code, message: `Cannot follow ${where}: ${is}, wanted ${wanted}`, note, path });
    return { kind: "choice", items: [] };
  }
}

export function joinPath(path: string, ...keys: (string | number)[]): string {
  return [path, ...keys].filter((part) => part !== "").join(".");
}
