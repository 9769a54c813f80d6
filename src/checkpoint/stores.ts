/**
 * From a location, as people write it, to the store behind it. The one place that knows the kinds of
 * locations; workers get locations and open their own stores.
 */
import { basename, dirname, resolve } from "node:path";
import { BuildError, CheckpointError } from "../base/errors.ts";
import type { OpenOptions } from "./checkpoint.ts";
import { namesGguf, openGgufStore } from "./gguf-store.ts";
import { asSingleFile, folderExists } from "./node.ts";
import { openOutputFolder } from "./node-output.ts";
import { openFolder } from "./node-source.ts";
import { printable } from "./shown.ts";
import type { OutputStore, Store } from "./source.ts";

const SCHEME = /^([a-z][a-z0-9+.-]+):/i;

function locationFault(location: string): { code: string; what: string } | undefined {
  if (location === "") return { code: "missing", what: "it is empty, wanted a folder" };
  const scheme = SCHEME.exec(location)?.[1]; // two letters at least: one is a drive
  return scheme ? { code: "unknown-scheme", what: `"${scheme}:" is not known, wanted a folder` } : undefined;
}

function checkLocation(location: string): void {
  const fault = locationFault(location);
  if (fault) throw new CheckpointError(fault.code, `Cannot open "${printable(location)}": ${fault.what}`);
}

/** A store to read: a folder, or a GGUF file as if it were one. */
export function openStore(location: string): Store {
  checkLocation(location);
  return isGgufFile(location) ? openGguf(location) : openFolder(location);
}

/** A folder may be called so, too. */
function isGgufFile(location: string): boolean {
  return namesGguf(location) && !folderExists(location);
}

function openGguf(location: string): Store {
  const path = resolve(location);
  return openGgufStore(path, { folder: openFolder(dirname(path)), file: basename(path) });
}

/** A store to write. */
export function openOutput(location: string): OutputStore {
  const fault = locationFault(location);
  if (fault) throw new BuildError(fault.code, `Cannot build in "${printable(location)}": ${fault.what}`);
  return openOutputFolder(location);
}

/** A store and, when the location is one file of it, which: for commands that take either. */
export function openLocation(location: string): { store: Store; options: OpenOptions } {
  checkLocation(location);
  if (isGgufFile(location)) return { store: openGguf(location), options: {} };
  const file = asSingleFile(location);
  if (file) return { store: openFolder(file.folder), options: { only: file.name } };
  return { store: openFolder(location), options: {} };
}
