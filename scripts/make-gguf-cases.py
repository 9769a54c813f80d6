"""Golden vectors of GGUF by the reference library: blocks and what they decode to, floats and their Q8_0, files.

    pip install gguf numpy
    python scripts/make-gguf-cases.py          writes test/golden/gguf/

Blocks are random bytes, so that every bit of a block counts; their F16 scales are kept finite.
"""

import base64
import json
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

OUT = Path(__file__).parent.parent / "test/golden/gguf"
BLOCKS = 6
# Where the F16 numbers of a block begin.
HALVES = {"F16": [0], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def text(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def random_blocks(name, count, rng):
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if name == "F32":
        return rng.standard_normal(count).astype(np.float32).view(np.uint8).reshape(count, 4)
    for at in HALVES.get(name, []):
        halves = rng.standard_normal(count).astype(np.float16)
        halves[0] = np.float16(6e-8)  # a subnormal
        blocks[:, at : at + 2] = halves.view(np.uint8).reshape(count, 2)
    if name == "BF16":
        words = rng.standard_normal(count).astype(np.float32).view(np.uint32) >> 16
        blocks = words.astype(np.uint16).view(np.uint8).reshape(count, 2)
    return blocks


def decoding(rng):
    cases = {}
    for name in ["F32", "F16", "BF16", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]:
        elements, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
        count = BLOCKS if elements > 1 else 64
        blocks = random_blocks(name, count, rng)
        values = dequantize(blocks.reshape(1, -1), gguf.GGMLQuantizationType[name]).astype(np.float32)
        cases[name] = {"blocks": text(blocks), "values": text(values)}
    return cases


def encoding(rng):
    values = (rng.standard_normal((64, 32)) * 10.0 ** rng.integers(-6, 4, (64, 1))).astype(np.float32)
    values[0] = 0
    values[1, :6] = [127, -127, 0.5, -0.5, 2.5, -2.5]
    values[1, 6:] = 0
    blocks = quantize(values.reshape(1, -1), gguf.GGMLQuantizationType.Q8_0)
    return {"values": text(values), "blocks": text(blocks)}


def file(path, rng):
    """Every type of value, several types of tensors; read back by the library itself."""
    writer = gguf.GGUFWriter(path, "deepseek2")
    writer.add_name("golden ✓")
    writer.add_uint8("v.u8", 200)
    writer.add_int8("v.i8", -100)
    writer.add_uint16("v.u16", 60000)
    writer.add_int16("v.i16", -30000)
    writer.add_uint32("v.u32", 4000000000)
    writer.add_int32("v.i32", -2000000000)
    writer.add_float32("v.f32", 0.1)
    writer.add_uint64("v.u64", 2**40)
    writer.add_int64("v.i64", -(2**40))
    writer.add_float64("v.f64", 0.1)
    writer.add_bool("v.bool", True)
    writer.add_array("v.strings", ["a", "", "é"])
    writer.add_array("v.numbers", [1, -2, 3])
    for name, shape in [("blk.0.attn_norm.weight", [7]), ("output_norm.weight", [2, 3])]:
        writer.add_tensor(name, rng.standard_normal(shape).astype(np.float32))
    for i, name in enumerate(["Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ2_XXS"]):
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = random_blocks(name, 3 * 512 // elements, rng).reshape(3, 512 // elements * size)
        writer.add_tensor(f"blk.{i}.ffn_down.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {
        tensor.name: {
            "type": tensor.tensor_type.name,
            "shape": [int(n) for n in reversed(tensor.shape)],
            "offset": int(tensor.data_offset),
            "byteLength": int(tensor.n_bytes),
        }
        for tensor in gguf.GGUFReader(path).tensors
    }


def main():
    rng = np.random.default_rng(20250501)
    OUT.mkdir(parents=True, exist_ok=True)
    cases = {"decoding": decoding(rng), "encoding": encoding(rng)}
    cases["tensors"] = file(OUT / "values.gguf", rng)
    (OUT / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    print(f"written to {OUT} with gguf {gguf.__name__}, numpy {np.__version__}", file=sys.stderr)


main()
