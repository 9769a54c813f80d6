/**
 * The folder of this machine in which files are put together that then go to an object store. It is the same for every
 * process that writes to that place, so that what a killed one left is found by the next.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openOutputFolder } from "./node-output.ts";
import { type OutputStore, STATE_FOLDER } from "./source.ts";

/** The folder for a place. `base`: where it lies; default: the system's folder for temporary files. */
export function openStaging(place: string, base: string | undefined): OutputStore {
  const hash = createHash("sha256").update(place).digest("hex").slice(0, 16);
  return openOutputFolder(join(base ?? tmpdir(), `chimera-staging-${hash}`));
}

/** Removes it when nothing lies in it. */
export function removeEmptyStaging({ location }: OutputStore): void {
  for (const folder of [join(location, STATE_FOLDER), location]) {
    try {
      fs.rmdirSync(folder);
    } catch {
      return; // something is in it, or it is gone
    }
  }
}
