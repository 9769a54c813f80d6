/**
 * The fetch() of one commit to the Hub. The library says nothing while a file is on its way and tells nobody what it has
 * hashed, but both go by here: bytes are counted as they are sent, and the hashes are seen before anything is.
 */
import { hubFetch } from "./hub-fetch.ts";

interface Watch {
  /** Bytes of a file that were sent since the last call; fewer than none when they must be sent again. */
  onBytes: (name: string, bytes: number) => void;
  /** SHA-256 and sizes of what is about to be uploaded. What it throws ends the commit before that. */
  onHashes: (objects: readonly { oid: string; size: number }[]) => void;
}

/** What the library says of the request for those who show progress. */
interface Hint {
  progressHint?: { path?: string };
}

export function uploadFetch({ onBytes, onHashes }: Watch): typeof fetch {
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (url.endsWith("/info/lfs/objects/batch") && typeof init?.body === "string")
      onHashes((JSON.parse(init.body) as { objects: { oid: string; size: number }[] }).objects);
    const path = (init as Hint | undefined)?.progressHint?.path;
    if (path === undefined || !(init?.body instanceof Blob)) return hubFetch(input, init);
    return hubFetch(input, { ...init, body: new CountedBlob(init.body, (bytes) => onBytes(path, bytes)) });
  };
}

/** Counts what is read of it. Read again, it counts from nothing. */
class CountedBlob extends Blob {
  readonly #inner: Blob;
  readonly #count: (bytes: number) => void;
  #counted = 0;

  constructor(inner: Blob, count: (bytes: number) => void) {
    super([]);
    Object.defineProperty(this, "size", { value: inner.size }); // that of the class is none of its parts'
    this.#inner = inner;
    this.#count = count;
  }

  override stream(): ReturnType<Blob["stream"]> {
    this.#count(-this.#counted);
    this.#counted = 0;
    const counter = new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, controller) => {
        this.#counted += bytes.length;
        this.#count(bytes.length);
        controller.enqueue(bytes);
      },
    });
    return this.#inner.stream().pipeThrough(counter as never) as ReturnType<Blob["stream"]>;
  }
}
