/** How far a study is, at moments that are hard to meet: a run that is locked before it says what it is. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { acquireLock } from "../../src/checkpoint/lock.ts";
import { openOutput } from "../../src/checkpoint/stores.ts";
import { writeParts } from "../../src/eval/parts-record.ts";
import { studyStatus } from "../../src/launch/study-status.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("a run that has taken its lock and written nothing yet is running; one whose owner died then is not begun", async (t: TestContext) => {
  const folder = temporaryFolder(t);
  await writeParts(folder, { kind: "eval", runs: ["one", "two", "three"] });
  const store = openOutput(join(folder, "one"));
  await store.prepare();
  const lock = await acquireLock(store, { from: 0, to: 1 });
  const state = join(folder, "two/.chimera");
  mkdirSync(state, { recursive: true });
  // No process has this number: Linux gives none above 2^22.
  const owner = { host: hostname(), pid: 2 ** 22 + 1, started: "1", token: "gone", from: 0, to: 1 };
  writeFileSync(join(state, "lock-000000-000001.json"), JSON.stringify(owner));

  const counted = async () => (await studyStatus(folder))?.runs;
  assert.deepEqual(await counted(), { done: 0, running: 1, stopped: 0, open: 2, total: 3 });
  await lock.release();
  assert.deepEqual(await counted(), { done: 0, running: 0, stopped: 0, open: 3, total: 3 });
});
