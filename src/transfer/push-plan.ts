/**
 * What of a folder goes to the Hub, in which commits.
 *
 * Shards first, up to five or 20 GB in a commit. Config, tokenizer, index, card and chimera.json go with the last
 * shards, in one commit: before that nothing in the repository says that it is a checkpoint, so that nobody takes half
 * of one for the whole. Where the repository holds another one, the first commit takes those files away.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { BuildError, CheckpointError } from "../base/errors.ts";
import { hubName } from "../build/base-models.ts";
import { CHILD_NAME, type ChildRecord, readChildRecord } from "../build/child.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { openFolder, readPulled } from "../checkpoint/node-source.ts";
import type { PushFile } from "../checkpoint/remote/hub-push.ts";
import { INDEX_NAME } from "../checkpoint/shard-index.ts";
import { printable } from "../checkpoint/shown.ts";
import { STATE_FOLDER } from "../checkpoint/source.ts";
import { type CardAdditions, completeCard, withResults } from "./pushed-card.ts";

const MOST_SHARDS = 5;
const MOST_BYTES = 20e9;
const CARD_NAME = "README.md";
/** Without them nobody takes a repository for a checkpoint. */
export const MARKERS: readonly string[] = ["config.json", INDEX_NAME, CHILD_NAME];

export interface FolderFiles {
  location: string;
  /** Of the checkpoint, in the order of their names. */
  shards: PushFile[];
  others: PushFile[];
  /** Shards of a child that are not here: built with --discard-local, they are on the Hub. */
  absent: ReadonlySet<string>;
  child: ChildRecord | undefined;
}

export function isShard(name: string): boolean {
  return name.endsWith(".safetensors");
}

/** The files of a whole checkpoint. Throws CheckpointError for what is none. Hidden files are left out. */
export async function filesToPush(folder: string): Promise<FolderFiles> {
  const store = openFolder(folder);
  const entries = (await store.list()).filter(({ name }) => !name.startsWith("."));
  const fail = (code: string, what: string, note?: string) =>
    new CheckpointError(code, `Cannot push "${printable(store.location)}": ${what}`, note ? { note } : {});
  if (readPulled(store.location))
    throw fail(
      "partial",
      "it holds parts of a checkpoint, wanted a whole one",
      "Pull it without --only-needed-by",
    );
  const child = await readChildRecord(store);
  if (!child && (await store.readSmall(`${STATE_FOLDER}/state.json`)))
    throw fail(
      "unfinished",
      "its build is not finished, wanted a whole child",
      "Run the build again to finish it",
    );
  const sizes = new Map(entries.map(({ name, byteLength }) => [name, byteLength]));
  const absent = new Set((child?.shards ?? []).map(({ name }) => name).filter((name) => !sizes.has(name)));
  const lost = child?.shards.find(
    ({ name, byteLength }) => !absent.has(name) && sizes.get(name) !== byteLength,
  )?.name;
  const lostFile = lost ?? Object.keys(child?.files ?? {}).find((name) => !sizes.has(name));
  if (lostFile !== undefined)
    throw fail("damaged", `its file "${printable(lostFile)}" is missing or has another size`);
  if (absent.size === 0) await openCheckpoint(store);
  const hashes = new Map<string, string>(Object.entries(child?.files ?? {}));
  for (const { name, sha256 } of child?.shards ?? []) hashes.set(name, sha256);
  for (const { name, byteLength } of child?.shards ?? [])
    if (absent.has(name)) entries.push({ name, byteLength });
  const files = entries.map(
    ({ name, byteLength }): PushFile => ({
      ...{ name, byteLength, sha256: hashes.get(name) },
      content: { path: join(store.location, name) },
    }),
  );
  const [shards, others] = [
    files.filter(({ name }) => isShard(name)),
    files.filter(({ name }) => !isShard(name)),
  ];
  return { location: store.location, shards, others, absent, child };
}

/** The files with a card that says more; chimera.json goes along with it, so that the child verifies. */
export async function withCard(
  files: FolderFiles,
  {
    results,
    baseModels,
  }: { results: CardAdditions["results"]; baseModels: Readonly<Record<string, string>> },
): Promise<FolderFiles> {
  const { child, location } = files;
  const unknown = Object.keys(baseModels).find(
    (name) => !child?.parents.some((parent) => parent.name === name),
  );
  if (unknown !== undefined) {
    const parents = child?.parents.map(({ name }) => name).join(", ");
    const what = child ? `its parents are ${parents}` : "it is no child that chimera built";
    throw new BuildError("unknown-parent", `Cannot name the base model of "${printable(unknown)}": ${what}`);
  }
  const bytes = await openFolder(location).readSmall(CARD_NAME);
  if (!child && results.length === 0) return files;
  const before = new TextDecoder().decode(bytes ?? new Uint8Array());
  const names = child?.parents.map((parent) => baseModels[parent.name] ?? hubName(parent.location)) ?? [];
  const card = child ? completeCard(before, { baseModels: names, results }) : withResults(before, results);
  if (card === before) return files;
  const others = files.others.filter(({ name }) => name !== CARD_NAME && !(child && name === CHILD_NAME));
  others.push(fileOf(CARD_NAME, card));
  if (child) {
    const hash = createHash("sha256").update(card).digest("hex");
    const record: ChildRecord = { ...child, files: { ...child.files, [CARD_NAME]: hash } };
    others.push(fileOf(CHILD_NAME, `${JSON.stringify(record, null, 2)}\n`));
  }
  return { ...files, others };
}

export function fileOf(name: string, content: string | Uint8Array): PushFile {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return {
    ...{ name, byteLength: bytes.length, content: { bytes } },
    sha256: createHash("sha256").update(bytes).digest("hex"),
  };
}

/** Shards in the commits that they go in, in order. */
export function batchesOf<T extends { byteLength: number }>(shards: readonly T[]): T[][] {
  const batches: T[][] = [];
  let bytes = 0;
  for (const shard of shards) {
    const last = batches.at(-1);
    if (last && last.length < MOST_SHARDS && bytes + shard.byteLength <= MOST_BYTES) last.push(shard);
    else {
      batches.push([shard]);
      bytes = 0;
    }
    bytes += shard.byteLength;
  }
  return batches;
}
