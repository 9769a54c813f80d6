/** From a location to its store, in a page: instead of src/checkpoint/stores.ts. */
import { BuildError } from "../../../base/errors.ts";
import type { OpenOptions } from "../../../checkpoint/checkpoint.ts";
import type { OutputStore, Store } from "../../../checkpoint/source.ts";
import { MemoryStore } from "../../memory-store.ts";
import { placeAt, requirePlace } from "../../places.ts";
import { basename, dirname } from "../../shims/path.ts";

export function openStore(location: string): Store {
  return requirePlace(location);
}

/** What a page has does not change. */
export async function pinnedLocation(location: string): Promise<string> {
  return location;
}

export async function requireLocation(location: string): Promise<void> {
  requirePlace(location);
}

/** A page knows what was given to it. */
export function isHubPlace(_text: string): boolean {
  return false;
}

/** The folder must have been added: addFolder(). */
export function openOutput(location: string): OutputStore {
  const store = requirePlace(location);
  if (store instanceof MemoryStore) return store;
  throw new BuildError("not-a-folder", `Cannot build in "${location}": it can only be read`);
}

export function openLocation(location: string): { store: Store; options: OpenOptions } {
  const folder = placeAt(location) ? undefined : placeAt(dirname(location));
  if (folder) return { store: folder, options: { only: basename(location) } };
  return { store: requirePlace(location), options: {} };
}
