/**
 * Runs a network over bytes: what may come next is a state, and equal states are one.
 *
 * A state is a set of places: a node, and the stack of rules that are open there. It is found when it is first
 * needed and kept, so that the second time a byte costs one look into a table (the lazy subset construction,
 * with stacks). Stacks are shared like the states of an Earley parser: all calls of a rule at one position of the
 * output open it once, with several places to return to; so the number of places stays small however ambiguous
 * the grammar is. (J. Earley, An Efficient Context-Free Parsing Algorithm, CACM 13, 1970.)
 */
import type { Network, NetworkNode } from "./network.ts";

/** An open rule, and where its callers go on. Equal stacks are one object. */
interface Stack {
  readonly id: number;
  readonly returns: readonly Place[];
}

interface Place {
  readonly node: number;
  readonly stack: Stack;
}

/** Do not change one. */
export interface State {
  /** Its row of the table: valid until the automaton forgets. */
  row: number;
  /** Which table that row is of. */
  epoch: number;
  /** Only those that read something. */
  readonly places: readonly Place[];
  readonly canEnd: boolean;
}

/** In the table: no output goes on this way; not known yet. */
export const DEAD = 0;
const UNKNOWN = -1;

export class Automaton {
  readonly network: Network;
  /** Rows that may be kept; more are forgotten by trim(). */
  readonly mostStates: number;
  readonly #root: Stack = { id: 0, returns: [] };
  #nextStack = 1;
  #start: State | undefined;
  #epoch = 0;
  #states: State[] = [];
  #stateOf = new Map<string, State>();
  #stackOf = new Map<string, Stack>();
  #table: Int32Array;

  constructor(network: Network, { mostStates = 40_000 }: { mostStates?: number } = {}) {
    this.network = network;
    this.mostStates = mostStates;
    this.#table = new Int32Array(256 * network.numClasses);
    this.#forget();
  }

  get numStates(): number {
    return this.#states.length;
  }

