"""Makes small random checkpoints of the DeepSeek architectures, with what a forward pass must give for them.

    python scripts/make-forward-cases.py OUT [NAME ...] [--no-transformers]

For development: needs Python with numpy, torch, safetensors and, to compare, transformers; the product needs
none of it. Each case is a folder as in test/golden/forward: config.json, weights, expected.safetensors. To run
one through every test of the forward pass, copy it there: the tests take every folder that they find.

Expected values are computed here in float64, plainly, one position and one expert at a time, from the stored
weights. Where transformers runs the same model (no "hf": False below), its float32 results are compared and must agree.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from forward_reference import Reference, silu, mscale, is_moe

V3 = dict(
    architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", attention_bias=False, attention_dropout=0.0,
    bos_token_id=0, eos_token_id=1, first_k_dense_replace=1, hidden_act="silu", hidden_size=48,
    intermediate_size=80, kv_lora_rank=16, max_position_embeddings=1024, moe_intermediate_size=24, moe_layer_freq=1,
    n_group=2, n_routed_experts=8, n_shared_experts=1, norm_topk_prob=True, num_attention_heads=2,
    num_experts_per_tok=3, num_hidden_layers=2, num_key_value_heads=2, num_nextn_predict_layers=0, q_lora_rank=24,
    qk_nope_head_dim=16, qk_rope_head_dim=8, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=10000,
    routed_scaling_factor=2.5, scoring_func="sigmoid", tie_word_embeddings=False, topk_group=1,
    topk_method="noaux_tc", v_head_dim=16, vocab_size=96,
)
V2 = V3 | dict(
    architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", n_group=1, n_shared_experts=2,
    norm_topk_prob=False, q_lora_rank=None, routed_scaling_factor=1.0, scoring_func="softmax",
    topk_method="greedy",
)


def yarn(factor, positions, mscale, mscale_all_dim, **more):
    return dict(
        type="yarn", factor=factor, original_max_position_embeddings=positions, beta_fast=32, beta_slow=1,
        mscale=mscale, mscale_all_dim=mscale_all_dim,
    ) | more


# name: (config, how it is stored and compared)
CASES = {
    "v2-greedy": (V2 | dict(hidden_size=45, num_attention_heads=3, num_key_value_heads=3, vocab_size=97), {"positions": 16}),
    "v2-groups": (
        V2 | dict(
            n_routed_experts=12, n_group=4, topk_group=2, topk_method="group_limited_greedy", routed_scaling_factor=16.0,
            q_lora_rank=20, rope_scaling=yarn(40, 16, 0.707, 0.707), num_experts_per_tok=4,
        ),
        {"positions": 40},
    ),
    "v2-bf16": (V2 | dict(rope_scaling=yarn(7.5, 64, 0.707, 0.707), norm_topk_prob=True), {"dtype": torch.bfloat16, "positions": 150}),
    "v2-dense": (V2 | dict(n_routed_experts=None, first_k_dense_replace=9), {"hf": False}),
    "v3-one-group": (V3 | dict(n_group=1), {"positions": 150}),
    "v3-bias-tied": (V3 | dict(attention_bias=True, tie_word_embeddings=True, vocab_size=131), {}),
    "v3-bias-no-lora": (V3 | dict(attention_bias=True, q_lora_rank=None), {}),
    "v3-yarn-odd": (V3 | dict(rope_scaling=yarn(3.7, 48, 0.6, 1.3), rope_theta=50000.0), {"positions": 130}),
    "v3-yarn-no-all-dim": (
        V3 | dict(rope_scaling={"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64}),
        {"positions": 100},
    ),
    "v3-rope-halves": (V3 | dict(rope_interleave=False, rope_scaling=yarn(8, 32, 1.0, 1.0)), {"positions": 80}),
    "v3-rope-parameters": (
        {k: v for k, v in V3.items() if k not in ("rope_theta", "rope_scaling")}
        | dict(rope_parameters=dict(yarn(5, 64, 1.0, 0.5), rope_theta=20000.0, rope_type="yarn")),
        {"positions": 90},
    ),
    "v3-rope-parameters-default": (
        {k: v for k, v in V3.items() if k not in ("rope_theta", "rope_scaling")}
        | dict(rope_parameters=dict(rope_theta=500.0, rope_type="default")),
        {"positions": 90},
    ),
    "v3-all-moe": (V3 | dict(first_k_dense_replace=0, n_shared_experts=2), {}),
    "v3-no-shared": (V3 | dict(n_shared_experts=0), {"hf": False}),
    "v3-shared-null": (V3 | dict(n_shared_experts=None), {"hf": False}),
    "v3-top-all": (V3 | dict(num_experts_per_tok=8, topk_group=2), {}),
    "v3-top-1": (V3 | dict(num_experts_per_tok=1), {}),
    "v3-no-norm": (V3 | dict(norm_topk_prob=False, topk_group=2), {}),
    "v3-one-head": (V3 | dict(num_attention_heads=1, num_key_value_heads=1, v_head_dim=24), {}),
    "v3-odd": (
        V3 | dict(
            hidden_size=55, num_attention_heads=5, num_key_value_heads=5, v_head_dim=9, qk_nope_head_dim=7, qk_rope_head_dim=6,
            kv_lora_rank=13, q_lora_rank=11, intermediate_size=37, moe_intermediate_size=19, vocab_size=89,
        ),
        {"positions": 90},
    ),
    "v3-odd-bf16": (
        V3 | dict(
            hidden_size=51, num_attention_heads=3, num_key_value_heads=3, v_head_dim=11, qk_nope_head_dim=5, qk_rope_head_dim=2,
            kv_lora_rank=13, q_lora_rank=11, intermediate_size=37, moe_intermediate_size=19, vocab_size=89,
        ),
        {"dtype": torch.bfloat16, "router": torch.float32},
    ),
    "v3-odd-f16": (
        V3 | dict(
            hidden_size=33, num_attention_heads=3, num_key_value_heads=3, v_head_dim=11, qk_nope_head_dim=5, qk_rope_head_dim=4,
            kv_lora_rank=9, q_lora_rank=21, intermediate_size=39, moe_intermediate_size=17, vocab_size=77,
        ),
        {"dtype": torch.float16, "shards": 3},
    ),
    "v3-odd-fp8": (
        V3 | dict(
            hidden_size=147, num_attention_heads=3, num_key_value_heads=3, v_head_dim=45, qk_nope_head_dim=33, qk_rope_head_dim=10,
            kv_lora_rank=139, q_lora_rank=131, intermediate_size=201, moe_intermediate_size=133, vocab_size=67,
            num_nextn_predict_layers=1,
        ),
        {"fp8": True, "dtype": torch.bfloat16, "hf": False, "shards": 2},
    ),
    "v3-fp8-e5m2": (V3 | dict(hidden_size=130), {"fp8": "e5m2", "dtype": torch.bfloat16, "hf": False, "prompts": 1}),
    "v3-wide-heads": (
        V3 | dict(hidden_size=8, num_attention_heads=5, num_key_value_heads=5, v_head_dim=64, vocab_size=11, intermediate_size=8, moe_intermediate_size=4),
        {},
    ),
    "v3-narrow": (
        V3 | dict(hidden_size=200, num_attention_heads=1, num_key_value_heads=1, v_head_dim=4, vocab_size=5, intermediate_size=3, moe_intermediate_size=1, kv_lora_rank=1, q_lora_rank=1, qk_nope_head_dim=1, qk_rope_head_dim=2, n_shared_experts=3),
        {},
    ),
    "v3-every-other": (V3 | dict(moe_layer_freq=2, num_hidden_layers=4), {"hf": False}),
    "v3-dense": (V3 | dict(n_routed_experts=0), {"hf": False}),
    "v3-long": (
        V3 | dict(rope_scaling=yarn(40, 64, 1.0, 1.0), num_attention_heads=4, num_key_value_heads=4),
        {"positions": 420, "prompts": 1},
    ),
    "v3-many-heads": (
        V3 | dict(num_attention_heads=19, num_key_value_heads=19, qk_nope_head_dim=8, v_head_dim=8),
        {"positions": 200, "prompts": 1},
    ),
    "moonlight-like": (
        V3 | dict(
            n_group=1, n_shared_experts=2, norm_topk_prob=True, q_lora_rank=None, routed_scaling_factor=2.446, rope_theta=50000.0,
            rms_norm_eps=1e-5, n_routed_experts=16, num_experts_per_tok=6, num_hidden_layers=3, hidden_size=64,
            seq_aux=True, aux_loss_alpha=0.001,
        ),
        {"dtype": torch.bfloat16, "positions": 180},
    ),
    "v3-mtp": (V3 | dict(num_nextn_predict_layers=1, tie_word_embeddings=False), {"hf": False}),
}


# ---- weights ----------------------------------------------------------------------------------------------------


def shapes_of(config):
    """Every tensor of the checkpoint: name -> shape."""
    c = config
    d, heads, latent = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"]
    d_n, d_r, d_v = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    shapes = {"model.embed_tokens.weight": (c["vocab_size"], d), "model.norm.weight": (d,)}
    if not c["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (c["vocab_size"], d)

    def mlp(prefix, width):
        shapes[prefix + "gate_proj.weight"] = shapes[prefix + "up_proj.weight"] = (width, d)
        shapes[prefix + "down_proj.weight"] = (d, width)

    for layer in range(c["num_hidden_layers"] + c["num_nextn_predict_layers"]):
        at = f"model.layers.{layer}."
        attention = at + "self_attn."
        shapes[at + "input_layernorm.weight"] = shapes[at + "post_attention_layernorm.weight"] = (d,)
        biased = {"kv_a_proj_with_mqa": latent + d_r, "o_proj": d}
        if c["q_lora_rank"]:
            shapes[attention + "q_a_proj.weight"] = (c["q_lora_rank"], d)
            shapes[attention + "q_a_layernorm.weight"] = (c["q_lora_rank"],)
            shapes[attention + "q_b_proj.weight"] = (heads * (d_n + d_r), c["q_lora_rank"])
            biased["q_a_proj"] = c["q_lora_rank"]
        else:
            shapes[attention + "q_proj.weight"] = (heads * (d_n + d_r), d)
        shapes[attention + "kv_a_proj_with_mqa.weight"] = (latent + d_r, d)
        shapes[attention + "kv_a_layernorm.weight"] = (latent,)
        shapes[attention + "kv_b_proj.weight"] = (heads * (d_n + d_v), latent)
        shapes[attention + "o_proj.weight"] = (d, heads * d_v)
        if c["attention_bias"]:
            shapes |= {attention + name + ".bias": (rows,) for name, rows in biased.items()}
        if is_moe(c, layer):
            shapes[at + "mlp.gate.weight"] = (c["n_routed_experts"], d)
            if c["topk_method"] == "noaux_tc":
                shapes[at + "mlp.gate.e_score_correction_bias"] = (c["n_routed_experts"],)
            for expert in range(c["n_routed_experts"]):
                mlp(f"{at}mlp.experts.{expert}.", c["moe_intermediate_size"])
            if c["n_shared_experts"]:
                mlp(at + "mlp.shared_experts.", c["n_shared_experts"] * c["moe_intermediate_size"])
        else:
            mlp(at + "mlp.", c["intermediate_size"])
        if layer >= c["num_hidden_layers"]:
            shapes[at + "enorm.weight"] = shapes[at + "hnorm.weight"] = shapes[at + "shared_head.norm.weight"] = (d,)
            shapes[at + "eh_proj.weight"] = (d, 2 * d)
    return shapes


def random_tensor(name, shape, generator):
    values = torch.randn(shape, generator=generator)
    if name.endswith("norm.weight"):
        return 1 + 0.2 * values
    if name.endswith("bias"):
        return 0.2 * values
    if name.endswith("embed_tokens.weight"):
        return values
    gain = 2.0 if "gate.weight" in name or "lm_head" in name else 1.2
    return values * gain / shape[1] ** 0.5


def in_blocks(values, dtype):
    """FP8 codes and the scale of each 128 x 128 block."""
    rows, cols = values.shape
    largest = torch.finfo(dtype).max
    scale = torch.empty(-(-rows // 128), -(-cols // 128))
    codes = torch.empty(rows, cols, dtype=dtype)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            block = (slice(128 * i, 128 * i + 128), slice(128 * j, 128 * j + 128))
            scale[i, j] = values[block].abs().max() / largest
            codes[block] = (values[block] / scale[i, j]).to(dtype)
    return codes, scale


def make_weights(config, how, seed):
    """Stored tensors, and their values in float64."""
    generator = torch.Generator().manual_seed(seed)
    plain = how.get("dtype", torch.float32)
    stored, values = {}, {}
    for name, shape in shapes_of(config).items():
        tensor = random_tensor(name, shape, generator)
        if how.get("fp8") and "_proj" in name and "eh_proj" not in name:
            codes, scale = in_blocks(tensor, torch.float8_e5m2 if how["fp8"] == "e5m2" else torch.float8_e4m3fn)
            stored[name], stored[name + "_scale_inv"] = codes, scale
            spread = scale.repeat_interleave(128, 0)[: shape[0]].repeat_interleave(128, 1)[:, : shape[1]]
            values[name] = codes.double() * spread.double()
        else:
            kept = torch.float32 if "correction_bias" in name else plain
            stored[name] = tensor.to(how.get("router", kept) if ".gate.weight" in name else kept)
            values[name] = stored[name].double()
    return stored, {name: tensor.numpy() for name, tensor in values.items()}


# ---- reference --------------------------------------------------------------------------------------------------


def gap(logits):
    """The smallest distance between the best and the second of any row."""
    best = np.sort(logits)[..., -2:]
    return (best[..., 1] - best[..., 0]).min()


def expected_of(config, weights, prompts, num_greedy):
    reference = Reference(config, weights)
    per_prompt, margin = [], np.inf
    for prompt in prompts:
        found = reference.run(prompt)
        ids = list(prompt)
        for _ in range(num_greedy):
            logits = reference.run(np.array(ids))["logits"]
            margin = min(margin, gap(logits[-1:]))
            ids.append(int(logits[-1].argmax()))
        found["greedy_ids"] = np.array(ids[len(prompt) :])
        if config["num_nextn_predict_layers"]:
            whole = np.array(ids)
            found |= reference.run_mtp(reference.run(whole[:-1])["hidden.norm"], whole[1:])
            margin = min(margin, gap(found["mtp.logits"]))
        per_prompt.append(found)
    stacked = {name: np.stack([found[name] for found in per_prompt]) for name in per_prompt[0]}
    return {"input_ids": np.stack(prompts)} | stacked, reference.margin, margin


# ---- transformers -----------------------------------------------------------------------------------------------


def compare_with_transformers(folder, expected):
    """The largest error of transformers' float32 results, relative to the largest magnitude of each tensor."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    how = dict(attn_implementation="eager", experts_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **how)
    with torch.no_grad():
        out = model(torch.tensor(expected["input_ids"]), output_hidden_states=True, use_cache=False)
    num_layers = len(out.hidden_states) - 1
    theirs = {"hidden.embed": out.hidden_states[0], "hidden.norm": out.hidden_states[-1], "logits": out.logits}
    theirs |= {f"hidden.layer.{i}": out.hidden_states[i + 1] for i in range(num_layers - 1)}
    return max(
        np.abs(value.double().numpy() - expected[name]).max() / np.abs(expected[name]).max()
        for name, value in theirs.items()
    )


