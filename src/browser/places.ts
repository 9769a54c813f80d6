/**
 * The places of a page: which location has which store. Locations look like paths ("/models/mini-v3"), so that
 * recipes name parents as they do on a disk. Threads get a copy of the table; what was fetched is not fetched again.
 */
import { CheckpointError } from "../base/errors.ts";
import type { Store } from "../checkpoint/source.ts";
import { breathe } from "./breathe.ts";
import { HttpStore } from "./http-store.ts";
import { KeptStore } from "./kept-store.ts";
import { MemoryStore } from "./memory-store.ts";
import type { ListedFile, ModelsFile } from "./models-file.ts";
import { resolve } from "./shims/path.ts";

const places = new Map<string, Store>();

/** For another thread, as plain data with shared memory. */
export type PlaceCopy = { location: string } & (
  | { kind: "http"; url: string; files: ListedFile[]; cached: ReadonlyMap<string, SharedArrayBuffer> }
  | { kind: "memory"; files: ReadonlyMap<string, SharedArrayBuffer> }
  | { kind: "kept" }
);

/** Adds what a list of models names; `base`: URL of the list. */
export function addModels({ checkpoints }: ModelsFile, base: string): void {
  for (const { location, url, files } of checkpoints) {
    const place = resolve(location);
    places.set(place, new HttpStore(place, { url: new URL(url, base).href, files, pause: breathe }));
  }
}

/** Adds a store under its location, or puts it in the place of another. */
export function addPlace(store: Store): void {
  places.set(store.location, store);
}

export function removePlace(location: string): void {
  places.delete(resolve(location));
}

export function placeAt(location: string): Store | undefined {
  return places.get(resolve(location));
}

export function allPlaces(): Store[] {
  return [...places.values()];
}

/** An empty folder in memory, under a location that may be new. */
export function addFolder(location: string): MemoryStore {
  const store = new MemoryStore(resolve(location), { pause: breathe });
  addPlace(store);
  return store;
}

/** Throws CheckpointError "missing" and names what there is. */
export function requirePlace(location: string): Store {
  const store = placeAt(location);
  if (store) return store;
  const known = [...places.keys()].map((name) => `"${name}"`).join(", ");
  const note = known === "" ? {} : { note: `There are ${known}` };
  throw new CheckpointError("missing", `Cannot open "${location}": no checkpoint has this place`, note);
}

export function copyPlaces(): PlaceCopy[] {
  return allPlaces().flatMap((store): PlaceCopy[] => {
    const { location } = store;
    if (store instanceof MemoryStore) return [{ location, kind: "memory", files: store.files }];
    if (store instanceof KeptStore) return [{ location, kind: "kept" }];
    if (!(store instanceof HttpStore)) return [];
    const { url, files, cached } = store;
    return [{ location, kind: "http", url, files: [...files.values()], cached }];
  });
}

/** In a thread: has the same places as the one that has sent them. */
export function restorePlaces(copies: readonly PlaceCopy[]): void {
  for (const copy of copies) {
    const { location, kind } = copy;
    if (kind === "memory") addPlace(new MemoryStore(location, copy));
    else addPlace(kind === "kept" ? new KeptStore(location) : new HttpStore(location, copy));
  }
}