  /** Before the first byte. */
  start(): State {
    // As if rule 0 had been called from nowhere.
    this.#start = this.#start
      ? this.current(this.#start)
      : this.#close([{ node: this.network.starts[0]!, stack: this.#root }], false);
    return this.#start;
  }

  stateOf(row: number): State {
    return this.#states[row]!;
  }

  /** The row of the state after a byte of a class; DEAD when there is none. */
  nextRow(row: number, byteClass: number): number {
    const known = this.#table[row * this.network.numClasses + byteClass]!;
    return known === UNKNOWN ? this.#find(row, byteClass) : known;
  }

  /** The state after a byte, undefined when there is none. */
  next(state: State, byte: number): State | undefined {
    const row = this.nextRow(this.current(state).row, this.network.classOf[byte]!);
    return row === DEAD ? undefined : this.#states[row];
  }

  /** Ids of special tokens that may come next. */
  tokens(state: State): Set<number> {
    const ids = new Set<number>();
    for (const { node } of state.places) for (const { id } of this.#node(node).tokens) ids.add(id);
    return ids;
  }

  /** The state after a special token, undefined when there is none. */
  nextByToken(state: State, id: number): State | undefined {
    const places: Place[] = [];
    for (const { node, stack } of state.places) {
      for (const edge of this.#node(node).tokens) if (edge.id === id) places.push({ node: edge.to, stack });
    }
    return places.length === 0 ? undefined : this.#close(places, false);
  }

  /** What goes on as either of two may. */
  union(a: State, b: State): State {
    return this.#close([...a.places, ...b.places], a.canEnd || b.canEnd);
  }

  /** Forgets all rows when there are too many. States that are held stay good: see current(). */
  trim(): void {
    if (this.#states.length > this.mostStates) this.#forget();
  }

  /** The state itself or, when it was forgotten, its like in the present table. */
  current(state: State): State {
    if (state.epoch === this.#epoch) return state;
    return this.#close(state.places, state.canEnd);
  }

  get epoch(): number {
    return this.#epoch;
  }

  #forget(): void {
    this.#epoch++;
    this.#stateOf = new Map();
    this.#stackOf = new Map();
    const dead: State = { row: DEAD, epoch: this.#epoch, places: [], canEnd: false };
    this.#states = [dead];
    this.#table = new Int32Array(256 * this.network.numClasses);
  }

  #node(node: number): NetworkNode {
    return this.network.nodes[node]!;
  }

  #find(row: number, byteClass: number): number {
    const places: Place[] = [];
    for (const { node, stack } of this.#states[row]!.places) {
      for (const { members, to } of this.#node(node).bytes) {
        if (members[byteClass]) places.push({ node: to, stack });
      }
    }
    const next = places.length === 0 ? DEAD : this.#close(places, false).row;
    this.#table[row * this.network.numClasses + byteClass] = next;
    return next;
  }

  /** Adds what follows from places without reading: rules that end and rules that begin. */
  #close(from: readonly Place[], mayEnd: boolean): State {
    const [only] = from;
    if (from.length === 1 && isPlain(this.#node(only!.node))) return this.#state(from, mayEnd); // most are
    const { starts, order } = this.network;
    const reached = new Places();
    for (const place of from) reached.add(place.node, place.stack);

    let canEnd = mayEnd;
    const calls = new Map<number, Places>(); // by rule, where its callers go on
    const rules: number[] = []; // that are called, those that are opened first at the end
    const call = (node: number, stack: Stack): void => {
      for (const { rule, to } of this.#node(node).calls) {
        let returns = calls.get(rule);
        if (!returns) {
          returns = new Places();
          calls.set(rule, returns);
          let at = rules.push(rule) - 1;
          for (; at > 0 && order[rules[at - 1]!]! < order[rule]!; at--) rules[at] = rules[at - 1]!;
          rules[at] = rule;
        }
        // Nothing comes after the call: the rule returns to where its caller would, and stacks stay short.
        if (isLast(this.#node(to)) && stack !== this.#root)
          for (const place of stack.returns) returns.add(place.node, place.stack);
        else returns.add(to, stack);
      }
    };
    for (const { node, stack } of reached.all) {
      if (this.#node(node).isEnd) {
        if (stack === this.#root) canEnd = true;
        for (const place of stack.returns) reached.add(place.node, place.stack);
      }
    }
    for (const { node, stack } of reached.all) call(node, stack);
    // A rule that ends where it begins was stepped over by its caller, so what is opened here does not return.
    for (let rule = rules.pop(); rule !== undefined; rule = rules.pop()) {
      const stack = this.#stack(calls.get(rule)!.all);
      reached.add(starts[rule]!, stack);
      call(starts[rule]!, stack);
    }
    return this.#state(reached.all, canEnd);
  }

  #state(all: readonly Place[], canEnd: boolean): State {
    const places = all.filter(({ node }) => {
      const { bytes, tokens } = this.#node(node);
      return bytes.length > 0 || tokens.length > 0;
    });
    const key = `${canEnd ? "!" : ""}${keyOf(places)}`;
    let state = this.#stateOf.get(key);
    if (!state) {
      const row = this.#states.length;
      state = { row, epoch: this.#epoch, places, canEnd };
      this.#states.push(state);
      this.#stateOf.set(key, state);
      const numClasses = this.network.numClasses;
      if ((row + 1) * numClasses > this.#table.length) {
        const larger = new Int32Array(2 * this.#table.length);
        larger.set(this.#table);
        this.#table = larger;
      }
      this.#table.fill(UNKNOWN, row * numClasses, (row + 1) * numClasses);
    }
    return state;
  }

  #stack(returns: readonly Place[]): Stack {
    const key = keyOf(returns);
    let stack = this.#stackOf.get(key);
    if (!stack) {
      stack = { id: this.#nextStack++, returns };
      this.#stackOf.set(key, stack);
    }
    return stack;
  }
}

/** A set of places that can grow while it is walked through. */
class Places {
  readonly all: Place[] = [];
  readonly #known = new Set<number>();

  add(node: number, stack: Stack): void {
    const number = numberOf(node, stack);
    if (this.#known.has(number)) return;
    this.#known.add(number);
    this.all.push({ node, stack });
  }
}

/** Networks have at most 2^20 nodes; that leaves 2^33 stacks. */
function numberOf(node: number, stack: Stack): number {
  return stack.id * 2 ** 20 + node;
}

/** Nothing follows without reading. */
function isPlain({ calls, isEnd }: NetworkNode): boolean {
  return !isEnd && calls.length === 0;
}

function isLast({ bytes, tokens, calls, isEnd }: NetworkNode): boolean {
  return isEnd && bytes.length === 0 && tokens.length === 0 && calls.length === 0;
}

/** The same for the same places in any order. */
function keyOf(places: readonly Place[]): string {
  if (places.length === 1) return String(numberOf(places[0]!.node, places[0]!.stack));
  return Float64Array.from(places, ({ node, stack }) => numberOf(node, stack))
    .sort()
    .join();
}
