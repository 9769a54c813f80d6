/**
 * Where bytes come from and go to. Everything above this layer reads through a Source and writes through
 * a Sink and never learns what is behind: a folder, a repository of the Hub, a web server, an object store.
 */

/** One readable file of a store. */
export interface Source {
  /** Its name within the store, for messages. */
  readonly name: string;
  readonly byteLength: number;
  /**
   * Changes when the content may have changed: size and modification time of a file, an ETag elsewhere.
   * Compared as text.
   */
  readonly identity: string;
  /** Its store tells no version: a change that keeps the length goes unseen. */
  readonly isUnversioned?: boolean;
  /**
   * Reads must begin and end at multiples of this, in the source and in memory; 1: anywhere. A last read may
   * go on beyond the source's end: what is there is filled.
   */
  readonly alignment: number;
  /** Whether it is read past the system's cache, where that was asked for. */
  readonly isDirect?: boolean;
  /** SHA-256 of the whole content in hex, where the store tells one. */
  readonly sha256?: string | undefined;
  /**
   * What will be read, as far as the reader knows: a remote source fetches neighbours together and ahead. Others have
   * no use for it.
   */
  expect?(extents: readonly { offset: number; byteLength: number }[]): void;
  /** Fills `into` completely from `offset` (which may exceed 2^32) or throws CheckpointError. */
  read(into: Uint8Array, offset: number): Promise<void>;
  /** Throws CheckpointError when the content is not the one that was opened. */
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

export interface StoreEntry {
  name: string;
  byteLength: number;
}

/** A flat set of named files to read: a checkpoint's folder. */
export interface Store {
  /** Where it lies, in a form that openStore() takes, also on another thread. */
  readonly location: string;
  /** Short name for people: the last part of the location. */
  readonly label: string;
  /** Its files; folders are left out. */
  list(): Promise<StoreEntry[]>;
  /**
   * Throws CheckpointError "missing" when there is none. `direct`: past the system's cache where the store
   * can, for data that a cache of the caller's own keeps; reads must then be aligned.
   */
  open(name: string, options?: { direct?: boolean }): Promise<Source>;
  /** A whole small file; undefined when there is none. Throws above `limitBytes`. */
  readSmall(name: string, limitBytes?: number): Promise<Uint8Array | undefined>;
}

/** One file being written. Its name appears only when it is complete. */
export interface Sink {
  readonly name: string;
  /** Bytes that went past the system's cache, where that was asked for. */
  readonly directBytes?: number;
  write(bytes: Uint8Array, offset: number): Promise<void>;
  /** Reads back what was written. */
  read(into: Uint8Array, offset: number): Promise<void>;
  /** Makes the content durable under its temporary name. */
  flush(): Promise<void>;
  /** Gives the flushed file its name, atomically. `checkpoint` is called now and then where that takes long; throws to stop. */
  publish(options?: { checkpoint?: (() => void) | undefined }): Promise<void>;
  /** Removes what was written, unless published. Safe to call twice. */
  discard(): Promise<void>;
}

/** Within a folder that is being made: the state of the work on it. */
export const STATE_FOLDER = ".chimera";

/** A folder that is being made. Names starting with ".chimera/" hold the state of a build. */
export interface OutputStore extends Store {
  /** Where files are put together that then leave this machine: no more of them lie on its disk than are in work. */
  readonly staging?: string;
  /** Throws BuildError "not-a-folder" where no folder is and none can be made. Changes nothing. */
  checkPlace(): Promise<void>;
  /** What list() leaves out: folders, dead links, pipes. The state folder is not among them. */
  strangers(): Promise<string[]>;
  /** Makes the folder, and that of the state, where they are missing. */
  prepare(): Promise<void>;
  /** A sink of exactly `byteLength` bytes under a temporary name of its own. `direct`: past the system's cache if it can. */
  create(name: string, byteLength: number, options?: { direct?: boolean }): Promise<Sink>;
  /** Writes a small file: temporary name, flush, rename. */
  writeSmall(name: string, bytes: Uint8Array): Promise<void>;
  /** Makes a file that must not exist yet; false when it does. Atomic: the base of locks. */
  claim(name: string, text: string): Promise<boolean>;
  remove(name: string): Promise<void>;
  /** Names under a prefix such as ".chimera/", and temporary ones with it. */
  listUnder(prefix: string): Promise<StoreEntry[]>;
  /** Removes the build's state folder and all in it; the folder too when prepare() made it and nothing is there. */
  removeState(): Promise<void>;
  /** Free bytes for an ordinary user; undefined when the store cannot tell. */
  freeBytes(): Promise<number | undefined>;
}
