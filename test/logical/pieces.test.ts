import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { scratchBytes } from "../../src/kernels/kernels.ts";
import { BAND_LIMIT_BYTES, HEAP_BYTES, Heap } from "../../src/logical/heap.ts";
import { segments } from "../../src/logical/load.ts";
import { type CutOptions, cut, elementIndex, fitsHeap, ROW } from "../../src/logical/pieces.ts";

const total = (shape: readonly number[]) => shape.reduce((product, dim) => product * dim, 1);

/** Runs of elements that the pieces hold, in the order of the pieces. */
function runsOf(options: CutOptions): [from: number, to: number][] {
  const runs: [number, number][] = [];
  for (const piece of cut(options)) {
    for (const [from, , length] of segments(piece, 1)) runs.push([from, from + length]);
  }
  return runs;
}

/** Fails unless runs hold every element once. Returns whether they come in the order of the elements. */
function assertTiles(runs: readonly [number, number][], elements: number): boolean {
  let inOrder = true;
  let end = 0;
  for (const [from, to] of runs) {
    inOrder &&= from === end;
    end = to;
  }
  let position = 0;
  for (const [from, to] of runs.toSorted((a, b) => a[0] - b[0])) {
    assert.equal(from, position);
    assert.ok(to > from);
    position = to;
  }
  assert.equal(position, elements);
  return inOrder;
}

/** What mergeTensor() takes of the heap for the piece, with as many operands as there may be. */
function heapNeeded(options: CutOptions): number {
  let most = 0;
  for (const { rows, cols, blockCols } of cut(options)) {
    const numInputs = options.bytesPerElement;
    const scales = 4 * (numInputs + 1) * (options.banded ? Math.ceil(cols / blockCols) : 0);
    const gaps = 32 * (6 + 3 * numInputs);
    most = Math.max(
      most,
      2 * rows * cols * options.bytesPerElement + scratchBytes(cols, blockCols, numInputs) + scales + gaps,
    );
  }
  return most;
}

const blocks = fc.oneof(
  fc.constant({ rows: 128, cols: 128 }),
  fc.record({ rows: fc.integer({ min: 1, max: 300 }), cols: fc.integer({ min: 1, max: 300 }) }),
  fc.constantFrom(
    { rows: 1, cols: 1 },
    { rows: 1, cols: 1e9 },
    { rows: 1e9, cols: 1 },
    { rows: 4096, cols: 4096 },
  ),
);
// Up to some ten million elements: tall, wide, flat, and many small matrices.
const shapes = fc.oneof(
  fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 4 }),
  fc.tuple(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 100_000 })).map(([a, b]) => [a, b]),
  fc.tuple(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 300 })).map(([a, b]) => [a, b]),
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 12_000_000 })).map(([a, b]) => [a, b]),
  fc
    .tuple(
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 260 }),
      fc.integer({ min: 1, max: 260 }),
    )
    .map((s) => [...s]),
);

