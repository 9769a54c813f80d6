/**
 * A prefix of a bucket as a store. An object is read by ranges, each of which names the version that was opened (If-Match),
 * so that no two versions get mixed.
 */
import { CheckpointError } from "../../base/errors.ts";
import { printable } from "../shown.ts";
import type { Source, Store, StoreEntry } from "../source.ts";
import { RemoteFault, silenceMs } from "./client.ts";
import { PulledList } from "./pulled-list.ts";
import { bare, PROGRESS_BYTES, type RangeReader } from "./range-reader.ts";
import { remoteName } from "./remote-name.ts";
import { RemoteSource } from "./remote-source.ts";
import { flowing } from "./reply-body.ts";
import { keyOf, notS3, parseS3Place, type S3Place, s3Location, s3Retrying, statusOf } from "./s3-client.ts";

interface Known {
  byteLength: number;
  etag: string;
}

export interface S3Listing {
  files: (StoreEntry & { etag: string })[];
  /** Names of folders below. */
  folders: string[];
}

/** Pages of a listing; each has a thousand entries. */
const MOST_PAGES = 1000;
const MOST_NAMES = 1_000_000;
const BAD_RETRIES = 3;

/** Objects of a bucket whose keys begin with a text, up to the next slash. */
export async function listObjects(
  { bucket }: S3Place,
  start: string,
  { isDeep = false }: { isDeep?: boolean } = {},
): Promise<S3Listing> {
  const work = { verb: "list", location: `s3://${bucket}/${start}` };
  const [files, folders]: [S3Listing["files"], string[]] = [[], []];
  const tokens = new Set<string>();
  for (let token: string | undefined; ; ) {
    const answer = await s3Retrying(
      ({ sdk, client }) =>
        client.send(
          new sdk.ListObjectsV2Command({
            ...{ Bucket: bucket, Prefix: start },
            ...(isDeep ? {} : { Delimiter: "/" }),
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      work,
    );
    if (answer.Name === undefined && answer.KeyCount === undefined)
      throw notS3(work, "its answer is no listing, wanted S3's");
    for (const { Key, Size, ETag } of answer.Contents ?? []) {
      if (Key === undefined || Size === undefined || Key.endsWith("/")) continue; // a console's mark of a folder
      files.push({ name: Key.slice(start.length), byteLength: Size, etag: bare(ETag ?? "") });
    }
    for (const { Prefix } of answer.CommonPrefixes ?? []) {
      if (Prefix !== undefined) folders.push(Prefix.slice(start.length, -1));
    }
    token = answer.IsTruncated ? answer.NextContinuationToken : undefined;
    if (token === undefined) return { files, folders };
    const read = `${files.length + folders.length} names on ${tokens.size + 1} pages`;
    if (tokens.has(token)) throw notS3(work, `it leads back to a page that was read, behind ${read}`);
    tokens.add(token);
    if (tokens.size >= MOST_PAGES || files.length + folders.length > MOST_NAMES)
      throw notS3(work, `it goes on behind ${read}, wanted a folder of a checkpoint`);
  }
}

export class S3Store implements Store {
  readonly location: string;
  readonly label: string;
  readonly place: S3Place;
  readonly #only: string | undefined;
  readonly #pulled: PulledList = new PulledList(this);
  /** From the listing, so that opening asks nothing. */
  readonly #known = new Map<string, Known>();

  /** `only`: the one file that there is. Throws CheckpointError "bad-url". */
  constructor(location: string, { only }: { only?: string | undefined } = {}) {
    this.place = parseS3Place(location);
    this.location = s3Location(this.place);
    this.label = this.place.prefix.split("/").at(-1) || this.place.bucket;
    this.#only = only;
  }

  async list(): Promise<StoreEntry[]> {
    const { files } = await listObjects(this.place, keyOf(this.place, ""));
    const some = files.filter(({ name }) => this.#only === undefined || name === this.#only);
    if (some.length === 0) {
      const what = `Cannot open "${printable(this.location)}": no object lies there, wanted a checkpoint`;
      throw new CheckpointError("missing", what);
    }
    for (const { name, byteLength, etag } of some) this.#known.set(name, { byteLength, etag });
    return some.map(({ name, byteLength }) => ({ name, byteLength }));
  }

  async open(name: string): Promise<Source> {
    const location = this.#locationOf(name);
    const known = this.#known.get(name) ?? (await headObject(this.place, this.#keyOf(name)));
    if (!known) throw new CheckpointError("missing", `Cannot open "${printable(location)}": it is not there`);
    const source = openObject({ place: this.place, key: this.#keyOf(name), name, known });
    return this.#pulled.guard(source, location);
  }

  async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    return readObject(this.place, this.#keyOf(name), limitBytes);
  }

  #keyOf(name: string): string {
    remoteName(name, this.location); // an index may come from strangers
    return keyOf(this.place, name);
  }

  #locationOf(name: string): string {
    return `s3://${this.place.bucket}/${this.#keyOf(name)}`;
  }
}

/** Length and version of an object; undefined when there is none. */
export async function headObject({ bucket }: S3Place, key: string): Promise<Known | undefined> {
  const work = { verb: "read", location: `s3://${bucket}/${key}` };
  try {
    const answer = await s3Retrying(
      ({ sdk, client }) => client.send(new sdk.HeadObjectCommand({ Bucket: bucket, Key: key })),
      work,
    );
    if (answer.ContentLength === undefined || answer.ETag === undefined)
      throw notS3(work, "it tells neither length nor ETag, wanted both");
    return { byteLength: answer.ContentLength, etag: bare(answer.ETag) };
  } catch (error) {
    if (error instanceof RemoteFault && error.code === "missing" && error.status === 404) return undefined;
    throw error;
  }
}

/** A whole small object; undefined when there is none. */
export async function readObject(
  { bucket }: S3Place,
  key: string,
  limitBytes: number,
): Promise<Uint8Array | undefined> {
  const work = { verb: "read", location: `s3://${bucket}/${key}` };
  try {
    return await s3Retrying(async ({ sdk, client }) => {
      const answer = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: key }));
      const { ContentLength: length, ETag, Body } = answer;
      const body = Body as ObjectBody | undefined;
      if (length === undefined || ETag === undefined || !body) {
        body?.destroy();
        throw notS3(work, "it tells neither length nor ETag, wanted both");
      }
      if (length > limitBytes) {
        body.destroy();
        const what = `it holds ${length} bytes, wanted at most ${limitBytes}`;
        throw new CheckpointError("too-large", `Cannot read "${printable(work.location)}": ${what}`);
      }
      const bytes = new Uint8Array(length);
      requireAll(await fill(bytes, 0, flowOf(body, work.location)), length, work.location);
      return bytes;
    }, work);
  } catch (error) {
    const isGone = error instanceof RemoteFault && error.code === "missing" && error.status === 404;
    if (isGone && !error.message.includes("bucket")) return undefined;
    throw error;
  }
}

type ObjectBody = AsyncIterable<Uint8Array> & { destroy(error?: Error): unknown };

function flowOf(body: ObjectBody, location: string): AsyncIterable<Uint8Array> {
  return flowing(body, { url: location, silenceMs: silenceMs() });
}

/** Bytes that a body brought, from `done` on. */
async function fill(into: Uint8Array, done: number, body: AsyncIterable<Uint8Array>): Promise<number> {
  let at = done;
  for await (const part of body) {
    if (at + part.length > into.length) return at + part.length;
    into.set(part, at);
    at += part.length;
  }
  return at;
}

function requireAll(done: number, wanted: number, location: string): void {
  if (done === wanted) return;
  const what = `Cannot read "${printable(location)}": ${done} bytes came, wanted ${wanted}`;
  throw new RemoteFault("unreachable", what, { isPassing: true });
}

/** An object as a source. `url` of its file is for messages. */
export function openObject({
  place,
  key,
  name,
  known,
}: {
  place: S3Place;
  key: string;
  name: string;
  known: Known;
}): Source {
  const location = `s3://${place.bucket}/${key}`;
  const { byteLength, etag } = known;
  return new RemoteSource({
    file: { name, byteLength, url: location },
    identity: `${byteLength}:${etag}`,
    reader: new ObjectReader({ bucket: place.bucket, key, location, known }),
    checkUnchanged: async () => {
      const now = await headObject(place, key);
      if (now?.byteLength === byteLength && now.etag === etag) return;
      throw changed(location, now ? `${now.byteLength}:${now.etag}` : "gone", `${byteLength}:${etag}`);
    },
  });
}

function changed(location: string, is: string, was: string): CheckpointError {
  const what = `length and ETag were ${was} and are ${is}, wanted no change`;
  return new CheckpointError("changed", `Cannot go on reading "${printable(location)}": ${what}`, {
    note: "A parent must not change while it is read; plan again when it is complete",
  });
}

interface ObjectToRead {
  bucket: string;
  key: string;
  location: string;
  known: Known;
}

/** Ranges of one object, of the version that was opened. What was cut off goes on from where it ended. */
class ObjectReader implements Pick<RangeReader, "read"> {
  readonly #object: ObjectToRead;

  constructor(object: ObjectToRead) {
    this.#object = object;
  }

  async read(into: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> {
    const { bucket, key, location, known } = this.#object;
    if (signal?.aborted) throw new Error(`internal: "${location}" was read after it was closed`);
    if (into.length === 0) return;
    const { byteLength, etag } = known;
    if (offset + into.length > byteLength) {
      const ends = `it ends at byte ${byteLength}, wanted ${offset + into.length - byteLength} more`;
      throw new CheckpointError("changed", `Cannot read "${printable(location)}": ${ends}`);
    }
    let [done, before] = [0, 0];
    const work = {
      ...{ verb: "read", location, signal },
      hasProgress: () => {
        const has = done - before >= PROGRESS_BYTES || (done > before && done === into.length);
        before = done;
        return has;
      },
    };
    await s3Retrying(async ({ sdk, client }) => {
      const from = offset + done;
      const to = offset + into.length;
      const request = { Bucket: bucket, Key: key, Range: `bytes=${from}-${to - 1}`, IfMatch: `"${etag}"` };
      const answer = await client
        .send(new sdk.GetObjectCommand(request), signal ? { abortSignal: signal } : {})
        .catch((error) => {
          if (statusOf(error) === 412) throw changed(location, "others", `${byteLength}:${etag}`);
          throw error;
        });
      const body = answer.Body as ObjectBody | undefined;
      try {
        if (answer.ContentRange !== `bytes ${from}-${to - 1}/${byteLength}` || !body) {
          const said = answer.ContentRange ?? "the whole object";
          throw new RemoteFault(
            "bad-answer",
            `Cannot read "${printable(location)}": it answers with ${printable(said)}, wanted bytes ${from}-${to - 1}`,
            { isPassing: true, retries: BAD_RETRIES },
          );
        }
        for await (const part of flowOf(body, location)) {
          if (done + part.length > into.length) break;
          into.set(part, done);
          done += part.length;
        }
      } finally {
        body?.destroy();
      }
      requireAll(done, into.length, location);
    }, work);
  }
}
