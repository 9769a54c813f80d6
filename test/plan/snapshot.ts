/** Text snapshots: test/plan/snapshots/NAME.txt. UPDATE_SNAPSHOTS=1 writes them anew. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = "test/plan/snapshots";
const used = new Set<string>();

/** Compares a text with its snapshot. */
export function assertSnapshot(name: string, text: string): void {
  const path = join(FOLDER, `${name}.txt`);
  used.add(`${name}.txt`);
  if (process.env.UPDATE_SNAPSHOTS) writeFileSync(path, text);
  assert.ok(existsSync(path), `no snapshot "${path}"; UPDATE_SNAPSHOTS=1 writes it`);
  assert.equal(text, readFileSync(path, "utf8"));
}

/** Fails for a snapshot that no test compares with any more. */
export function assertNoneUnused(): void {
  assert.deepEqual(
    readdirSync(FOLDER).filter((name) => !used.has(name)),
    [],
    "snapshots without a test",
  );
}
