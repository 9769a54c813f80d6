/**
 * A folder that holds parts of a checkpoint may be served, copied into a bucket, or put on the Hub by other tools: its
 * list of what was pulled goes along, and holds there as it does here. No hole is ever read as zeros.
 */
import { PULLED_NAME, type PulledRecord, parsePulled, requirePulled } from "../pulled.ts";
import type { Source, Store } from "../source.ts";
import { RemoteFault } from "./client.ts";

/** Of a hundred thousand runs in each of many shards. */
const MOST_BYTES = 200_000_000;

export class PulledList {
  readonly #store: Pick<Store, "readSmall">;
  #record: Promise<PulledRecord | undefined> | undefined;

  constructor(store: Pick<Store, "readSmall">) {
    this.#store = store;
  }

  /** The source, or one that refuses to read holes. `location`: for messages. */
  async guard(source: Source, location: string): Promise<Source> {
    if (!source.name.endsWith(".safetensors")) return source;
    this.#record ??= this.#read(location).catch((error) => {
      this.#record = undefined;
      throw error;
    });
    const shards = (await this.#record)?.shards ?? {};
    const runs = Object.hasOwn(shards, source.name) ? shards[source.name] : undefined;
    return runs ? guarded(source, runs) : source;
  }

  async #read(location: string): Promise<PulledRecord | undefined> {
    let bytes: Uint8Array | undefined;
    try {
      bytes = await this.#store.readSmall(PULLED_NAME, MOST_BYTES);
    } catch (error) {
      // Stores that may not be listed answer so for what is not there, and a signature is good for one file.
      if (!(error instanceof RemoteFault) || error.code !== "not-authorised") throw error;
    }
    if (bytes === undefined || isPage(bytes)) return undefined;
    return parsePulled(new TextDecoder().decode(bytes), `${PULLED_NAME} beside ${location}`);
  }
}

/** Some servers answer with a page for whatever is not there. */
function isPage(bytes: Uint8Array): boolean {
  return /^\s*</.test(new TextDecoder().decode(bytes.subarray(0, 100)));
}

function guarded(source: Source, runs: readonly [number, number][]): Source {
  const { name, byteLength, identity, alignment, sha256, isUnversioned } = source;
  return {
    ...{ name, byteLength, identity, alignment, sha256 },
    ...(isUnversioned ? { isUnversioned } : {}),
    expect: (extents) => source.expect?.(extents),
    read: async (into, offset) => {
      requirePulled(runs, { offset, byteLength: into.length, name });
      await source.read(into, offset);
    },
    checkUnchanged: () => source.checkUnchanged(),
    close: () => source.close(),
  };
}
