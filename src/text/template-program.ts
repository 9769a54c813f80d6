/**
 * A chat template, parsed and run, with positions: runs in the worker (template-worker.ts), or in tests.
 *
 * @huggingface/jinja does the work. Positions come from around it: the parser reads the tokens through a
 * proxy that remembers the last one asked for, and each statement of the tree is matched with the tag that it
 * was parsed from, in order. The globals are set here and not by the library's Template, which takes the
 * template's own refusal (raise_exception) for any other error and its clock from the machine.
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { type Lexeme, lexTemplate } from "./template-lexer.ts";
import {
  addListMethods,
  asksWhetherDefined,
  printAsPython,
  type RuntimeValue,
  requireDefined,
  STATEMENTS,
} from "./template-strict.ts";

export interface TemplateFailure {
  kind: "syntax" | "runtime" | "refused" | "too-long";
  message: string;
  /** Where in the template's text; absent when it cannot be told. */
  offset?: number;
}

/** Thrown by parseTemplate() and TemplateProgram.render(). */
export class TemplateFault extends Error {
  readonly failure: TemplateFailure;
  constructor(failure: TemplateFailure) {
    super(failure.message);
    this.failure = failure;
  }
}

export interface RenderLimits {
  maxCharacters: number;
  /** Milliseconds since 1970, for strftime_now. */
  now: number;
}

/**
 * chat: as transformers renders chat templates. strict: Jinja's own defaults with StrictUndefined and
 * keep_trailing_newline, values printed as Python prints them, as lm-evaluation-harness renders prompts.
 */
export type TemplateDialect = "chat" | "strict";

/** What the library's tree looks like here: only what statements hold of statements. */
interface Node {
  type: string;
  body?: Node[];
  alternate?: Node[];
  defaultBlock?: Node[];
  value?: unknown;
}

interface Token {
  type: string;
  value: string;
}

/** The library's declarations are lost under "nodenext": this is what is used of its interpreter. */
const BaseInterpreter = Interpreter as unknown as new (
  environment: Environment,
) => {
  run(program: Node): { value: string };
  evaluate(node: Node | undefined, environment: Environment): RuntimeValue;
  evaluateBlock(body: readonly Node[], environment: Environment): RuntimeValue;
};

class Refusal extends Error {}
class TooLong extends Error {}

export class TemplateProgram {
  readonly #program: Node;
  readonly #offsets: ReadonlyMap<Node, number>;

  readonly #dialect: TemplateDialect;

  /** Throws TemplateFault of kind "syntax". */
  constructor(source: string, dialect: TemplateDialect = "chat") {
    this.#dialect = dialect;
    const { lexemes, stopsAt } = lexTemplate(source);
    let tokens: Token[];
    try {
      const trims = dialect === "chat";
      // The library drops the last line break.
      const text = !trims && source.endsWith("\n") ? `${source}\n` : source;
      tokens = tokenize(text, { lstrip_blocks: trims, trim_blocks: trims }) as Token[];
    } catch (error) {
      throw syntaxFault(lexicalProblem(source, stopsAt, error as Error), stopsAt);
    }
    const lexemeOf = alignment(tokens, lexemes);
    let last = 0;
    const watched = new Proxy(tokens, {
      get(target, key) {
        if (typeof key === "string" && /^\d+$/.test(key)) last = Number(key);
        return Reflect.get(target, key) as unknown;
      },
    });
    try {
      this.#program = parse(watched) as Node;
    } catch (error) {
      if (last >= tokens.length) throw unclosedFault(tokens, lexemeOf);
      throw syntaxFault(parseProblem(error as Error, tokens[last]!), lexemeOf[last]?.offset);
    }
    this.#offsets = statementOffsets(this.#program.body ?? [], tokens, lexemeOf);
  }