# ---- files ------------------------------------------------------------------------------------------------------


def write_checkpoint(folder, config, stored, how):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = dict(config, torch_dtype=str(how.get("dtype", torch.float32)).removeprefix("torch."))
    if how.get("fp8"):
        config["quantization_config"] = dict(
            quant_method="fp8", fmt="e5m2" if how["fp8"] == "e5m2" else "e4m3", activation_scheme="dynamic",
            weight_block_size=[128, 128],
        )
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    num_shards = how.get("shards", 1)
    if num_shards == 1:
        save_file(stored, folder / "model.safetensors")
        return
    files = [f"model-{i + 1:05}-of-{num_shards:05}.safetensors" for i in range(num_shards)]
    weight_map = {name: files[i % num_shards] for i, name in enumerate(sorted(stored))}
    for file in files:
        save_file({name: stored[name] for name in stored if weight_map[name] == file}, folder / file)
    total = sum(tensor.nbytes for tensor in stored.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def write_expected(folder, expected):
    def stored(value):
        is_ids = np.issubdtype(value.dtype, np.integer)
        return torch.tensor(value.astype(np.int64 if is_ids else np.float32)).contiguous()

    save_file({name: stored(value) for name, value in expected.items()}, folder / "expected.safetensors")


def make(out, name, use_transformers):
    config, how = CASES[name]
    folder = out / name
    batch, length = how.get("prompts", 2), how.get("positions", 24)
    for seed in range(1, 100):
        stored, weights = make_weights(config, how, seed)
        rng = np.random.default_rng(seed)
        prompts = [np.concatenate([[0], rng.integers(0, config["vocab_size"], length - 1)]) for _ in range(batch)]
        expected, router_gap, token_gap = expected_of(config, weights, prompts, 16)
        # Roundings of float32 must not decide anything.
        if min(router_gap, token_gap) > (1e-6 if length > 100 else 1e-5):
            break
    write_checkpoint(folder, config, stored, how)
    line = f"{name}: seed {seed}, gap of router choices {router_gap:.2g}, of greedy tokens {token_gap:.2g}"
    if use_transformers and how.get("hf", True):
        try:
            error = compare_with_transformers(folder, expected)
            line += f", transformers within {error:.1e}{'' if error < 1e-4 else '  <-- DISAGREES'}"
        except Exception as error:  # it refuses some shapes that the architecture allows
            line += f", not run by transformers: {str(error).splitlines()[-1].strip()}"
    write_expected(folder, expected)
    (folder / "README.md").write_text(f"Made by scripts/make-forward-cases.py. {line}.\n")
    print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help="cases; default: all")
    parser.add_argument("--no-transformers", action="store_true", help="do not compare with transformers")
    arguments = parser.parse_args()
    for name in arguments.names or CASES:
        make(arguments.out, name, not arguments.no_transformers)


main()
