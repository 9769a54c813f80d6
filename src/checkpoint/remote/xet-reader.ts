/**
 * Ranges of files that the Hub keeps in Xet, through its own library: what the chunks of a file are, and in what they
 * are packed, is its business. HF_HUB_DISABLE_XET=1 reads them by plain ranges, which the Hub serves as well.
 */

import { hubToken } from "../node-hub.ts";
import { asFault, cutOff, faultOfStatus, RemoteFault, retrying } from "./client.ts";
import { hubFetch } from "./hub-fetch.ts";
import { hubEndpoint } from "./hub-settings.ts";
import { lastingSignal, linkedSignal, stopped } from "./stoppable.ts";

/** Of one window, beside the window itself. Several of them are under way, so each has few requests. */
const IN_FLIGHT = { maxConcurrency: 2, maxInFlightBytes: 16 << 20 };

export class XetReader {
  readonly #repo: string;
  readonly #commit: string;
  readonly #name: string;
  #blob: Promise<Blob> | undefined;
  /** Of the reads, which all end together. */
  #signal: AbortSignal | undefined;

  constructor(repo: string, { commit, name }: { commit: string; name: string }) {
    this.#repo = repo;
    this.#commit = commit;
    this.#name = name;
  }

  async read(into: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> {
    const place = `${hubEndpoint()}/${this.#repo}/${this.#name}`;
    await retrying(
      async () => {
        let at = 0;
        const link = linkedSignal(signal);
        try {
          const blob = await this.#open(signal);
          const stream = blob.slice(offset, offset + into.length).stream() as ReadableStream<Uint8Array>;
          for await (const part of untilStopped(stream, link.signal)) {
            if (at + part.length > into.length) break;
            into.set(part, at);
            at += part.length;
          }
        } catch (error) {
          throw faultOfLibrary(error, place) ?? asFault(error, place, link.signal);
        } finally {
          link.release();
        }
        if (at < into.length) throw cutOff(place, at, into.length);
      },
      { signal },
    );
  }

  readonly #fetch: typeof fetch = (input, init) => {
    const signal = lastingSignal(this.#signal, init?.signal ?? undefined);
    return hubFetch(input, { ...init, ...(signal ? { signal } : {}) });
  };

  #open(signal: AbortSignal | undefined): Promise<Blob> {
    this.#signal = signal;
    this.#blob ??= this.#load().catch((error) => {
      this.#blob = undefined;
      throw error;
    });
    return this.#blob;
  }

  async #load(): Promise<Blob> {
    const { downloadFile } = await import("@huggingface/hub");
    const token = hubToken();
    const blob = await downloadFile({
      ...{ repo: this.#repo, path: this.#name, revision: this.#commit, hubUrl: hubEndpoint() },
      ...{ fetch: this.#fetch, parallelDownloads: IN_FLIGHT },
      ...(token === undefined ? {} : { accessToken: token }),
    });
    if (blob) return blob;
    throw new RemoteFault("missing", `Cannot read "${this.#name}" of "${this.#repo}": it is not there`);
  }
}

/** The library goes on with what it has begun; nobody need wait for it. */
async function* untilStopped(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  let stop = () => {};
  const stopping = new Promise<never>((_, reject) => {
    stop = () => reject(stopped());
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop);
  });
  stopping.catch(() => {}); // it may come when nobody waits
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), stopping]);
      if (done) return;
      yield value;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    reader.cancel().catch(() => {});
  }
}

/** The library's errors have the status of the answer: trying again mends no refusal. */
function faultOfLibrary(error: unknown, url: string): RemoteFault | undefined {
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  return typeof status === "number" && status >= 400
    ? faultOfStatus({ status, headers: {}, url })
    : undefined;
}
