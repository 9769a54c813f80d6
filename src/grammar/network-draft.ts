/**
 * A grammar as nodes and edges, a small network for each rule, before anything is simplified.
 *
 * An edge reads bytes, a token, nothing, or a whole rule. What a repetition repeats becomes a rule of its own
 * when it is large, so that {0,10000} costs 10,000 edges and not as many copies.
 */
import { GrammarError } from "../base/errors.ts";
import type { Grammar, Range } from "./grammar.ts";

/** Some 100 MB on the way to a network. */
const MOST_NODES = 400_000;
const SMALL = 4;

export interface DraftNode {
  rule: number;
  empty: number[];
  bytes: { ranges: readonly Range[]; to: number }[];
  tokens: { id: number; to: number }[];
  calls: { rule: number; to: number }[];
}

export interface DraftRule {
  /** For messages: the name in its scope, or what it repeats. */
  name: string;
  start: number;
  end: number;
}

/** Rule 0 is where an output begins. */
export interface Draft {
  nodes: DraftNode[];
  rules: DraftRule[];
}

interface Scope {
  rules: Readonly<Record<string, Grammar>>;
  outer: Scope | undefined;
  /** Rules of this scope that have a number, by name. */
  named: Map<string, number>;
  /** Rules made of what is repeated in this scope. */
  repeated: Map<Grammar, number>;
}

/** Throws GrammarError for a rule that no scope has, and for a grammar of too many nodes. */
export function draftOf(grammar: Grammar): Draft {
  return new Drafter().draft(grammar);
}

class Drafter {
  readonly #nodes: DraftNode[] = [];
  readonly #rules: DraftRule[] = [];
  /** Rules that have a number and no network yet: what nests in rules must not nest in calls. */
  readonly #waiting: { rule: number; grammar: Grammar; scope: Scope }[] = [];
  readonly #weights = new Map<Grammar, number>();
  #rule = 0;

  draft(grammar: Grammar): Draft {
    const outermost: Scope = { rules: {}, outer: undefined, named: new Map(), repeated: new Map() };
    this.#newRule("start", grammar, outermost);
    for (let next = this.#waiting.pop(); next; next = this.#waiting.pop()) {
      this.#rule = next.rule;
      const rule = this.#rules[next.rule]!;
      rule.start = this.#newNode();
      rule.end = this.#build(next.grammar, next.scope, rule.start);
    }
    return { nodes: this.#nodes, rules: this.#rules };
  }

  #newRule(name: string, grammar: Grammar, scope: Scope): number {
    const rule = this.#rules.push({ name, start: -1, end: -1 }) - 1;
    this.#waiting.push({ rule, grammar, scope });
    return rule;
  }

