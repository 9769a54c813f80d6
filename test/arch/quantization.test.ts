import assert from "node:assert/strict";
import { test } from "node:test";
import { blockOf, plainDtypeOf, quantizationOf } from "../../src/arch/quantization.ts";

const FP8 = { quant_method: "fp8", fmt: "e4m3", weight_block_size: [128, 128] };
const read = (quantization_config: unknown) => quantizationOf({ quantization_config }, {});

test("quantizationOf() tells FP8 with blocks from none and from others", () => {
  const cases: [settings: unknown, kind: string][] = [
    [undefined, "none"],
    [null, "none"],
    [FP8, "fp8-block"],
    [{ quant_method: "fp8", weight_block_size: [128, 128] }, "fp8-block"],
    [{ quant_method: "fp8" }, "other"],
    [{ ...FP8, weight_block_size: null }, "other"],
    [{ ...FP8, weight_block_size: [128] }, "other"],
    [{ ...FP8, fmt: "e5m2" }, "other"],
    [{ quant_method: "compressed-tensors" }, "other"],
    [{}, "other"],
    ["fp8", "other"],
    [[], "other"],
  ];
  for (const [settings, kind] of cases) assert.equal(read(settings).kind, kind, JSON.stringify(settings));
});

test("quantizationOf() reads block and scale format, with their defaults", () => {
  const { block, scaleFormat } = read({ ...FP8, weight_block_size: [64, 32], scale_fmt: "ue8m0" });
  assert.deepEqual([block, scaleFormat], [{ rows: 64, cols: 32 }, "ue8m0"]);
  assert.deepEqual([read(null).block, read(FP8).scaleFormat], [{ rows: 128, cols: 128 }, "float"]);
});

test("quantizationOf() prefers the outer config to the language model's", () => {
  assert.equal(quantizationOf({}, { quantization_config: FP8 }).kind, "fp8-block");
  assert.equal(quantizationOf({ quantization_config: {} }, { quantization_config: FP8 }).kind, "other");
});

test("exempts() matches whole parts of a name, at its start or end", () => {
  const { exempts } = read({
    ...FP8,
    modules_to_not_convert: ["model.layers.1.", "gate"],
    ignored_layers: ["a.b*"],
  });
  const yes = ["model.layers.1", "model.layers.1.mlp.up_proj", "model.layers.3.mlp.gate", "a.b.c"];
  const no = ["model.layers.16.mlp.up_proj", "model.layers.3.mlp.up_gate", "a.bc", "gate2"];
  assert.deepEqual([...yes, ...no].filter(exempts), yes);
});

test("blockOf() refuses all but two sizes", () => {
  for (const value of [undefined, null, 128, [128], [128, 0], [128, 1.5], ["128", 128], [1, 2, 3]]) {
    assert.equal(blockOf(value), undefined);
  }
  assert.deepEqual(blockOf([1, 128]), { rows: 1, cols: 128 });
});

test("plainDtypeOf() is BF16 unless the config says otherwise", () => {
  assert.deepEqual(
    [{}, { torch_dtype: "torch.float32" }, { dtype: "float32", torch_dtype: "float16" }, { dtype: 1 }].map(
      plainDtypeOf,
    ),
    ["BF16", "F32", "F32", "BF16"],
  );
});