describe("cut()", () => {
  test("tiles every shape exactly once, in order but for strips, within the heap", () => {
    let strips = 0;
    const options = fc.record({
      shape: shapes,
      block: blocks,
      bytesPerElement: fc.integer({ min: 2, max: 24 }),
      banded: fc.boolean(),
    });
    fc.assert(
      fc.property(options, (given) => {
        const banded = given.banded && given.shape.length >= 2;
        const each = { ...given, banded };
        fc.pre(fitsHeap(each) || total(each.shape) === 0);
        const inOrder = assertTiles(runsOf(each), total(each.shape));
        if (!inOrder) strips++;
        assert.ok(inOrder || banded);
        assert.ok(heapNeeded(each) <= HEAP_BYTES, `${heapNeeded(each)} bytes of ${HEAP_BYTES}`);
      }),
      { seed: 3, numRuns: 150 },
    );
    assert.ok(strips > 4, `${strips} cut into strips`);
  });

  test("keeps blocks whole and bands within their matrix", () => {
    const shape = [3, 300, 257];
    const block = { rows: 128, cols: 64 };
    const bands: number[] = [];
    for (const piece of cut({ shape, block, banded: true, bytesPerElement: 3 })) {
      assert.equal((piece.row % 300) % 128, 0);
      assert.ok((piece.row % 300) + piece.rows <= 300);
      assert.equal(piece.col % 64, 0);
      for (let row = 0; row < piece.rows; row += piece.bandRows) bands.push(piece.band + row / 128);
    }
    assert.deepEqual(bands, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("cuts a band of more than its limit into strips of whole blocks", () => {
    const shape = [200, 60_000];
    const pieces = [...cut({ shape, block: { rows: 128, cols: 128 }, banded: true, bytesPerElement: 12 })];
    assert.ok(pieces.length > 8);
    for (const { col, cols, rows } of pieces) {
      assert.equal(col % 128, 0);
      assert.ok(rows * cols * 12 <= BAND_LIMIT_BYTES);
      assert.ok(cols % 128 === 0 || col + cols === 60_000);
    }
    assert.equal(
      assertTiles(
        runsOf({ shape, block: { rows: 128, cols: 128 }, banded: true, bytesPerElement: 12 }),
        12_000_000,
      ),
      false,
    );
  });

  test("takes tensors without scales as a line, whatever their shape", () => {
    for (const shape of [[], [1], [ROW], [ROW + 1], [3, 5, 7], [1, ROW * 3 - 1]]) {
      assert.ok(
        assertTiles(
          runsOf({ shape, block: { rows: 128, cols: 128 }, banded: false, bytesPerElement: 6 }),
          total(shape),
        ),
      );
    }
  });

  test("gives nothing for a tensor without elements", () => {
    for (const shape of [[0], [0, 128], [128, 0], [0, 3, 3], [3, 0, 3]]) {
      assert.deepEqual(
        [...cut({ shape, block: { rows: 128, cols: 128 }, banded: shape.length > 1, bytesPerElement: 3 })],
        [],
      );
    }
  });
});

describe("fitsHeap()", () => {
  const block = { rows: 128, cols: 128 };
  test("takes the blocks and numbers of parents there are", () => {
    assert.ok(fitsHeap({ shape: [7168, 18432], block, banded: true, bytesPerElement: 3 }));
    assert.ok(fitsHeap({ shape: [1, 5_000_000], block, banded: true, bytesPerElement: 3 }));
    assert.ok(fitsHeap({ shape: [7168], block, banded: false, bytesPerElement: 40 }));
  });
  test("refuses one block that is larger than the memory", () => {
    const whole = { rows: 7168, cols: 7168 };
    assert.equal(fitsHeap({ shape: [7168, 7168], block: whole, banded: true, bytesPerElement: 3 }), false);
    assert.ok(fitsHeap({ shape: [70, 70], block: whole, banded: true, bytesPerElement: 3 }));
    assert.equal(fitsHeap({ shape: [512, 512], block, banded: true, bytesPerElement: 4000 }), false);
  });
});

describe("elementIndex()", () => {
  test("counts as the shape does", () => {
    assert.deepEqual(elementIndex([2, 3, 4], 23), [1, 2, 3]);
    assert.deepEqual(elementIndex([], 0), []);
    assert.deepEqual(elementIndex([5], 4), [4]);
    // Beyond 2^32 as well.
    assert.deepEqual(elementIndex([3_000_000, 3000], 6_000_000_007), [2_000_000, 7]);
  });
});

describe("Heap", () => {
  test("releases to a mark and refuses to grow", () => {
    const heap = new Heap(1000);
    const mark = heap.mark();
    const [a, b] = [heap.allocate(100), heap.allocate(100)];
    assert.ok(a >= 16 && b >= a + 100 && b % 16 === 0);
    heap.release(mark);
    assert.equal(heap.allocate(100), a);
    assert.throws(() => heap.allocate(1000), /internal: 1000 bytes asked of a heap of 1000/);
  });
});
