"""Loads a child in Hugging Face transformers and lets it answer: proof that others accept what we write.

Run by hand where Python has torch, transformers, accelerate and safetensors; the product needs no Python.

    python scripts/check-transformers.py out/demo-r1t [--prompt "17 + 25 = ?"] [--tokens 64]

Checks: no weight of the main model is missing; a few weights, as transformers dequantised them, equal
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


def stored(folder: Path, name: str) -> torch.Tensor:
    """A tensor as the file holds it; FP8 times its block scales."""
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]

    def read(key: str) -> torch.Tensor:
        with safe_open(folder / weight_map[key], framework="pt") as shard:
            return shard.get_tensor(key)

    weight = read(name)
    if weight.dtype != torch.float8_e4m3fn:
        return weight.float()
    rows, cols = weight.shape
    scale = read(name + "_scale_inv").float()
    scale = scale.repeat_interleave(128, 0)[:rows].repeat_interleave(128, 1)[:, :cols]
    return weight.float() * scale


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("child", type=Path)
    parser.add_argument("--prompt", default="What is 17 + 25?")
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()

    config = json.loads((options.child / "config.json").read_text())
    quantized = {"quantization_config": FineGrainedFP8Config(dequantize=True)} if "quantization_config" in config else {}
    model, info = AutoModelForCausalLM.from_pretrained(
        options.child, dtype=torch.float32, output_loading_info=True, **quantized
    )
    model.eval()
    failures = [f"missing in the child: {key}" for key in info["missing_keys"]]

    parameters = dict(model.named_parameters())
    compared = 0
    for name in ("model.layers.0.self_attn.o_proj.weight", "model.layers.1.mlp.shared_experts.up_proj.weight",
                 "model.layers.1.mlp.gate.weight", "model.embed_tokens.weight", "lm_head.weight"):
        if name in parameters:
            compared += 1
            if not torch.equal(parameters[name].detach().float(), stored(options.child, name)):
                failures.append(f"{name}: transformers holds other values than the file")

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
    print(f"{len(parameters)} parameters loaded, {compared} compared with the file, "
          f"{answers[0].shape[1] - inputs['input_ids'].shape[1]} tokens generated")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures or compared == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
