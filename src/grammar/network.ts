/**
 * A grammar made ready to run: a network of nodes for each rule, without empty edges and without dead ends.
 *
 * From every node that is left, the end of its rule can be reached, and every rule that is called has a finite
 * output. So a set of nodes that is not empty can always be completed, and an automaton knows at once when it
 * has gone wrong. A rule may not begin with itself: the automaton opens rules in the order of who begins with whom.
 */
import { GrammarError } from "../base/errors.ts";
import { byteClassesOf } from "./byte-classes.ts";
import type { Grammar } from "./grammar.ts";
import { type Draft, draftOf } from "./network-draft.ts";

/** A node's edges, all kinds together, are kept from growing with the square of a repetition. */
const MOST_EDGES = 4_000_000;

export interface NetworkNode {
  /** Bytes, as classes: `members[class]` is 1 for those that the edge reads. */
  bytes: { members: Uint8Array; to: number }[];
  tokens: { id: number; to: number }[];
  calls: { rule: number; to: number }[];
  /** The rule may end here. */
  isEnd: boolean;
}

export interface Network {
  nodes: readonly NetworkNode[];
  /** By rule: its first node. Rule 0 is where an output begins. */
  starts: Int32Array;
  /** By rule: a number that is larger than those of all rules that begin with a call of it. */
  order: Int32Array;
  /** The class of each byte: bytes that no edge tells apart share one. */
  classOf: Uint8Array;
  numClasses: number;
}

const known = new WeakMap<Grammar, Network>();

/**
 * The same network for the same object: a grammar is not changed. Throws GrammarError where no finite output
 * matches, where a rule begins with itself, and as draftOf().
 */
export function networkOf(grammar: Grammar): Network {
  let network = known.get(grammar);
  if (!network) {
    network = compile(grammar);
    known.set(grammar, network);
  }
  return network;
}

function compile(grammar: Grammar): Network {
  const draft = draftOf(grammar);
  const isNullable = emptyRules(draft);
  const isAlive = aliveNodes(draft);
  if (!isAlive[draft.rules[0]!.start]) {
    const message = "Cannot use the grammar: no finite output matches it, wanted one that comes to an end";
    throw new GrammarError([{ code: "no-finite-output", message }]);
  }
  const { classOf, numClasses, membersOf } = byteClassesOf(
    draft.nodes.flatMap((node) => node.bytes.map(({ ranges }) => ranges)),
  );

  // Nodes that go on alike become one: after a byte of a string one is where one was, whatever the byte.
  const nodes: NetworkNode[] = [];
  const numbers = new Map<string, number>();
  const waiting: { node: NetworkNode; reached: readonly number[] }[] = [];
  const numberOfDraft = new Int32Array(draft.nodes.length).fill(-1);
  let edges = 0;
  const count = (more: number): void => {
    edges += more;
    if (edges <= MOST_EDGES) return;
    const message = `Cannot use the grammar: it takes more than ${MOST_EDGES} edges, wanted a smaller one`;
    const note = "What is repeated many times should not be able to be empty";
    throw new GrammarError([{ code: "grammar-too-large", message, note }]);
  };
  const numberOf = (from: number): number => {
    if (numberOfDraft[from] !== -1) return numberOfDraft[from]!;
    const reached = withoutReading(draft, from, { isNullable, isAlive });
    count(reached.length);
    const key = reached.join();
    let number = numbers.get(key);
    if (number === undefined) {
      const node: NetworkNode = { bytes: [], tokens: [], calls: [], isEnd: false };
      number = nodes.push(node) - 1;
      numbers.set(key, number);
      waiting.push({ node, reached });
    }
    numberOfDraft[from] = number;
    return number;
  };
  const starts = Int32Array.from(draft.rules, ({ start }) => (isAlive[start] ? numberOf(start) : -1));
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { node, reached } = next;
    for (const at of reached) {
      const { rule, bytes, tokens, calls } = draft.nodes[at]!;
      if (at === draft.rules[rule]!.end) node.isEnd = true;
      for (const { ranges, to } of bytes)
        if (isAlive[to]) node.bytes.push({ members: membersOf(ranges), to: numberOf(to) });
      for (const { id, to } of tokens) if (isAlive[to]) node.tokens.push({ id, to: numberOf(to) });
      for (const { rule: callee, to } of calls)
        if (isAlive[to] && starts[callee] !== -1) node.calls.push({ rule: callee, to: numberOf(to) });
    }
    count(node.bytes.length + node.tokens.length + node.calls.length);
  }
  return { nodes, starts, order: beginOrder(draft, nodes, starts), classOf, numClasses };
}

