"""Loads a child in Hugging Face transformers and lets it answer: proof that others accept what we write.

Run by hand where Python has torch, transformers, accelerate and safetensors; the product needs no Python.

    python scripts/check-transformers.py out/demo-r1t [--prompt "17 + 25 = ?"] [--tokens 64]

Checks: no weight of the main model is missing; every one, as transformers dequantised it, equals
float32(code) * scale computed here from the file; logits are finite; greedy generation is repeatable.
Exit status 1 when a check fails.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, FineGrainedFP8Config


def dequantised(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    rows, cols = codes.shape
    scale = scale.float().repeat_interleave(128, 0)[:rows].repeat_interleave(128, 1)[:, :cols]
    return codes.float() * scale


def teach_ragged_blocks() -> None:
    """Lets transformers dequantise matrices whose sides are no multiples of 128.

    5.18 takes shape / grid for the size of a block: 96 rows instead of 128 for 192 rows in two blocks, and an
    error for the 576 rows of DeepSeek's kv_a_proj_with_mqa. Everything else is left to it.
    """
    try:
        from transformers.integrations.finegrained_fp8 import Fp8Dequantize
        own = Fp8Dequantize._dequantize_one
    except (ImportError, AttributeError):
        return

    def dequantize_one(self, quantized, scales, output_dtype=None):
        is_ragged = quantized.ndim == 2 and any(
            side % 128 and blocks > 1 for side, blocks in zip(quantized.shape, scales.shape)
        )
        if not quantized.is_floating_point() or not is_ragged:
            return own(self, quantized, scales, output_dtype)
        values = dequantised(quantized, scales)
        return values if output_dtype is None else values.to(output_dtype)

    Fp8Dequantize._dequantize_one = dequantize_one


class Stored:
    """The tensors of a child as its files hold them."""

    def __init__(self, folder: Path):
        index = folder / "model.safetensors.index.json"
        if index.exists():
            weight_map = json.loads(index.read_text())["weight_map"]
        else:
            with safe_open(folder / "model.safetensors", framework="pt") as shard:
                weight_map = dict.fromkeys(shard.keys(), "model.safetensors")
        self.files = {name: folder / file for name, file in weight_map.items()}

    def raw(self, name: str) -> torch.Tensor:
        with safe_open(self.files[name], framework="pt") as shard:
            return shard.get_tensor(name)

    def values(self, name: str) -> torch.Tensor:
        """A tensor in float32; FP8 times its block scales."""
        weight = self.raw(name)
        if weight.dtype != torch.float8_e4m3fn:
            return weight.float()
        return dequantised(weight, self.raw(name + "_scale_inv"))

    def expected(self, name: str) -> torch.Tensor | None:
        """What a parameter of transformers should hold; None when the files have no such tensor.

        Since version 5 it holds the routed experts of a layer as one tensor, gate above up, and calls
        Mixtral's block_sparse_moe mlp.
        """
        for spelling in (name, name.replace(".mlp.", ".block_sparse_moe.")):
            if spelling in self.files:
                return self.values(spelling)
            module, _, leaf = spelling.rpartition(".")
            if leaf not in ("gate_up_proj", "down_proj"):
                continue
            for gate, up, down in (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2")):
                parts = (gate, up) if leaf == "gate_up_proj" else (down,)
                experts = []
                while f"{module}.{len(experts)}.{parts[0]}.weight" in self.files:
                    here = f"{module}.{len(experts)}"
                    experts.append(torch.cat([self.values(f"{here}.{part}.weight") for part in parts]))
                if experts:
                    return torch.stack(experts)
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("child", type=Path)
    parser.add_argument("--prompt", default="What is 17 + 25?")
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()

    config = json.loads((options.child / "config.json").read_text())
    quantized = {"quantization_config": FineGrainedFP8Config(dequantize=True)} if "quantization_config" in config else {}
    teach_ragged_blocks()
    model, info = AutoModelForCausalLM.from_pretrained(
        options.child, dtype=torch.float32, output_loading_info=True, **quantized
    )
    model.float().eval()  # what stands beside FP8 matrices may have kept its own dtype
    failures = [f"missing in the child: {key}" for key in info["missing_keys"]]

    stored = Stored(options.child)
    compared, absent = 0, []
    for name, tensor in model.state_dict().items():
        expected = stored.expected(name)
        if expected is None:
            absent.append(name)
            continue
        compared += 1
        if not torch.equal(tensor.detach().float(), expected):
            failures.append(f"{name}: transformers holds other values than the file")
    tied = {"lm_head.weight"} if config.get("tie_word_embeddings") else set()
    failures += [f"{name}: not in the files" for name in absent if name not in tied]

    tokenizer = AutoTokenizer.from_pretrained(options.child)
    chat = [{"role": "user", "content": options.prompt}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        if not torch.isfinite(model(**inputs).logits).all():
            failures.append("logits are not finite")
        answers = [model.generate(**inputs, max_new_tokens=options.tokens, do_sample=False) for _ in range(2)]
    if not torch.equal(*answers):
        failures.append("greedy generation is not repeatable")
    print(tokenizer.decode(answers[0][0]))
    print(f"{compared} tensors loaded and compared with the files, "
          f"{answers[0].shape[1] - inputs['input_ids'].shape[1]} tokens generated")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures or compared == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