  /** Throws TemplateFault. */
  render(variables: Record<string, unknown>, limits: RenderLimits): string {
    const environment = new Environment();
    for (const [name, value] of Object.entries(globals(limits.now))) environment.set(name, value);
    for (const [name, value] of Object.entries(variables)) environment.set(name, value);
    const { maxCharacters } = limits;
    const interpreter = new TracingInterpreter(environment, this.#offsets, {
      maxCharacters,
      dialect: this.#dialect,
    });
    try {
      return interpreter.run(this.#program).value;
    } catch (error) {
      const kind = error instanceof Refusal ? "refused" : error instanceof TooLong ? "too-long" : "runtime";
      const { failedAt } = interpreter;
      const offset = failedAt === undefined ? {} : { offset: failedAt };
      throw new TemplateFault({ kind, message: (error as Error).message, ...offset });
    }
  }
}

class TracingInterpreter extends BaseInterpreter {
  /** The innermost statement that failed. */
  failedAt: number | undefined;
  readonly #offsets: ReadonlyMap<Node, number>;
  readonly #maxCharacters: number;
  readonly #isStrict: boolean;
  /** Depth of tests and filters that ask whether something is there. */
  #asking = 0;
  #depth = 0;
  /** break and continue are errors too, which their loop catches. */
  #control: unknown;

  constructor(
    environment: Environment,
    offsets: ReadonlyMap<Node, number>,
    { maxCharacters, dialect }: { maxCharacters: number; dialect: TemplateDialect },
  ) {
    super(environment);
    this.#offsets = offsets;
    this.#maxCharacters = maxCharacters;
    this.#isStrict = dialect === "strict";
  }