/** By rule, whether it may be empty: its end is reached without reading. */
function emptyRules({ nodes, rules }: Draft): Uint8Array {
  const isNullable = new Uint8Array(rules.length);
  const isReached = new Uint8Array(nodes.length);
  const callers: number[][] = rules.map(() => []); // what is reached once the rule turns out to be nullable
  const waiting: number[] = [];
  const reach = (node: number): void => {
    if (isReached[node]) return;
    isReached[node] = 1;
    waiting.push(node);
  };
  for (const { start } of rules) reach(start);
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    const { rule, empty, calls } = nodes[at]!;
    if (at === rules[rule]!.end && !isNullable[rule]) {
      isNullable[rule] = 1;
      for (const to of callers[rule]!) reach(to);
    }
    for (const to of empty) reach(to);
    for (const { rule: callee, to } of calls) {
      if (isNullable[callee]) reach(to);
      else callers[callee]!.push(to);
    }
  }
  return isNullable;
}

/** By node, whether the end of its rule can be reached from it. */
function aliveNodes({ nodes, rules }: Draft): Uint8Array {
  const isAlive = new Uint8Array(nodes.length);
  const before: number[][] = nodes.map(() => []);
  const callsBefore: { node: number; rule: number }[][] = nodes.map(() => []);
  const callers: number[][] = rules.map(() => []); // nodes that wait only for the rule to be alive
  for (const [at, { empty, bytes, tokens, calls }] of nodes.entries()) {
    for (const to of empty) before[to]!.push(at);
    for (const { ranges, to } of bytes) if (ranges.length > 0) before[to]!.push(at);
    for (const { to } of tokens) before[to]!.push(at);
    for (const { rule, to } of calls) callsBefore[to]!.push({ node: at, rule });
  }
  const ruleOfStart = new Map(rules.map(({ start }, rule) => [start, rule]));
  const waiting: number[] = [];
  const revive = (node: number): void => {
    if (isAlive[node]) return;
    isAlive[node] = 1;
    waiting.push(node);
  };
  for (const { end } of rules) revive(end);
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    for (const node of before[at]!) revive(node);
    for (const { node, rule } of callsBefore[at]!) {
      if (isAlive[rules[rule]!.start]) revive(node);
      else callers[rule]!.push(node);
    }
    const started = ruleOfStart.get(at);
    if (started !== undefined) for (const node of callers[started]!) revive(node);
  }
  return isAlive;
}

/** In order, the nodes that are reached from one without reading anything and that do something. */
function withoutReading(
  { nodes, rules }: Draft,
  from: number,
  { isNullable, isAlive }: { isNullable: Uint8Array; isAlive: Uint8Array },
): number[] {
  const reached = new Set([from]);
  for (const at of reached) {
    const { empty, calls } = nodes[at]!;
    for (const to of empty) if (isAlive[to]) reached.add(to);
    for (const { rule, to } of calls) if (isNullable[rule] && isAlive[to]) reached.add(to);
  }
  const isUseful = (at: number): boolean => {
    const { rule, bytes, tokens, calls } = nodes[at]!;
    return bytes.length + tokens.length + calls.length > 0 || at === rules[rule]!.end;
  };
  return [...reached].filter(isUseful).sort((a, b) => a - b);
}

/** Numbers the rules so that each comes after those that begin with it. */
function beginOrder({ rules }: Draft, nodes: readonly NetworkNode[], starts: Int32Array): Int32Array {
  const order = new Int32Array(rules.length).fill(-1);
  const beginsWith = (rule: number): { rule: number }[] =>
    starts[rule] === -1 ? [] : nodes[starts[rule]!]!.calls;
  const waitsFor = new Int32Array(rules.length);
  for (const rule of rules.keys()) for (const call of beginsWith(rule)) waitsFor[call.rule]!++;
  const ready = [...rules.keys()].filter((rule) => waitsFor[rule] === 0);
  let numbered = 0;
  for (let rule = ready.pop(); rule !== undefined; rule = ready.pop()) {
    order[rule] = numbered++;
    for (const call of beginsWith(rule)) if (--waitsFor[call.rule]! === 0) ready.push(call.rule);
  }
  if (numbered < rules.length) {
    const names = rules.filter((_, rule) => order[rule] === -1).map(({ name }) => `"${name}"`);
    const message = `Cannot use the grammar: among the rules ${names.slice(0, 5).join(", ")} one begins with itself, wanted something before it`;
    throw new GrammarError([{ code: "left-recursion", message }]);
  }
  return order;
}
