import assert from "node:assert/strict";
import { test } from "node:test";
import { blockGrid, DEFAULT_BLOCK, scaleShape } from "../../src/tensor/block.ts";

test("scaleShape() counts blocks, ragged edges included", () => {
  const cases: [shape: number[], scales: number[]][] = [
    [
      [7168, 2048],
      [56, 16],
    ],
    [
      [576, 7168], // kv_a_proj_with_mqa: the last row of blocks has 64 rows
      [5, 56],
    ],
    [
      [1, 1],
      [1, 1],
    ],
    [
      [128, 129],
      [1, 2],
    ],
    [
      [0, 128],
      [0, 1],
    ],
    [
      [256, 160, 96], // fused experts
      [256, 2, 1],
    ],
  ];
  for (const [shape, scales] of cases) assert.deepEqual(scaleShape(shape, DEFAULT_BLOCK), scales);
  assert.deepEqual(scaleShape([3, 3], { rows: 2, cols: 2 }), [2, 2]);
});

test("blockGrid() multiplies the leading dimensions into matrices", () => {
  assert.deepEqual(blockGrid([4, 2, 130, 64], { rows: 128, cols: 32 }), {
    matrices: 8,
    rows: 130,
    cols: 64,
    blockRows: 2,
    blockCols: 2,
  });
  assert.equal(blockGrid([130, 64], DEFAULT_BLOCK).matrices, 1);
});
