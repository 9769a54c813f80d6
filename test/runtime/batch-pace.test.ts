/** How rows of a pass are shared out among prompts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BatchPace, shareRows } from "../../src/runtime/batch-pace.ts";

test("shareRows() gives half to the first, the rest to the shortest, and nothing away", () => {
  assert.deepEqual(shareRows([1000, 10, 300], 256), [128, 10, 118]);
  assert.deepEqual(shareRows([1000, 1000], 256), [256, 0]);
  assert.deepEqual(shareRows([20, 400, 30], 100), [20, 50, 30]);
  assert.deepEqual(shareRows([5, 7], 100), [5, 7]);
  assert.deepEqual(shareRows([], 100), []);
  assert.deepEqual(shareRows([3, 3], 1), [1, 0]);
});

test("shareRows() gives every prompt something in the end, however many short ones come", () => {
  let long = 1000;
  for (let pass = 0; long > 0; pass++) {
    assert.ok(pass < 100, `${long} rows are left`);
    long -= shareRows([long, 50, 50], 64)[0]!;
  }
});

test("promptRows() takes the whole pass where nobody is answered, and a quarter of a second beside answers", () => {
  const pace = new BatchPace();
  assert.equal(pace.promptRows(200, 10), 200); // nothing is known yet
  for (let i = 0; i < 50; i++) pace.add(100, 0.5); // 5 ms a row
  assert.equal(pace.promptRows(256, 0), 256);
  assert.equal(pace.promptRows(240, 10), 40);
  for (let i = 0; i < 50; i++) pace.add(10, 1);
  assert.equal(pace.promptRows(240, 10), 16); // fewer would read the weights for little
  assert.equal(pace.promptRows(4, 10), 4);
});
