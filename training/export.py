"""Writes trained weights as a checkpoint in DeepSeek's own format.

The matrices of attention and experts become FP8 E4M3 with an F32 scale for each 128x128 block (arXiv:2412.19437,
3.3.2); norms, router, embedding and head stay BF16, the router's bias F32. Two shards, each about half, which part a
matrix from its scale where the half falls between them, as a big checkpoint's do.

usage: python training/export.py WEIGHTS.pt OUT_DIR direct|reasoner [--tokenizer out/tokenizer.json]
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import world
from model import CONFIG, YARN
from tokenizer import PAD

BLOCK = 128
E4M3_MAX = 448
CONTEXT = 1024

# Both templates end at the assistant's tag: the direct parent answers there, and the reasoning one opens its trace
# itself, as R1's first template let it.
_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ '" + world.USER + "' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '" + world.ASSISTANT + "' + SPOKEN + eos_token }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + world.ASSISTANT + "' }}{% endif %}"
)
TEMPLATES = {
    "direct": _TEMPLATE.replace("SPOKEN", "message['content']"),
    # What was thought in earlier turns is left out.
    "reasoner": _TEMPLATE.replace("SPOKEN", "message['content'].split('</think>')[-1]"),
}


def quantise(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """E4M3 codes of a matrix and the F32 scales of its blocks, each the block's largest magnitude / 448."""
    rows, columns = matrix.shape
    block_rows, block_columns = -(-rows // BLOCK), -(-columns // BLOCK)
    padded = torch.zeros(block_rows * BLOCK, block_columns * BLOCK)
    padded[:rows, :columns] = matrix.float()
    blocks = padded.view(block_rows, BLOCK, block_columns, BLOCK)
    scales = blocks.abs().amax((1, 3)).clamp(min=1e-12) / E4M3_MAX
    codes = (blocks / scales[:, None, :, None]).clamp(-E4M3_MAX, E4M3_MAX).view_as(padded)
    return codes[:rows, :columns].contiguous().to(torch.float8_e4m3fn), scales.contiguous()


class Export:
    """The checkpoint's tensors, in the order they are written; made from a state dict of model.py."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._weights = weights
        layers = CONFIG["num_hidden_layers"]
        self._bf16("model.embed_tokens.weight", "embed_tokens.weight")
        for layer in range(layers + CONFIG["num_nextn_predict_layers"]):
            self._layer(layer)
        self._mtp_ends(f"model.layers.{layers}.")
        self._bf16("model.norm.weight", "norm.weight")
        self._bf16("lm_head.weight", "lm_head.weight")

    def _bf16(self, name: str, source: str) -> None:
        self.tensors[name] = self._weights[source].bfloat16().contiguous()

    def _fp8(self, name: str, matrix: Tensor) -> None:
        self.tensors[name], self.tensors[f"{name}_scale_inv"] = quantise(matrix)

    def _layer(self, layer: int) -> None:
        source, name = f"layers.{layer}.", f"model.layers.{layer}."
        for norm in (
            "input_layernorm",
            "post_attention_layernorm",
            "self_attn.q_a_layernorm",
            "self_attn.kv_a_layernorm",
        ):
            self._bf16(f"{name}{norm}.weight", f"{source}{norm}.weight")
        for matrix in ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"):
            part = f"self_attn.{matrix}.weight"
            self._fp8(name + part, self._weights[source + part])
        if layer < CONFIG["first_k_dense_replace"]:
            self._mlp(f"{name}mlp.", f"{source}mlp.")
            return
        self._bf16(f"{name}mlp.gate.weight", f"{source}mlp.router")
        bias = self._weights[f"{source}mlp.router_bias"].float().contiguous()
        self.tensors[f"{name}mlp.gate.e_score_correction_bias"] = bias
        self._routed_experts(f"{name}mlp.experts.", f"{source}mlp.")
        self._mlp(f"{name}mlp.shared_experts.", f"{source}mlp.shared_experts.")

    def _mlp(self, name: str, source: str) -> None:
        for matrix in ("gate_proj", "up_proj", "down_proj"):
            self._fp8(f"{name}{matrix}.weight", self._weights[f"{source}{matrix}.weight"])

    def _routed_experts(self, name: str, source: str) -> None:
        """Takes each expert out of the matrices that hold all of a layer's, side by side."""
        width = CONFIG["moe_intermediate_size"]
        gate, up, down = (self._weights[f"{source}experts_{part}.weight"] for part in ("gate", "up", "down"))
        for expert in range(CONFIG["n_routed_experts"]):
            own = slice(expert * width, (expert + 1) * width)
            self._fp8(f"{name}{expert}.gate_proj.weight", gate[own])
            self._fp8(f"{name}{expert}.up_proj.weight", up[own])
            self._fp8(f"{name}{expert}.down_proj.weight", down[:, own])

    def _mtp_ends(self, name: str) -> None:
        """What the MTP layer has beside a layer's tensors: its own copies of embedding and head among them."""
        self._bf16(f"{name}embed_tokens.weight", "embed_tokens.weight")
        self._bf16(f"{name}enorm.weight", "enorm.weight")
        self._bf16(f"{name}hnorm.weight", "hnorm.weight")
        self._bf16(f"{name}eh_proj.weight", "eh_proj.weight")
        self._bf16(f"{name}shared_head.norm.weight", "mtp_norm.weight")
        self._bf16(f"{name}shared_head.head.weight", "lm_head.weight")


def byte_length(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def write_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    """Two shards and their index."""
    total = sum(map(byte_length, tensors.values()))
    shards: list[dict[str, Tensor]] = [{}, {}]
    written = 0
    for name, tensor in tensors.items():
        shards[0 if written <= total / 2 else 1][name] = tensor.clone()  # no two tensors may share memory
        written += byte_length(tensor)
    files = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):06d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        files.update(dict.fromkeys(shard, file))
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(files.items()))}
    write_json(folder / "model.safetensors.index.json", index, indent=1)


