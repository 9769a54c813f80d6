/**
 * A prefix of a bucket as a place to build in. An object appears whole or not at all, so a shard is put together in a
 * folder of this machine, uploaded when it is finished, and gone from here then. The state of the build lies below the
 * prefix like everything else: parts on many machines share it.
 *
 * Locks need "make it unless it is there" (If-None-Match: *), which stores without it refuse or, worse, ignore: that is
 * tried once before anything is written.
 */

import { CheckpointError } from "../../base/errors.ts";
import { mapLimited } from "../../base/map-limited.ts";
import { openStaging, removeEmptyStaging } from "../node-staging.ts";
import { printable } from "../shown.ts";
import { type OutputStore, type Sink, type Source, STATE_FOLDER, type StoreEntry } from "../source.ts";
import { RemoteFault } from "./client.ts";
import { keyOf, s3Retrying, statusOf } from "./s3-client.ts";
import { headObject, listObjects, openObject, readObject, S3Store } from "./s3-store.ts";
import { abortUpload, pendingUploads, uploadObject } from "./s3-upload.ts";

const DELETING = 8;
const STAGED = ".staged.tmp";
const decoder = new TextDecoder();

export class S3Output extends S3Store implements OutputStore {
  readonly #inner: OutputStore;

  /** `staging`: the folder of this machine below which shards are put together. */
  constructor(location: string, { staging }: { staging?: string | undefined } = {}) {
    super(location);
    this.#inner = openStaging(this.location, staging);
  }

  /** Where shards are put together. */
  get staging(): string {
    return this.#inner.location;
  }

  override async list(): Promise<StoreEntry[]> {
    const { files } = await listObjects(this.place, keyOf(this.place, ""));
    return files.map(({ name, byteLength }) => ({ name, byteLength }));
  }

  override async open(name: string): Promise<Source> {
    const key = this.#key(name);
    const known = await headObject(this.place, key);
    if (known) return openObject({ place: this.place, key, name, known });
    throw new CheckpointError("missing", `Cannot open "${this.#shown(name)}": it is not there`);
  }

  override async readSmall(name: string, limitBytes = 50_000_000): Promise<Uint8Array | undefined> {
    return readObject(this.place, this.#key(name), limitBytes);
  }

  async checkPlace(): Promise<void> {
    await listObjects(this.place, keyOf(this.place, `${STATE_FOLDER}/`));
    await this.#inner.checkPlace();
  }

  async strangers(): Promise<string[]> {
    const { folders } = await listObjects(this.place, keyOf(this.place, ""));
    return folders.filter((name) => name !== STATE_FOLDER);
  }

  async prepare(): Promise<void> {
    await this.#inner.prepare();
    await this.#requireClaims();
  }

  /** A store that takes a second claim lets two builds write at once. */
  async #requireClaims(): Promise<void> {
    const name = `${STATE_FOLDER}/claim-${process.pid}-${Math.random().toString(36).slice(2, 10)}`;
    const isFirst = await this.claim(name, "1");
    const isSecond = await this.claim(name, "2");
    await this.remove(name);
    if (isFirst && !isSecond) return;
    const what = "the store ignores If-None-Match, wanted one that honours it";
    throw new CheckpointError("bad-answer", `Cannot build in "${printable(this.location)}": ${what}`, {
      note: "Without it two builds could write at once. Build in a folder, and copy the child",
    });
  }

  async create(name: string, byteLength: number, options: { direct?: boolean } = {}): Promise<Sink> {
    await this.#inner.remove(name); // of a process that was killed while it uploaded it
    return new S3Sink(await this.#inner.create(name, byteLength, options), {
      staging: this.#inner,
      send: (source, checkpoint) => uploadObject(this.place, this.#key(name), { source, checkpoint }),
    });
  }

  async writeSmall(name: string, bytes: Uint8Array): Promise<void> {
    await this.#put(name, bytes);
  }

  async claim(name: string, text: string): Promise<boolean> {
    return this.#put(name, new TextEncoder().encode(text), { isNew: true });
  }

