/**
 * Globs on tensor names: `*` any run of characters (dots too), `?` one character, `[abc]`, `[0-9]`, `[!abc]`
 * one of a class, `{a,b}` alternatives, which may nest. Everything else stands for itself.
 *
 * A glob becomes a small program that is run on all its branches at once (Thompson's construction, Communications
 * of the ACM 11(6), 1968), so the time is at most length of name × length of glob, whoever wrote the
 * two: there is nothing to backtrack.
 */

export interface Glob {
  matches(name: string): boolean;
}

type Step =
  | { kind: "one"; accepts: (code: number) => boolean; next: number }
  | { kind: "fork"; next: number[] }
  | { kind: "end" };

/** Names have about 60 characters; braces multiply what a glob stands for, not what it costs. */
export const MAX_GLOB_LENGTH = 1000;

/** Throws a RangeError that says what is wrong; its message continues a sentence: "…: it has …, wanted …". */
export function compileGlob(pattern: string): Glob {
  if (pattern === "") throw new RangeError("it is empty, wanted a pattern");
  if (pattern.length > MAX_GLOB_LENGTH) {
    throw new RangeError(`it has ${pattern.length} characters, wanted at most ${MAX_GLOB_LENGTH}`);
  }
  const steps = new Compiler(pattern).compile();
  return { matches: (name) => run(steps, name) };
}

class Compiler {
  readonly #pattern: string;
  readonly #steps: Step[] = [{ kind: "end" }];
  #index = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  /** The start is the last step. */
  compile(): Step[] {
    this.#add({ kind: "fork", next: [this.#sequence(0)] });
    return this.#steps;
  }

  #add(step: Step): number {
    return this.#steps.push(step) - 1;
  }

  /** Compiles up to the end, or inside braces up to "," or "}"; what follows goes on at step `then`. */
  #sequence(then: number): number {
    const parts: ((then: number) => number)[] = [];
    while (this.#index < this.#pattern.length) {
      const char = this.#pattern[this.#index]!;
      if (this.#depth > 0 && (char === "," || char === "}")) break;
      if (char === "}" || char === "]")
        throw new RangeError(`it has "${char}" without an opening bracket, wanted pairs`);
      this.#index++;
      parts.push(this.#part(char));
    }
    return parts.reduceRight((next, part) => part(next), then);
  }

  #part(char: string): (then: number) => number {
    if (char === "*") {
      while (this.#pattern[this.#index] === "*") this.#index++; // "**" is "*"
      return (then) => {
        const fork = this.#add({ kind: "fork", next: [then] });
        const any = this.#add({ kind: "one", accepts: () => true, next: fork });
        (this.#steps[fork] as { next: number[] }).next.push(any);
        return fork;
      };
    }
    if (char === "{") return this.#alternatives();
    const accepts = char === "?" ? () => true : char === "[" ? this.#characterClass() : is(char);
    return (then) => this.#add({ kind: "one", accepts, next: then });
  }

  #alternatives(): (then: number) => number {
    // Each alternative ends in a step of its own, which is led on once what follows is known.
    const branches: { start: number; end: number }[] = [];
    this.#depth++;
    for (;;) {
      const end = this.#add({ kind: "fork", next: [] });
      branches.push({ start: this.#sequence(end), end });
      const char = this.#pattern[this.#index++];
      if (char === undefined) throw new RangeError('it has "{" without "}", wanted pairs');
      if (char === "}") break;
    }
    this.#depth--;
    return (then) => {
      for (const { end } of branches) (this.#steps[end] as { next: number[] }).next.push(then);
      return this.#add({ kind: "fork", next: branches.map(({ start }) => start) });
    };
  }

  #characterClass(): (code: number) => boolean {
    const close = this.#pattern.indexOf("]", this.#index);
    if (close < 0) throw new RangeError('it has "[" without "]", wanted pairs');
    const isNegated = this.#pattern[this.#index] === "!";
    const body = this.#pattern.slice(this.#index + (isNegated ? 1 : 0), close);
    if (body === "") throw new RangeError('it has an empty "[]", wanted characters in it');
    this.#index = close + 1;
    const ranges: [low: number, high: number][] = [];
    for (let i = 0; i < body.length; i++) {
      const isRange = body[i + 1] === "-" && i + 2 < body.length;
      const [low, high] = [body.charCodeAt(i), body.charCodeAt(isRange ? i + 2 : i)];
      if (low > high)
        throw new RangeError(`its class "[${body}]" runs backwards, wanted the lower character first`);
      ranges.push([low, high]);
      if (isRange) i += 2;
    }
    return (code) => ranges.some(([low, high]) => low <= code && code <= high) !== isNegated;
  }
}

function is(char: string): (code: number) => boolean {
  const wanted = char.charCodeAt(0);
  return (code) => code === wanted;
}

function run(steps: readonly Step[], name: string): boolean {
  // The step numbers that are alive; `seen[step]` is the last character for which a step was entered.
  let alive: number[] = [];
  let next: number[] = [];
  const seen = new Int32Array(steps.length).fill(-1);
  const open: number[] = []; // kept between calls: a new one each time doubles the time
  const enter = (start: number, into: number[], character: number): void => {
    open.push(start);
    for (let index = open.pop(); index !== undefined; index = open.pop()) {
      if (seen[index] === character) continue;
      seen[index] = character;
      const step = steps[index]!;
      if (step.kind !== "fork") into.push(index);
      else for (const next of step.next) open.push(next);
    }
  };
  enter(steps.length - 1, alive, 0);
  for (let i = 0; i < name.length && alive.length > 0; i++) {
    const code = name.charCodeAt(i);
    for (const index of alive) {
      const step = steps[index]!;
      if (step.kind === "one" && step.accepts(code)) enter(step.next, next, i + 1);
    }
    [alive, next] = [next, alive];
    next.length = 0;
  }
  return alive.some((index) => steps[index]!.kind === "end");
}
