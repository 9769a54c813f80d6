/**
 * Texts that match several patterns at once: their automata side by side, each pair of states once.
 *
 * Every pattern becomes a nondeterministic automaton over characters (Thompson's construction); a state of the product
 * is a set of its states for each pattern, found from the start on, and becomes a rule of the grammar. Characters that
 * no pattern tells apart are taken together.
 */
import { ANY_CHARACTER, intersection } from "./characters.ts";
import { choice, EMPTY, type Grammar, type Range, rule, scope, sequence } from "./grammar.ts";
import { spelledCharacter } from "./json-grammar.ts";
import type { Pattern } from "./pattern.ts";

const MOST_NODES = 50_000;
const MOST_STATES = 5_000;
/** Some half a second. */
const MOST_STEPS = 3_000_000;

/** An automaton: node 0 is its start. */
interface Nodes {
  empty: number[][];
  reads: { ranges: readonly Range[]; to: number }[][];
  end: number;
}

/** undefined where that takes too many states or too long. What stands between the quotes, as of patternGrammar(). */
export function productGrammar(patterns: readonly Pattern[]): Grammar | undefined {
  const automata = patterns.map(nodesOf);
  if (automata.includes(undefined)) return undefined;
  const all = automata as Nodes[];
  const atoms = atomsOf(all);
  const rules: Record<string, Grammar> = {};
  const numbers = new Map<string, number>();
  const waiting: { name: string; sets: number[][] }[] = [];
  const ruleOf = (sets: number[][]): Grammar => {
    const key = sets.join(";");
    let number = numbers.get(key);
    if (number === undefined) {
      number = numbers.size;
      numbers.set(key, number);
      waiting.push({ name: `state ${number}`, sets });
    }
    return rule(`state ${number}`);
  };
  const start = ruleOf(all.map((nodes) => reachedFrom(nodes, [0])));
  let steps = 0;
  const classes = new Map<string, string>();
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    steps += atoms.length * next.sets.reduce((n, { length }) => n + length, 0);
    if (numbers.size > MOST_STATES || steps > MOST_STEPS) return undefined;
    const ways = new Map<string, { to: Grammar; ranges: Range[] }>();
    for (const atom of atoms) {
      const sets = all.map((nodes, i) => after(nodes, next.sets[i]!, atom));
      if (sets.some(({ length }) => length === 0)) continue;
      const key = sets.join(";");
      const way = ways.get(key) ?? { to: ruleOf(sets), ranges: [] };
      way.ranges.push(atom);
      ways.set(key, way);
    }
    const parts = [...ways.values()].map(({ to, ranges }) => {
      const key = ranges.join(" ");
      const name = classes.get(key) ?? `characters ${classes.size}`;
      classes.set(key, name);
      rules[name] ??= spelledCharacter(ranges);
      return sequence(rule(name), to);
    });
    const isEnd = all.every(({ end }, i) => next.sets[i]!.includes(end));
    rules[next.name] = choice(...(isEnd ? [EMPTY] : []), ...parts);
  }
  return scope(rules, start);
}

function nodesOf(pattern: Pattern): Nodes | undefined {
  const nodes: Nodes = { empty: [], reads: [], end: 0 };
  let isTooLarge = false;
  const newNode = (): number => {
    if (nodes.empty.length >= MOST_NODES) isTooLarge = true;
    nodes.reads.push([]);
    return nodes.empty.push([]) - 1;
  };
  /** No edge leads back to `from`. Returns the node after the part. */
  const build = (part: Pattern, from: number): number => {
    if (isTooLarge) return from;
    switch (part.kind) {
      case "character": {
        const to = newNode();
        nodes.reads[from]!.push({ ranges: part.ranges, to });
        return to;
      }
      case "sequence":
        return part.items.reduce((at, item) => build(item, at), from);
      case "choice": {
        const to = newNode();
        for (const item of part.items) nodes.empty[build(item, from)]!.push(to);
        return to;
      }
      case "repeat": {
        let at = from;
        for (let i = 0; i < part.min && !isTooLarge; i++) at = build(part.item, at);
        const to = newNode();
        if (part.max === undefined) {
          const loop = newNode();
          nodes.empty[at]!.push(loop);
          nodes.empty[build(part.item, loop)]!.push(loop);
          at = loop;
        }
        for (let i = part.min; i < (part.max ?? 0) && !isTooLarge; i++) {
          nodes.empty[at]!.push(to);
          at = build(part.item, at);
        }
        nodes.empty[at]!.push(to);
        return to;
      }
      default:
        return part satisfies never;
    }
  };
  nodes.end = build(pattern, newNode());
  return isTooLarge ? undefined : nodes;
}

/** Ranges of characters that all reads either have or do not have, as a whole. */
function atomsOf(all: readonly Nodes[]): Range[] {
  const cuts = new Set<number>();
  const ranges = all.flatMap(({ reads }) => reads.flatMap((edges) => edges.flatMap((edge) => edge.ranges)));
  for (const [first, last] of [...ranges, ...ANY_CHARACTER]) cuts.add(first).add(last + 1);
  const sorted = [...cuts].sort((a, b) => a - b);
  const between = sorted.slice(1).map((cut, i): Range => [sorted[i]!, cut - 1]);
  return between.filter((atom) => intersection([atom], ANY_CHARACTER).length > 0);
}

/** Sorted. */
function reachedFrom({ empty }: Nodes, from: readonly number[]): number[] {
  const reached = new Set(from);
  for (const at of reached) for (const to of empty[at]!) reached.add(to);
  return [...reached].sort((a, b) => a - b);
}

function after(nodes: Nodes, from: readonly number[], [first]: Range): number[] {
  const next: number[] = [];
  for (const at of from) {
    for (const { ranges, to } of nodes.reads[at]!)
      if (ranges.some((range) => range[0] <= first && first <= range[1])) next.push(to);
  }
  return reachedFrom(nodes, next);
}
