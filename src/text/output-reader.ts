/** Token ids to events: the streaming decoder and the parser, with special markers told apart by their ids. */
import type { OutputEvent } from "./output-events.ts";
import {
  MARKERS,
  type Marker,
  OutputParser,
  type OutputParserOptions,
  type TraceState,
} from "./output-parser.ts";
import { createStreamDecoder, type StreamDecoder } from "./stream-decoder.ts";
import type { Tokenizer } from "./tokenizer.ts";

export class OutputReader {
  readonly #decoder: StreamDecoder;
  readonly #parser: OutputParser;
  readonly #markers: ReadonlyMap<number, Marker>;

  constructor(tokenizer: Tokenizer, options: Omit<OutputParserOptions, "byId"> = {}) {
    this.#markers = specialMarkers(tokenizer);
    this.#decoder = createStreamDecoder(tokenizer, { skipSpecial: true });
    this.#parser = new OutputParser({ ...options, byId: this.#markers.values() });
  }

  get trace(): TraceState {
    return this.#parser.trace;
  }

  push(id: number): OutputEvent[] {
    const marker = this.#markers.get(id);
    if (marker === undefined) return this.#parser.push(this.#decoder.push(id));
    return [...this.#parser.push(this.#decoder.flush()), ...this.#parser.pushMarker(marker)];
  }

  finish(reason: "stop" | "length"): OutputEvent[] {
    return [...this.#parser.push(this.#decoder.flush()), ...this.#parser.finish(reason)];
  }
}

/** Ids of the markers that decoding would leave out. The others are found in the text. */
export function specialMarkers(tokenizer: Tokenizer): Map<number, Marker> {
  const markers = new Map<number, Marker>();
  for (const marker of MARKERS) {
    const id = tokenizer.idOf(marker);
    if (id !== undefined && tokenizer.isSpecial(id)) markers.set(id, marker);
  }
  return markers;
}
