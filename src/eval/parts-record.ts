/**
 * What the parts of a sweep or an evaluation run together, beside their runs as long as these are made: so that anybody
 * who looks into the folder can tell how far they are, whoever started them. Every part writes the same.
 */

import { STATE_FOLDER } from "../checkpoint/source.ts";
import { openOutput } from "../checkpoint/stores.ts";

const NAME = `${STATE_FOLDER}/parts.json`;
const FORMAT = "chimera-parts";

export interface PartsRecord {
  kind: "sweep" | "eval";
  /** Names of all runs. */
  runs: string[];
}

export async function writeParts(folder: string, { kind, runs }: PartsRecord): Promise<void> {
  const store = openOutput(folder);
  await store.prepare();
  const text = `${JSON.stringify({ format: FORMAT, version: 1, kind, runs })}\n`;
  await store.writeSmall(NAME, new TextEncoder().encode(text));
}

/** Undefined where no parts are at work, or nobody can tell. */
export async function readParts(folder: string): Promise<PartsRecord | undefined> {
  const bytes = await openOutput(folder).readSmall(NAME);
  if (!bytes) return undefined;
  try {
    const { format, kind, runs } = JSON.parse(new TextDecoder().decode(bytes)) as PartsRecord & {
      format?: string;
    };
    const isOurs = format === FORMAT && (kind === "sweep" || kind === "eval") && Array.isArray(runs);
    return isOurs ? { kind, runs } : undefined;
  } catch {
    return undefined;
  }
}

/** When everything is reported. */
export async function removeParts(folder: string): Promise<void> {
  const store = openOutput(folder);
  if ((await store.readSmall(NAME)) !== undefined) await store.removeState();
}
