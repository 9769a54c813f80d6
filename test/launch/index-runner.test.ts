/** The rules of a Job controller, one by one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TaskEnd } from "../../src/launch/exit-rules.ts";
import { type IndexRules, runIndexes } from "../../src/launch/index-runner.ts";

const RULES: IndexRules = {
  ...{ completions: 4, parallelism: 2, backoffLimitPerIndex: 3, backoffMs: 0, longestBackoffMs: 0 },
  failurePolicy: [
    { action: "Ignore", isDisruption: true },
    { action: "FailIndex", exitCodes: { operator: "In", values: [2, 3, 4] } },
    { action: "FailJob", exitCodes: { operator: "In", values: [42] } },
  ],
};

/** Ends of each index, in order; the last one again and again. */
function play(ends: readonly (readonly TaskEnd[])[], changes: Partial<IndexRules> = {}) {
  const starts: string[] = [];
  let most = 0;
  let now = 0;
  const report = runIndexes({ ...RULES, ...changes }, async (index, attempt) => {
    starts.push(`${index}.${attempt}`);
    most = Math.max(most, ++now);
    await new Promise((resolve) => setImmediate(resolve));
    now--;
    return ends[index]!.at(Math.min(attempt, ends[index]!.length - 1))!;
  });
  return report.then((result) => ({ ...result, starts, most }));
}

const ok: TaskEnd = { status: 0 };
const again: TaskEnd = { status: 75 };

describe("runIndexes()", () => {
  test("runs every index once when all succeed, never more at a time than it may", async () => {
    const { succeeded, failed, runs, most, starts } = await play([[ok], [ok], [ok], [ok]]);
    assert.deepEqual([succeeded.sort(), failed, runs, most], [[0, 1, 2, 3], [], 4, 2]);
    assert.deepEqual(starts.toSorted(), ["0.0", "1.0", "2.0", "3.0"]);
  });

  test("tries an index as often as its limit says, and once more before it", async () => {
    const { succeeded, failed, runs } = await play([[again, again, again, ok], [again], [ok], [ok]]);
    assert.deepEqual(succeeded.sort(), [0, 2, 3]);
    assert.deepEqual(failed, [{ index: 1, end: again }]);
    assert.equal(runs, 4 + 4 + 1 + 1);
  });

  test("a status of FailIndex fails the index at once, and no other", async () => {
    for (const status of [2, 3, 4]) {
      const { succeeded, failed, runs } = await play([[{ status }], [ok], [again, ok], [ok]]);
      assert.deepEqual([succeeded.sort(), failed, runs], [[1, 2, 3], [{ index: 0, end: { status } }], 5]);
    }
  });

  test("a disruption counts nothing, however often it comes", async () => {
    const disrupted = { status: 143, isDisrupted: true };
    const many = Array.from({ length: 20 }, () => disrupted);
    const { succeeded, runs } = await play([[...many, again, again, again, ok], [ok], [ok], [ok]]);
    assert.deepEqual([succeeded.sort(), runs], [[0, 1, 2, 3], 24 + 3]);
    // The first rule that fits decides: also with a status that another would take.
    const final = await play([[{ status: 3, isDisrupted: true }, ok], [ok], [ok], [ok]]);
    assert.equal(final.failed.length, 0);
  });

  test("more failed indexes than maxFailedIndexes end the job", async () => {
    const bad: TaskEnd = { status: 3 };
    const { failed, open } = await play([[bad], [bad], [ok], [ok]], { maxFailedIndexes: 1, parallelism: 1 });
    assert.deepEqual(
      [failed.map(({ index }) => index), open],
      [
        [0, 1],
        [2, 3],
      ],
    );
    const within = await play([[bad], [ok], [ok], [ok]], { maxFailedIndexes: 1 });
    assert.deepEqual([within.failed.length, within.succeeded.length], [1, 3]);
  });

  test("FailJob ends it at once", async () => {
    const { open, failed } = await play([[ok], [{ status: 42 }], [ok], [ok]], { parallelism: 1 });
    assert.deepEqual([failed[0]!.index, open], [1, [2, 3]]);
  });

  test("the time before another try doubles with each failure, up to the longest", async () => {
    const waits: number[] = [];
    let last = 0;
    await runIndexes(
      { ...RULES, completions: 1, backoffMs: 20, longestBackoffMs: 50 },
      async (_, attempt) => {
        if (attempt > 0) waits.push(performance.now() - last);
        last = performance.now();
        return again;
      },
    );
    assert.equal(waits.length, 3);
    for (const [i, least] of [20, 40, 50].entries()) assert.ok(waits[i]! >= least - 2, `${waits[i]} ms`);
  });

  test("a signal ends it: what runs is waited for, what is left is open", async () => {
    const controller = new AbortController();
    const report = await runIndexes(
      { ...RULES, parallelism: 1 },
      async (index) => {
        if (index === 1) controller.abort();
        return index === 1 ? { status: 143 } : ok;
      },
      { signal: controller.signal },
    );
    assert.deepEqual([report.succeeded, report.open, report.failed], [[0], [1, 2, 3], []]);
  });
});
