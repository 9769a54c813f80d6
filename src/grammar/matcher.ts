/** A grammar met byte by byte: what has been read is the beginning of an output, or is not. */
import { Automaton, type State } from "./automaton.ts";
import type { Grammar } from "./grammar.ts";
import { networkOf } from "./network.ts";

export class Matcher {
  readonly #automaton: Automaton;
  #state: State | undefined;

  /** Throws GrammarError as networkOf(). Matchers of one automaton share what they find out. */
  constructor(grammar: Grammar | Automaton) {
    this.#automaton = grammar instanceof Automaton ? grammar : new Automaton(networkOf(grammar));
    this.#state = this.#automaton.start();
  }

  /** What was read cannot become an output any more. */
  get isDead(): boolean {
    return this.#state === undefined;
  }

  /** What was read is an output. */
  get canEnd(): boolean {
    return this.#state?.canEnd ?? false;
  }

  /** False when nothing that goes on so matches; once dead, always dead. */
  advance(byte: number): boolean {
    if (this.#state) {
      this.#automaton.trim();
      this.#state = this.#automaton.next(this.#state, byte);
    }
    return !this.isDead;
  }

  advanceAll(bytes: Iterable<number>): boolean {
    for (const byte of bytes) if (!this.advance(byte)) return false;
    return !this.isDead;
  }

  /** As advance(), with a special token. */
  advanceToken(id: number): boolean {
    if (this.#state) this.#state = this.#automaton.nextByToken(this.#state, id);
    return !this.isDead;
  }

  /** A matcher that goes its own way from here. */
  clone(): Matcher {
    const copy = new Matcher(this.#automaton);
    copy.#state = this.#state;
    return copy;
  }
}
