import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { StoredTensor } from "../../src/checkpoint/checkpoint.ts";
import { pairTensors } from "../../src/logical/pairs.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";

const BLOCK = { rows: 128, cols: 128 };

function pair(entries: readonly (readonly [name: string, dtype: Dtype, shape: number[], shard?: string])[]) {
  const tensors = new Map<string, StoredTensor>(
    entries.map(([name, dtype, shape, shard = "x.safetensors"]) => [
      name,
      { name, dtype, shape, shard, offset: 0, byteLength: 0 },
    ]),
  );
  const { tensors: logical, problems } = pairTensors(tensors, { label: "p", block: BLOCK });
  return { names: [...logical.values()].map(({ weight, scale }) => [weight.name, scale?.name]), problems };
}

describe("pairTensors()", () => {
  test("joins weights and scales across shards and orders, under both names of a scale", () => {
    const { names, problems } = pair([
      ["s.weight_scale_inv", "F32", [2, 1], "b.safetensors"],
      ["n.weight", "BF16", [8]],
      ["s.weight", "F8_E4M3", [129, 128], "a.safetensors"],
      ["t.weight", "F8_E5M2", [1, 1]],
      ["t.scale", "BF16", [1, 1]],
      ["experts", "F8_E4M3", [4, 200, 100]],
      ["experts_scale_inv", "F8_E8M0", [4, 2, 1]],
      ["none.weight", "F8_E4M3", [0, 128]],
      ["none.weight_scale_inv", "F32", [0, 1]],
      ["head.scale", "F32", [1]], // a parameter of that name, no scale
      ["count", "I64", []],
    ]);
    assert.deepEqual(problems, []);
    assert.deepEqual(names, [
      ["n.weight", undefined],
      ["s.weight", "s.weight_scale_inv"],
      ["t.weight", "t.scale"],
      ["experts", "experts_scale_inv"],
      ["none.weight", "none.weight_scale_inv"],
      ["head.scale", undefined],
      ["count", undefined],
    ]);
  });

  for (const [name, entries, code, message] of [
    [
      "FP8 without a scale",
      [["w", "F8_E4M3", [200, 100]]],
      "missing-block-scale",
      /F8_E4M3 \[200, 100\] without a block scale, wanted a scale of shape \[2, 1\]/,
    ],
    [
      "FP8 of one dimension",
      [
        ["w", "F8_E4M3", [200]],
        ["w_scale_inv", "F32", [2]],
      ],
      "scale-shape",
      /its scale "w_scale_inv" \(.+\) is \[2\], wanted two or more dimensions/,
    ],
    [
      "a scale of another shape",
      [
        ["w", "F8_E4M3", [200, 100]],
        ["w_scale_inv", "F32", [1, 2]],
      ],
      "scale-shape",
      /is \[1, 2\], wanted \[2, 1\] for 128×128 blocks of \[200, 100\]/,
    ],
    [
      "a scale of another type",
      [
        ["w", "F8_E4M3", [200, 100]],
        ["w_scale_inv", "F16", [2, 1]],
      ],
      "scale-dtype",
      /is F16, wanted F32, BF16 or F8_E8M0/,
    ],
    ["a scale without its weight", [["w_scale_inv", "F32", [2, 1]]], "orphan-scale", /there is no "w"/],
    [
      "a scale of a weight that is no FP8",
      [
        ["w", "BF16", [200, 100]],
        ["w_scale_inv", "F32", [2, 1]],
      ],
      "orphan-scale",
      /"w" is BF16, wanted an FP8 weight/,
    ],
  ] as const) {
    test(`${name} is a problem`, () => {
      const { problems } = pair(entries as unknown as Parameters<typeof pair>[0]);
      assert.equal(problems.length, 1);
      assert.equal(problems[0]!.code, code);
      assert.match(problems[0]!.message, message);
    });
  }

  test("tells of every problem, not only the first", () => {
    const { names, problems } = pair([
      ["a", "F8_E4M3", [1, 1]],
      ["b", "F8_E4M3", [1, 1]],
      ["c", "BF16", [1]],
      ["d_scale_inv", "F32", [1, 1]],
    ]);
    assert.equal(problems.length, 3);
    assert.deepEqual(names, [["c", undefined]]);
  });
});