  #newNode(): number {
    if (this.#nodes.length >= MOST_NODES) {
      throw new GrammarError([
        {
          code: "grammar-too-large",
          message: `Cannot use the grammar: it takes more than ${MOST_NODES} nodes, wanted a smaller one`,
          note: "Large counts (minItems, maxLength, {m,n}) take a node for each repetition",
        },
      ]);
    }
    return this.#nodes.push({ rule: this.#rule, empty: [], bytes: [], tokens: [], calls: [] }) - 1;
  }

  /** Adds what reads `grammar` from a node on; returns the node after it. No edge leads back to `from`. */
  #build(grammar: Grammar, scope: Scope, from: number): number {
    const node = this.#nodes[from]!;
    switch (grammar.kind) {
      case "literal":
        return grammar.bytes.reduce((at, byte) => this.#readByte(at, [[byte, byte]]), from);
      case "bytes":
        return this.#readByte(from, grammar.ranges);
      case "token": {
        const to = this.#newNode();
        node.tokens.push({ id: grammar.id, to });
        return to;
      }
      case "sequence":
        return grammar.items.reduce((at, item) => this.#build(item, scope, at), from);
      case "choice":
        return this.#buildChoice(grammar.items, scope, from);
      case "repeat":
        return this.#buildRepeat(grammar, scope, from);
      case "rule":
        return this.#call(from, this.#ruleNamed(grammar.name, scope));
      case "scope": {
        const inner = { rules: grammar.rules, outer: scope, named: new Map(), repeated: new Map() };
        return this.#build(grammar.start, inner, from);
      }
      default:
        return grammar satisfies never;
    }
  }

  #readByte(from: number, ranges: readonly Range[]): number {
    const to = this.#newNode();
    this.#nodes[from]!.bytes.push({ ranges, to });
    return to;
  }

  #call(from: number, rule: number): number {
    const to = this.#newNode();
    this.#nodes[from]!.calls.push({ rule, to });
    return to;
  }

  /** Literals share their beginnings: a choice of 10,000 words goes on from one node, not from 10,000. */
  #buildChoice(items: readonly Grammar[], scope: Scope, from: number): number {
    const end = this.#newNode();
    const known = new Map<number, number>();
    for (const item of items) {
      let at = from;
      if (item.kind === "literal") {
        for (const byte of item.bytes) {
          const key = at * 256 + byte;
          const next = known.get(key) ?? this.#readByte(at, [[byte, byte]]);
          known.set(key, next);
          at = next;
        }
      } else at = this.#build(item, scope, from);
      this.#nodes[at]!.empty.push(end);
    }
    return end;
  }

  #buildRepeat(repeat: Grammar & { kind: "repeat" }, scope: Scope, from: number): number {
    const { item, min, max } = repeat;
    const copies = max === undefined ? min + 1 : max;
    const isShared = copies > 1 && this.#weightOf(item) > SMALL;
    const rule = isShared ? this.#ruleOf(item, scope) : -1;
    const one = (at: number): number => (isShared ? this.#call(at, rule) : this.#build(item, scope, at));

    let at = from;
    for (let i = 0; i < min; i++) at = one(at);
    if (max === undefined) {
      const loop = this.#newNode();
      this.#nodes[at]!.empty.push(loop);
      this.#nodes[one(loop)]!.empty.push(loop);
      const end = this.#newNode();
      this.#nodes[loop]!.empty.push(end);
      return end;
    }
    if (max === min) return at;
    const end = this.#newNode();
    for (let i = min; i < max; i++) {
      this.#nodes[at]!.empty.push(end); // straight to the end: a step over each copy would cost its square
      at = one(at);
    }
    this.#nodes[at]!.empty.push(end);
    return end;
  }

  #ruleOf(item: Grammar, scope: Scope): number {
    if (item.kind === "rule") return this.#ruleNamed(item.name, scope);
    const rule = scope.repeated.get(item) ?? this.#newRule(`repeated ${item.kind}`, item, scope);
    scope.repeated.set(item, rule);
    return rule;
  }

  #ruleNamed(name: string, innermost: Scope): number {
    let scope: Scope | undefined = innermost;
    while (scope && !Object.hasOwn(scope.rules, name)) scope = scope.outer;
    if (!scope) {
      const message = `Cannot use the grammar: it names the rule "${name}", wanted one that a scope around it has`;
      throw new GrammarError([{ code: "unknown-rule", message }]);
    }
    const rule = scope.named.get(name) ?? this.#newRule(name, scope.rules[name]!, scope);
    scope.named.set(name, rule);
    return rule;
  }

  /** About how many nodes a copy takes. */
  #weightOf(grammar: Grammar): number {
    const known = this.#weights.get(grammar);
    if (known !== undefined) return known;
    const weight = this.#weigh(grammar);
    this.#weights.set(grammar, weight);
    return weight;
  }

  #weigh(grammar: Grammar): number {
    switch (grammar.kind) {
      case "literal":
        return grammar.bytes.length;
      case "bytes":
      case "token":
      case "rule":
        return 1;
      case "sequence":
      case "choice":
        return grammar.items.reduce((sum, item) => sum + this.#weightOf(item), 1);
      case "repeat":
        return 2 + this.#weightOf(grammar.item) * Math.max(1, grammar.max ?? grammar.min);
      case "scope":
        return this.#weightOf(grammar.start);
      default:
        return grammar satisfies never;
    }
  }
}
