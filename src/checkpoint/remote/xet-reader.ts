/**
 * Ranges of files that the Hub keeps in Xet, through its own library: what the chunks of a file are, and in what they
 * are packed, is its business. HF_HUB_DISABLE_XET=1 reads them by plain ranges, which the Hub serves as well.
 */

import { hubToken } from "../node-hub.ts";
import { asFault, cutOff, faultOfStatus, RemoteFault, retrying } from "./client.ts";
import { hubFetch } from "./hub-fetch.ts";
import { hubEndpoint } from "./hub-settings.ts";

/** Of one window; four of them may be under way. */
const IN_FLIGHT = { maxConcurrency: 4, maxInFlightBytes: 64 << 20 };

export class XetReader {
  readonly #repo: string;
  readonly #commit: string;
  readonly #name: string;
  #blob: Promise<Blob> | undefined;

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
        try {
          const blob = await this.#open();
          const stream = blob
            .slice(offset, offset + into.length)
            .stream() as unknown as AsyncIterable<Uint8Array>;
          for await (const part of stream) {
            if (at + part.length > into.length) break;
            into.set(part, at);
            at += part.length;
          }
        } catch (error) {
          throw faultOfLibrary(error, place) ?? asFault(error, place, signal);
        }
        if (at < into.length) throw cutOff(place, at, into.length);
      },
      { signal },
    );
  }

  #open(): Promise<Blob> {
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
      ...{ fetch: hubFetch, parallelDownloads: IN_FLIGHT },
      ...(token === undefined ? {} : { accessToken: token }),
    });
    if (blob) return blob;
    throw new RemoteFault("missing", `Cannot read "${this.#name}" of "${this.#repo}": it is not there`);
  }
}

/** The library's errors have the status of the answer: trying again mends no refusal. */
function faultOfLibrary(error: unknown, url: string): RemoteFault | undefined {
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  return typeof status === "number" && status >= 400 ? faultOfStatus({ status, headers: {}, url }) : undefined;
}
