/**
 * Which tokens may come next, so that the output can still match a grammar: exactly those.
 *
 * The mask of a state is found by walking the trie of the vocabulary and the automaton side by side. Where a token
 * cannot begin so, all that begin so are left out at once; where whatever follows of what
 * the trie has there may follow (the inside of a string), all are let in at once. Masks are kept by state, so that they are
 * found once for all constraints of a compiled grammar.
 */
import { Automaton, DEAD, type State } from "./automaton.ts";
import type { Grammar } from "./grammar.ts";
import { networkOf } from "./network.ts";
import { SafeRuns } from "./safe-runs.ts";
import type { TokenTrie } from "./token-trie.ts";

export interface CompileOptions {
  /** Ids that end an output, allowed where it may end. */
  endTokens: readonly number[];
  /** Memory for masks that are kept, in bytes; those that were not wanted for longest give way. */
  maskBytes?: number;
  /** States that are kept; each takes some 500 bytes. When there are more, all are found anew. */
  mostStates?: number;
}

/** A grammar made ready for a vocabulary: keep it for all outputs of the grammar. */
export class CompiledGrammar {
  readonly trie: TokenTrie;
  readonly endTokens: ReadonlySet<number>;
  readonly automaton: Automaton;
  readonly #masks = new Map<State, Uint32Array>();
  readonly #mostMasks: number;
  #epoch: number;
  #runs: SafeRuns;

  /** Throws GrammarError as networkOf(), RangeError for a token outside of the vocabulary. */
  constructor(
    grammar: Grammar,
    trie: TokenTrie,
    { endTokens, maskBytes = 64 * 2 ** 20, mostStates }: CompileOptions,
  ) {
    const network = networkOf(grammar);
    const named = network.nodes.flatMap(({ tokens }) => tokens.map(({ id }) => id));
    const outside = [...endTokens, ...named].find((id) => !(id >= 0 && id < trie.size));
    if (outside !== undefined)
      throw new RangeError(`Cannot allow token ${outside}: wanted an id below ${trie.size}`);
    this.trie = trie;
    this.endTokens = new Set(endTokens);
    this.automaton = new Automaton(network, mostStates === undefined ? {} : { mostStates });
    this.#mostMasks = Math.max(1, Math.floor(maskBytes / (4 * Math.ceil(trie.size / 32))));
    this.#epoch = this.automaton.epoch;
    this.#runs = new SafeRuns(this.automaton);
  }

  /** How many masks are kept. */
  get numMasks(): number {
    return this.#masks.size;
  }

  /** Gives the memory of all masks back; they are found anew when they are wanted. */
  forgetMasks(): void {
    this.#masks.clear();
  }

  /** The state as it is called now; to be used at once. */
  current(state: State): State {
    this.automaton.trim();
    if (this.#epoch !== this.automaton.epoch) {
      this.#epoch = this.automaton.epoch;
      this.#masks.clear();
      this.#runs = new SafeRuns(this.automaton);
    }
    return this.automaton.current(state);
  }

  /** A bit for each id; bit i % 32 of word i / 32. Shared: do not change it. */
  maskOf(held: State): Uint32Array {
    const state = this.current(held);
    let mask = this.#masks.get(state);
    if (mask) this.#masks.delete(state);
    else mask = this.#findMask(state);
    this.#masks.set(state, mask); // the latest stands last
    if (this.#masks.size > this.#mostMasks) {
      for (const oldest of this.#masks.keys()) {
        this.#masks.delete(oldest);
        break;
      }
    }
    return mask;
  }

  #findMask(state: State): Uint32Array {
    const { automaton, trie } = this;
    const { bytes, depths, ends, firstTokens, tokens, groupsUnder, heights, numNodes } = trie;
    const { classOf } = automaton.network;
    const mask = new Uint32Array(Math.ceil(trie.size / 32));
    const runs = this.#runs;
    const rows = new Int32Array(trie.longest + 1);
    rows[0] = state.row;
    for (let node = 0; node < numNodes; ) {
      const depth = depths[node]!;
      const row = rows[depth - 1]!;
      const next = automaton.nextRow(row, classOf[bytes[node]!]!);
      if (next === DEAD) {
        node = ends[node]!;
        continue;
      }
      let last = node + 1;
      const under = groupsUnder[node]!;
      if (under !== 0 && (under & ~runs.groupsAfter(next)) === 0 && heights[node]! <= runs.stepsAfter(next))
        last = ends[node]!;
      const end = firstTokens[last]!;
      for (let at = firstTokens[node]!; at < end; at++) {
        const id = tokens[at]!;
        mask[id >>> 5]! |= 1 << (id & 31);
      }
      rows[depth] = next;
      node = last;
    }
    for (const id of automaton.tokens(state)) mask[id >>> 5]! |= 1 << (id & 31);
    if (state.canEnd) for (const id of this.endTokens) mask[id >>> 5]! |= 1 << (id & 31);
    return mask;
  }
}

/** One output that is being made. */
export class Constraint {
  readonly #compiled: CompiledGrammar;
  #state: State;
  #isEnded = false;

  constructor(compiled: CompiledGrammar) {
    this.#compiled = compiled;
    this.#state = compiled.automaton.start();
  }

  /** A bit for each id: bit i % 32 of word i / 32. After the end none is set. Shared: do not change it. */
  allowed(): Uint32Array {
    return this.#isEnded
      ? new Uint32Array(Math.ceil(this.#compiled.trie.size / 32))
      : this.#compiled.maskOf(this.#state);
  }

  /** Whether a token may come next, without the mask of all. */
  allows(id: number): boolean {
    return this.#isEnd(id) || this.#after(id) !== undefined;
  }

  /** Goes on by a token. Throws RangeError for one that may not come next; nothing changes then. */
  accept(id: number): void {
    if (this.#isEnd(id)) {
      this.#isEnded = true;
      return;
    }
    const next = this.#after(id);
    if (!next)
      throw new RangeError(`Cannot accept token ${id}: the grammar forbids it here, wanted an allowed one`);
    this.#state = next;
  }

  /** An end token may come next, or came. */
  get canEnd(): boolean {
    return this.#isEnded || this.#state.canEnd;
  }

  /** Nothing but an end token may come next, or one came. */
  get isComplete(): boolean {
    return this.#isEnded || (this.#state.canEnd && this.#state.places.length === 0);
  }

  /** A constraint that goes its own way from here; what is found out stays shared. */
  clone(): Constraint {
    const copy = new Constraint(this.#compiled);
    copy.#state = this.#state;
    copy.#isEnded = this.#isEnded;
    return copy;
  }

  #isEnd(id: number): boolean {
    return !this.#isEnded && this.#state.canEnd && this.#compiled.endTokens.has(id);
  }

  /** A token that the grammar names may also have bytes that match: then both ways stay open. */
  #after(id: number): State | undefined {
    if (this.#isEnded || !(id >= 0 && id < this.#compiled.trie.size)) return undefined;
    const { automaton, trie } = this.#compiled;
    const state = this.#compiled.current(this.#state);
    const named = automaton.nextByToken(state, id);
    const bytes = trie.bytesOf(id);
    let spelled: State | undefined = bytes.length > 0 ? state : undefined;
    for (const byte of bytes) spelled = spelled && automaton.next(spelled, byte);
    return named && spelled ? automaton.union(named, spelled) : (named ?? spelled);
  }
}
