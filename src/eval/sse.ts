/**
 * Server-sent events from bytes, however they are cut: half a character, half a line end, several events at once.
 * Only `data` matters here. An event without its closing blank line counts at the end all the same: some servers
 * leave it out, and whether an answer is complete is decided by what it says.
 */

/** Most characters of one line. A chunk of an answer has a few hundred; a whole answer in one event still fits. */
export const MAX_LINE: number = 16 * 2 ** 20;

export class SseParser {
  readonly #decoder = new TextDecoder(); // leaves out a byte order mark, as the format wants
  #rest = "";
  #data: string[] = [];
  #length = 0;

  /** The events that these bytes complete. Throws RangeError for a line or an event that never ends. */
  push(bytes: Uint8Array): string[] {
    return this.#run(this.#decoder.decode(bytes, { stream: true }), false);
  }

  /** What is left when no more bytes come. */
  end(): string[] {
    const events = this.#run(this.#decoder.decode(), true);
    this.#close(events);
    return events;
  }

  #run(text: string, isEnd: boolean): string[] {
    const events: string[] = [];
    // A long line in many pieces is searched piece by piece, not from its start each time.
    const from = Math.max(0, this.#rest.length - 1);
    const all = this.#rest + text;
    const breaks = /\r\n|\r|\n/g;
    breaks.lastIndex = from;
    let start = 0;
    for (let found = breaks.exec(all); found; found = breaks.exec(all)) {
      // A carriage return at the end may be half a line end.
      if (found[0] === "\r" && breaks.lastIndex === all.length && !isEnd) break;
      this.#line(all.slice(start, found.index), events);
      start = breaks.lastIndex;
    }
    this.#rest = all.slice(start);
    if (isEnd && this.#rest !== "") {
      this.#line(this.#rest, events);
      this.#rest = "";
    }
    if (this.#rest.length > MAX_LINE) throw new RangeError(`a line is longer than ${MAX_LINE} characters`);
    return events;
  }

  #line(line: string, events: string[]): void {
    if (line === "") {
      this.#close(events);
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== "data") return; // a comment, a name, an id
    const value = colon < 0 ? "" : line.slice(colon + 1);
    const data = value.startsWith(" ") ? value.slice(1) : value;
    this.#length += data.length;
    if (this.#length > MAX_LINE) throw new RangeError(`an event is longer than ${MAX_LINE} characters`);
    this.#data.push(data);
  }

  #close(events: string[]): void {
    if (this.#data.length > 0) events.push(this.#data.join("\n"));
    this.#data = [];
    this.#length = 0;
  }
}
