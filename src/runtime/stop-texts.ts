/** Stop texts that a caller names: they end an answer and are left out of it. */
import type { OutputEvent } from "../text/output-events.ts";

/** Ends an answer before a stop text, which may come in pieces: what may be its beginning is held back. */
export class StopTexts {
  readonly #texts: readonly string[];
  #held = "";
  isMet = false;

  constructor(texts: readonly string[]) {
    this.#texts = texts.filter((text) => text !== "");
  }

  *pass(event: OutputEvent): Generator<OutputEvent> {
    if (event.kind !== "content") {
      if (this.#held !== "" && !this.isMet) yield { kind: "content", text: this.#held };
      this.#held = ""; // no stop text reaches over what is not content
      if (!this.isMet || event.kind === "finish") yield event;
      return;
    }
    if (this.isMet) return;
    const text = this.#held + event.text;
    const found = this.#texts.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.isMet = true;
      this.#held = "";
      const before = text.slice(0, Math.min(...found));
      if (before !== "") yield { kind: "content", text: before };
      return;
    }
    const keep = this.#longestBeginning(text);
    this.#held = text.slice(text.length - keep);
    if (keep < text.length) yield { kind: "content", text: text.slice(0, text.length - keep) };
  }

  /** Length of the longest end of `text` that begins a stop text. */
  #longestBeginning(text: string): number {
    let longest = 0;
    for (const stop of this.#texts) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
