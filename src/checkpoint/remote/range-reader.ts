/**
 * Ranges of one file on a server. Nothing is believed: an answer must be 206, begin where it was asked to, be of the
 * file's length, have its ETag, and bring every byte. What was cut off goes on from where it ended.
 */
import { CheckpointError } from "../../base/errors.ts";
import { printable } from "../shown.ts";
import {
  type Ask,
  asFault,
  cutOff,
  faultOfStatus,
  RemoteFault,
  type Reply,
  remoteClient,
  retrying,
  shownUrl,
} from "./client.ts";
import { header } from "./reply-headers.ts";

export interface RemoteFile {
  name: string;
  byteLength: number;
  /** Where it is asked for. */
  url: string;
  /** Made anew for each request: signatures know the time. */
  headers?: (ask: { url: string; method: string; headers: Record<string, string> }) => Record<string, string>;
  /** ETag of the content, where it is known; else the first answer's. */
  etag?: string | undefined;
  /** Last-Modified, where there is no ETag. */
  lastModified?: string | undefined;
  /** What the server that is asked says of the content (X-Linked-Etag), where redirects lead to others. */
  linkedEtag?: string | undefined;
  /** Explains a status better than its number does. */
  explain?: (reply: Pick<Reply, "status" | "headers" | "url">) => RemoteFault | undefined;
}

/** A URL that a redirect led to is asked directly for so long: signed ones last an hour at the least. */
const DIRECT_MS = 10 * 60_000;

/** A try that brings less is no progress: a server may break off after each byte for ever. */
export const PROGRESS_BYTES = 1024;
/** Of answers that are wrong and not merely cut off. */
const BAD_RETRIES = 3;

export class RangeReader {
  readonly file: RemoteFile;
  #etag: string | undefined;
  #direct: { url: string; until: number } | undefined;
  /** Bytes that were received, for reports. */
  received = 0;

  constructor(file: RemoteFile) {
    this.file = file;
    this.#etag = file.etag;
  }

  /** Fills `into` from `offset`. Throws CheckpointError. */
  async read(into: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> {
    if (into.length === 0) return;
    if (offset < 0 || offset + into.length > this.file.byteLength) {
      const ends = `it ends at byte ${this.file.byteLength}, wanted bytes up to ${offset + into.length}`;
      throw new CheckpointError("changed", `Cannot read ${this.#shown}: ${ends}`);
    }
    let done = 0;
    let before = 0;
    await retrying(
      async () => {
        before = done;
        await this.#some(into.subarray(done), offset + done, signal, (bytes) => {
          done += bytes;
          this.received += bytes;
        });
      },
      { hasProgress: () => done - before >= PROGRESS_BYTES, signal },
    );
  }

  get #shown(): string {
    return shownUrl(this.file.url);
  }

  async #some(
    into: Uint8Array,
    offset: number,
    signal: AbortSignal | undefined,
    onBytes: (bytes: number) => void,
  ): Promise<void> {
    const reply = await this.#ask(`bytes=${offset}-${offset + into.length - 1}`, signal);
    try {
      this.#check(reply, offset, into.length);
      let at = 0;
      for await (const part of reply.body) {
        if (at + part.length > into.length) {
          throw this.#bad(`it brought more than the ${into.length} bytes that were asked for`);
        }
        into.set(part, at);
        at += part.length;
        onBytes(part.length);
      }
      if (at < into.length) throw cutOff(this.file.url, at, into.length);
    } catch (error) {
      throw asFault(error, this.file.url, signal);
    } finally {
      reply.cancel();
    }
  }

  /** Asks where the last redirect led to, as long as that may be valid. */
  async #ask(range: string, signal: AbortSignal | undefined): Promise<Reply> {
    const direct = this.#direct;
    if (direct && performance.now() < direct.until) {
      const reply = await remoteClient()
        .send(direct.url, { headers: { range }, signal })
        .catch((error) => {
          this.#direct = undefined; // that server may be gone, and another take its place
          throw error;
        });
      if (reply.status === 206 || reply.status >= 500 || reply.status === 429) return reply;
      reply.cancel();
      this.#direct = undefined;
    }
    const { url } = this.file;
    const headers = { range };
    const ask: Ask = { headers: this.file.headers?.({ url, method: "GET", headers }) ?? headers, signal };
    const reply = await remoteClient().send(url, ask);
    if (new URL(reply.url).origin !== new URL(url).origin && reply.status === 206)
      this.#direct = { url: reply.url, until: performance.now() + DIRECT_MS };
    return reply;
  }

  #check(reply: Reply, offset: number, length: number): void {
    const { status, headers, firstHeaders } = reply;
    if (status === 200) {
      throw this.#bad("the server sends the whole file, wanted the range that was asked for");
    }
    if (status !== 206) throw this.file.explain?.(reply) ?? faultOfStatus(reply);
    const said = header(headers, "content-range") ?? "";
    const type = header(headers, "content-type") ?? "no range"; // several ranges at once say theirs in the body
    const [, from, to, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(said) ?? [];
    if (from === undefined || Number(from) !== offset || Number(to) !== offset + length - 1) {
      throw this.#bad(
        `it answers with "${printable(said || type)}", wanted bytes ${offset}-${offset + length - 1}`,
      );
    }
    if (total !== "*" && Number(total) !== this.file.byteLength) {
      throw this.#changed(`it has ${total} bytes now, and had ${this.file.byteLength}`);
    }
    const encoding = header(headers, "content-encoding") ?? "identity";
    if (encoding !== "identity")
      throw this.#bad(`it sends it as "${printable(encoding)}", wanted it as it is`);
    const bytes = header(headers, "content-length");
    if (bytes !== undefined && Number(bytes) !== length) {
      throw this.#bad(`it announces ${bytes} bytes, wanted ${length}`);
    }
    const linked = header(firstHeaders, "x-linked-etag");
    if (this.file.linkedEtag !== undefined && linked !== undefined && bare(linked) !== this.file.linkedEtag) {
      throw this.#changed(`its content is ${printable(bare(linked))} now, and was ${this.file.linkedEtag}`);
    }
    const { lastModified } = this.file;
    const modified = header(headers, "last-modified");
    if (lastModified !== undefined && modified !== undefined && modified !== lastModified)
      throw this.#changed(`it is of ${printable(modified)} now, and was of ${printable(lastModified)}`);
    const etag = header(headers, "etag");
    if (etag === undefined) {
      if (this.#etag !== undefined) throw this.#bad(`it tells no ETag, wanted ${this.#etag}`);
      return;
    }
    this.#etag ??= etag;
    if (bare(etag) !== bare(this.#etag))
      throw this.#changed(`its ETag is ${printable(etag)} now, and was ${printable(this.#etag)}`);
  }

  #bad(what: string): RemoteFault {
    return new RemoteFault("bad-answer", `Cannot read ${this.#shown}: ${what}`, {
      isPassing: true, // one of many servers behind a name may be to blame
      retries: BAD_RETRIES,
      note: "A server or proxy on the way answers ranges wrongly; fetch the files whole, or ask without the proxy",
    });
  }

  #changed(what: string): CheckpointError {
    return new CheckpointError("changed", `Cannot go on reading ${this.#shown}: ${what}, wanted no change`, {
      note: "A parent must not change while it is read; plan again when it is complete",
    });
  }
}

/** An ETag without quotes and the mark of weakness. */
export function bare(etag: string): string {
  return etag.replace(/^W\//, "").replace(/^"(.*)"$/, "$1");
}