  override evaluateBlock(body: readonly Node[], environment: Environment): RuntimeValue {
    if (!this.#isStrict) return super.evaluateBlock(body, environment);
    const values = body.map((node) => {
      const value = this.evaluate(node, environment);
      // Statements give no value, or the text of their block.
      return STATEMENTS.has(node.type) && value.type === "NullValue" ? "" : printAsPython(value);
    });
    return super.evaluate({ type: "StringLiteral", value: values.join("") }, environment);
  }

  override evaluate(statement: Node | undefined, environment: Environment): RuntimeValue {
    this.#depth++;
    const asks = this.#isStrict && statement !== undefined && asksWhetherDefined(statement);
    if (asks) this.#asking++;
    try {
      // Before the stack ends: the library takes that error for an unknown variable.
      if (this.#depth > MAX_DEPTH) throw new Error(`calls and expressions nested deeper than ${MAX_DEPTH}`);
      const result = super.evaluate(statement, environment);
      if (typeof result.value === "string" && result.value.length > this.#maxCharacters)
        throw new TooLong(`it has more than ${this.#maxCharacters} characters`);
      if (this.#isStrict && this.#asking === 0 && result.type === "UndefinedValue") requireDefined(statement);
      if (this.#isStrict) addListMethods(result);
      return result;
    } catch (error) {
      if (statement?.type === "Break" || statement?.type === "Continue") this.#control = error;
      else if (statement && error !== this.#control) this.failedAt ??= this.#offsets.get(statement);
      throw error;
    } finally {
      this.#depth--;
      if (asks) this.#asking--;
    }
  }
}

const MAX_DEPTH = 1000;

function globals(now: number): Record<string, unknown> {
  return {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    raise_exception: (message: unknown) => {
      throw new Refusal(String(message));
    },
    range,
    strftime_now: (format: unknown) => strftime(new Date(now), String(format)),
  };
}

/** Names that a caller's variable must not have. */
export const TEMPLATE_GLOBALS: readonly string[] = ["namespace", ...Object.keys(globals(0))];

const MAX_RANGE = 1_000_000;

function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE)) throw new Error(`range() of ${length} numbers, wanted at most ${MAX_RANGE}`);
  return Array.from({ length }, (_, index) => start + index * step);
}

const MONTHS = "January February March April May June July August September October November December".split(
  " ",
);
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** Python's, in English: the part of it that templates use. */
function strftime(date: Date, format: string): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const [month, day] = [MONTHS[date.getMonth()]!, DAYS[date.getDay()]!];
  const parts: Record<string, string> = {
    Y: String(date.getFullYear()),
    y: two(date.getFullYear() % 100),
    m: two(date.getMonth() + 1),
    d: two(date.getDate()),
    B: month,
    b: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    H: two(date.getHours()),
    I: two(((date.getHours() + 11) % 12) + 1),
    M: two(date.getMinutes()),
    S: two(date.getSeconds()),
    p: date.getHours() < 12 ? "AM" : "PM",
    "%": "%",
  };
  return format.replace(/%([A-Za-z%])/g, (all, letter: string) => parts[letter] ?? all);
}

/** The lexeme of each token; empty where the two lexers disagree, so that no wrong place is shown. */
function alignment(tokens: readonly Token[], lexemes: readonly Lexeme[]): (Lexeme | undefined)[] {
  const marks = tokens.filter(({ type }) => type !== "Text").length;
  if (marks !== lexemes.length) return [];
  let next = 0;
  return tokens.map(({ type }) => (type === "Text" ? lexemes[next] : lexemes[next++]));
}

function syntaxFault(message: string, offset: number | undefined): TemplateFault {
  return new TemplateFault({ kind: "syntax", message, ...(offset === undefined ? {} : { offset }) });
}

function lexicalProblem(source: string, stopsAt: number | undefined, error: Error): string {
  const found = stopsAt === undefined ? "" : source.charAt(stopsAt);
  if (found === "{") return `found "${source.slice(stopsAt, stopsAt! + 2)}" that is never closed`;
  if (found === "'" || found === '"') return `found a string that is never closed`;
  return `found ${JSON.stringify(found)}: ${lowerFirst(error.message)}`;
}

/** "Parser Error: Expected closing statement token. A !== B." -> what was found and what was wanted. */
function parseProblem({ message }: Error, found: Token): string {
  const wanted = /^(?:Parser Error: )?Expected (.+?)(?:\. \w+ !== \w+\.)?$/.exec(message)?.[1];
  const what = found.type === "Text" ? "text" : JSON.stringify(found.value);
  return wanted ? `found ${what}, wanted ${wanted}` : `found ${what}: ${lowerFirst(message)}`;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** The template ends inside a block: its opening tag is the place to look at. */
function unclosedFault(tokens: readonly Token[], lexemeOf: readonly (Lexeme | undefined)[]): TemplateFault {
  const open: { word: string; offset: number | undefined }[] = [];
  for (const [index, { type }] of tokens.entries()) {
    if (type !== "OpenStatement") continue;
    const word = tokens[index + 1]?.value ?? "";
    if (word.startsWith("end")) open.pop();
    else if (["if", "for", "macro", "call", "filter"].includes(word))
      open.push({ word, offset: lexemeOf[index]?.offset });
  }
  const last = open.at(-1);
  if (!last) return syntaxFault("found the end of the template, wanted the rest of a tag", undefined);
  return syntaxFault(`found "${last.word}" without "end${last.word}"`, last.offset);
}

/** The offset of the tag of every statement and expression of the tree that fills a tag of its own. */
function statementOffsets(
  program: readonly Node[],
  tokens: readonly Token[],
  lexemeOf: readonly (Lexeme | undefined)[],
): Map<Node, number> {
  const offsets = new Map<Node, number>();
  let at = 0;
  const skipTag = () => {
    while (at < tokens.length && !/^Close(Statement|Expression)$/.test(tokens[at]!.type)) at++;
    at++;
  };
  const record = (node: Node) => {
    const lexeme = lexemeOf[at];
    if (lexeme) offsets.set(node, lexeme.offset);
    skipTag();
  };
  const keyword = () => (tokens[at]?.type === "OpenStatement" ? tokens[at + 1]?.value : undefined);
  const walkIf = (node: Node) => {
    record(node);
    walk(node.body ?? []);
    if (keyword() === "elif") return walkIf(node.alternate![0]!);
    if (keyword() === "else") skipTag();
    walk(node.alternate ?? []);
  };
  const walk = (body: readonly Node[]) => {
    for (const node of body) {
      const { type } = tokens[at] ?? { type: "" };
      if (type === "Text" || type === "Comment") at++;
      else if (type === "OpenExpression") record(node);
      else if (node.type === "If") {
        walkIf(node);
        skipTag();
      } else {
        record(node);
        const isBlock = node.type === "Set" ? node.value === null : node.body !== undefined;
        if (!isBlock) continue;
        walk(node.body ?? []);
        if (keyword() === "else") skipTag();
        walk(node.defaultBlock ?? []);
        skipTag();
      }
    }
  };
  walk(program);
  return offsets;
}