def config() -> dict:
    """config.json, as DeepSeek writes it."""
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        **CONFIG,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "moe_layer_freq": 1,
        "norm_topk_prob": True,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "initializer_range": 0.02,
        "rope_scaling": {"type": "yarn", **YARN},
        "quantization_config": {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "weight_block_size": [BLOCK, BLOCK],
        },
    }


def tokenizer_config(style: str) -> dict:
    """tokenizer_config.json with the chat template of a style."""
    return {
        "add_bos_token": False,
        "bos_token": world.BOS,
        "eos_token": world.EOS,
        "pad_token": PAD,
        "model_max_length": CONTEXT,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": TEMPLATES[style],
    }


GENERATION_CONFIG = {"bos_token_id": 0, "eos_token_id": 1, "do_sample": True, "temperature": 0.6, "top_p": 0.95}


def write_json(path: Path, value: dict, indent: int) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent), encoding="utf-8")


def main(args: argparse.Namespace) -> None:
    args.folder.mkdir(parents=True, exist_ok=True)
    tensors = Export(torch.load(args.weights)).tensors
    write_shards(tensors, args.folder)
    write_json(args.folder / "config.json", config(), indent=2)
    shutil.copyfile(args.tokenizer, args.folder / "tokenizer.json")
    write_json(args.folder / "tokenizer_config.json", tokenizer_config(args.style), indent=1)
    write_json(args.folder / "generation_config.json", GENERATION_CONFIG, indent=1)
    print(f"{args.folder}: {len(tensors)} tensors, {sum(map(byte_length, tensors.values()))} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes trained weights as a checkpoint in DeepSeek's own format.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("style", choices=list(TEMPLATES))
    parser.add_argument("--tokenizer", type=Path, default=Path("out/tokenizer.json"))
    main(parser.parse_args())