  /** False when it must not be there and is. */
  async #put(name: string, bytes: Uint8Array, { isNew = false } = {}): Promise<boolean> {
    const work = { verb: "write", location: this.#shown(name) };
    return s3Retrying(async ({ sdk, client }, again) => {
      try {
        await client.send(
          new sdk.PutObjectCommand({
            ...{ Bucket: this.place.bucket, Key: this.#key(name), Body: bytes, ContentLength: bytes.length },
            ...(isNew ? { IfNoneMatch: "*" } : {}),
          }),
        );
        return true;
      } catch (error) {
        if (!isNew || statusOf(error) !== 412) {
          // Two at once: one of them is told to try again.
          if (isNew && statusOf(error) === 409)
            throw new RemoteFault("unreachable", `Cannot write "${work.location}": another is writing it`, {
              isPassing: true,
            });
          throw error;
        }
        // The answer to an earlier try may have got lost: then what is there is ours.
        const there = again > 0 ? await this.readSmall(name) : undefined;
        return there !== undefined && decoder.decode(there) === decoder.decode(bytes);
      }
    }, work);
  }

  async remove(name: string): Promise<void> {
    const temporary = /^\.chimera\/(.+)\.tmp$/.exec(name);
    if (temporary) return this.#removeTemporary(name);
    const work = { verb: "delete", location: this.#shown(name) };
    const Key = this.#key(name);
    await s3Retrying(async ({ sdk, client }) => {
      await client.send(new sdk.DeleteObjectCommand({ Bucket: this.place.bucket, Key }));
    }, work);
  }

  async #removeTemporary(name: string): Promise<void> {
    if (name.endsWith(STAGED)) return this.#inner.remove(name.slice(STATE_FOLDER.length + 1, -STAGED.length));
    const upload = /^\.chimera\/(.+)\.upload-([\w-]+)\.tmp$/.exec(name);
    if (!upload) return this.#inner.remove(name);
    const id = Buffer.from(upload[2]!, "base64url").toString();
    await abortUpload(this.place, this.#key(upload[1]!), id);
  }

  async listUnder(prefix: string): Promise<StoreEntry[]> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    const { files } = await listObjects(this.place, keyOf(this.place, prefix));
    const entries = files.map(({ name, byteLength }) => ({ name: prefix + name, byteLength }));
    if (folder === `${STATE_FOLDER}/`) entries.push(...(await this.#temporaries(prefix)));
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** What is here on its way there, under the names of temporary files. */
  async #temporaries(prefix: string): Promise<StoreEntry[]> {
    const found = await this.#inner.listUnder(`${STATE_FOLDER}/`);
    for (const { name, byteLength } of await this.#inner.list())
      found.push({ name: `${STATE_FOLDER}/${name}${STAGED}`, byteLength });
    for (const { key, id } of await pendingUploads(this.place, keyOf(this.place, ""))) {
      const name = key.slice(keyOf(this.place, "").length);
      if (name.includes("/")) continue;
      const text = Buffer.from(id).toString("base64url");
      found.push({ name: `${STATE_FOLDER}/${name}.upload-${text}.tmp`, byteLength: 0 });
    }
    return found.filter(({ name }) => name.startsWith(prefix));
  }

  async removeState(): Promise<void> {
    const start = keyOf(this.place, `${STATE_FOLDER}/`);
    const { files } = await listObjects(this.place, start, { isDeep: true });
    // What marks the place as a build's goes last.
    const [marks, others] = [true, false].map((isMark) =>
      files.filter(({ name }) => (name === "state.json") === isMark),
    );
    await mapLimited(others!, DELETING, ({ name }) => this.remove(`${STATE_FOLDER}/${name}`));
    for (const { name } of marks!) await this.remove(`${STATE_FOLDER}/${name}`);
    await this.#inner.removeState();
    removeEmptyStaging(this.#inner);
  }

  /** Of the folder in which shards are put together: the store has room. */
  freeBytes(): Promise<number | undefined> {
    return this.#inner.freeBytes();
  }

  #key(name: string): string {
    return keyOf(this.place, name);
  }

  #shown(name: string): string {
    return printable(`s3://${this.place.bucket}/${this.#key(name)}`);
  }
}

interface Sending {
  staging: OutputStore;
  send: (source: Source, checkpoint: (() => void) | undefined) => Promise<void>;
}

class S3Sink implements Sink {
  readonly name: string;
  readonly #inner: Sink;
  readonly #staging: OutputStore;
  readonly #send: Sending["send"];
  #isStaged = false;

  constructor(inner: Sink, { staging, send }: Sending) {
    this.name = inner.name;
    this.#inner = inner;
    this.#staging = staging;
    this.#send = send;
  }

  get directBytes(): number {
    return this.#inner.directBytes ?? 0;
  }

  write(bytes: Uint8Array, offset: number): Promise<void> {
    return this.#inner.write(bytes, offset);
  }

  read(into: Uint8Array, offset: number): Promise<void> {
    return this.#inner.read(into, offset);
  }

  flush(): Promise<void> {
    return this.#inner.flush();
  }

  async publish(options: { checkpoint?: (() => void) | undefined } = {}): Promise<void> {
    await this.#inner.publish();
    this.#isStaged = true;
    const source = await this.#staging.open(this.name);
    try {
      await this.#send(source, options.checkpoint);
    } finally {
      await source.close();
    }
    await this.discard();
  }

  async discard(): Promise<void> {
    if (this.#isStaged) await this.#staging.remove(this.name);
    this.#isStaged = false;
    await this.#inner.discard();
  }
}
