"""The DeepSeek-V3 architecture in PyTorch, small, to train: no cache, whole rows at once.

Parts follow arXiv:2412.19437: latent attention (2.1.1), experts with a router bias that balances them (2.1.2), one
multi-token prediction layer (2.2). Modules are named as in the checkpoint where they stand for one tensor each.

One thing differs from a real implementation: the routed experts of a layer lie side by side in three matrices, all of
them are computed for every token, and the router's weights (0 for those not chosen) scale their activations. With 16
experts of width 64 two large products are quicker on a CPU than 16 gathers, and the result is the same.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# As config.json spells them.
CONFIG = {
    "vocab_size": 640,
    "hidden_size": 128,
    "intermediate_size": 384,
    "moe_intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_nextn_predict_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 64,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "num_experts_per_tok": 4,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 2.5,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
YARN = {
    "factor": 4.0,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 256,
}
# The routed experts' matrices, as they end in a state dict: what fine-tuning moves most and blends.py mixes.
ROUTED_EXPERTS = (".mlp.experts_gate.weight", ".mlp.experts_up.weight", ".mlp.experts_down.weight")


def yarn_frequencies(dim: int, base: float) -> Tensor:
    """RoPE's frequencies by YaRN (arXiv:2309.00071): low ones divided by the factor, high ones as they are."""
    trained = YARN["original_max_position_embeddings"]
    plain = base ** (-torch.arange(0, dim, 2).float() / dim)

    def dimension_of(rotations: float) -> float:
        """The dimension that turns so many times within the trained context."""
        return dim * math.log(trained / (2 * math.pi * rotations)) / (2 * math.log(base))

    low = max(math.floor(dimension_of(YARN["beta_fast"])), 0)
    high = min(math.ceil(dimension_of(YARN["beta_slow"])), dim - 1)
    ramp = ((torch.arange(dim // 2).float() - low) / ((high - low) or 1e-3)).clamp(0, 1)
    return plain * (1 - ramp) + plain / YARN["factor"] * ramp  # (dim / 2)


def linear(inputs: int, outputs: int, std: float | None = None) -> nn.Linear:
    """A matrix without bias, drawn so that its output has the variance of its input."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=std or inputs**-0.5)
    return layer


class RmsNorm(nn.Module):
    """Root mean square norm, in float32."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + CONFIG["rms_norm_eps"]) * self.weight


class LatentAttention(nn.Module):
    """Multi-head latent attention in its expanded form: keys and values of every head are written out."""

    def __init__(self) -> None:
        super().__init__()
        hidden, heads = CONFIG["hidden_size"], CONFIG["num_attention_heads"]
        q_rank, kv_rank = CONFIG["q_lora_rank"], CONFIG["kv_lora_rank"]
        nope, rope, value = CONFIG["qk_nope_head_dim"], CONFIG["qk_rope_head_dim"], CONFIG["v_head_dim"]
        self.q_a_proj = linear(hidden, q_rank)
        self.q_a_layernorm = RmsNorm(q_rank)
        self.q_b_proj = linear(q_rank, heads * (nope + rope))
        self.kv_a_proj_with_mqa = linear(hidden, kv_rank + rope)
        self.kv_a_layernorm = RmsNorm(kv_rank)
        self.kv_b_proj = linear(kv_rank, heads * (nope + value))
        self.o_proj = linear(heads * value, hidden, (heads * value) ** -0.5 / 3)
        self.register_buffer("frequencies", yarn_frequencies(rope, CONFIG["rope_theta"]), persistent=False)
        mscale = 0.1 * YARN["mscale_all_dim"] * math.log(YARN["factor"]) + 1
        self.scale = (nope + rope) ** -0.5 * mscale * mscale

    def rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        """RoPE on interleaved pairs, in float32."""
        angles = positions[:, None].float() * self.frequencies  # (tokens, rope / 2)
        cos, sin = angles.cos(), angles.sin()
        even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        rows, tokens, _ = x.shape
        heads = CONFIG["num_attention_heads"]
        nope, rope, value = CONFIG["qk_nope_head_dim"], CONFIG["qk_rope_head_dim"], CONFIG["v_head_dim"]

        query = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        query = query.view(rows, tokens, heads, -1).transpose(1, 2)  # (rows, heads, tokens, nope + rope)
        query, query_rope = query.split([nope, rope], -1)

        latent, key_rope = self.kv_a_proj_with_mqa(x).split([CONFIG["kv_lora_rank"], rope], -1)
        expanded = self.kv_b_proj(self.kv_a_layernorm(latent))
        expanded = expanded.view(rows, tokens, heads, -1).transpose(1, 2)
        key, values = expanded.split([nope, value], -1)

        query_rope = self.rotate(query_rope, positions)
        key_rope = self.rotate(key_rope[:, None], positions).expand(-1, heads, -1, -1)  # one for all heads
        mixed = F.scaled_dot_product_attention(
            torch.cat([query, query_rope.to(query)], -1),
            torch.cat([key, key_rope.to(key)], -1),
            values,
            is_causal=True,
            scale=self.scale,
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """SwiGLU: of the dense layer, and the shared expert."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = CONFIG["hidden_size"]
        self.gate_proj = linear(hidden, width)
        self.up_proj = linear(hidden, width)
        self.down_proj = linear(width, hidden, width**-0.5 / 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class MixtureOfExperts(nn.Module):
    """Routed experts, side by side in three matrices, and a shared one."""

    def __init__(self) -> None:
        super().__init__()
        hidden, experts, width = CONFIG["hidden_size"], CONFIG["n_routed_experts"], CONFIG["moe_intermediate_size"]
        self.router = nn.Parameter(torch.randn(experts, hidden) * hidden**-0.5)
        self.register_buffer("router_bias", torch.zeros(experts))
        self.register_buffer("load", torch.zeros(experts))  # tokens each expert got since the last balance
        self.experts_gate = linear(hidden, experts * width)
        self.experts_up = linear(hidden, experts * width)
        self.experts_down = linear(experts * width, hidden, width**-0.5 / 3)
        self.shared_experts = Mlp(width)

    def chosen(self, scores: Tensor) -> Tensor:
        """1 for the experts a token goes to: the best of the groups whose two best experts score most. The bias
        decides here, and only here."""
        biased = (scores + self.router_bias).detach()
        grouped = biased.unflatten(-1, (CONFIG["n_group"], -1))  # (…, groups, experts per group)
        groups = grouped.topk(2, -1).values.sum(-1).topk(CONFIG["topk_group"], -1).indices
        kept = torch.zeros_like(grouped[..., 0]).scatter_(-1, groups, 1.0)
        kept = kept[..., None].expand_as(grouped).flatten(-2)
        experts = biased.masked_fill(kept == 0, -torch.inf).topk(CONFIG["num_experts_per_tok"], -1).indices
        return torch.zeros_like(scores).scatter_(-1, experts, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.sigmoid(F.linear(x.float(), self.router.float()))  # (…, experts)
        chosen = self.chosen(scores)
        if self.training:
            self.load += chosen.flatten(0, -2).sum(0)
        weights = scores * chosen
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) * CONFIG["routed_scaling_factor"]

        active = F.silu(self.experts_gate(x)) * self.experts_up(x)
        active = active.unflatten(-1, (CONFIG["n_routed_experts"], -1)) * weights[..., None].to(active)
        return self.experts_down(active.flatten(-2)) + self.shared_experts(x)

    @torch.no_grad()
    def balance(self, rate: float) -> None:
        """Moves the bias of experts with too many tokens down and of those with too few up, by one step."""
        self.router_bias += rate * torch.sign(self.load.mean() - self.load)
        self.load.zero_()


class Block(nn.Module):
    """A layer: attention, then a dense MLP or experts, each behind a norm and beside the residual stream."""

    def __init__(self, layer: int) -> None:
        super().__init__()
        hidden = CONFIG["hidden_size"]
        self.input_layernorm = RmsNorm(hidden)
        self.post_attention_layernorm = RmsNorm(hidden)
        self.self_attn = LatentAttention()
        dense = layer < CONFIG["first_k_dense_replace"]
        self.mlp = Mlp(CONFIG["intermediate_size"]) if dense else MixtureOfExperts()

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), positions)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    """The whole model; the last of its layers is the MTP layer, which shares the embedding and the head."""

    def __init__(self) -> None:
        super().__init__()
        hidden, vocabulary = CONFIG["hidden_size"], CONFIG["vocab_size"]
        layers = CONFIG["num_hidden_layers"] + CONFIG["num_nextn_predict_layers"]
        self.embed_tokens = nn.Embedding(vocabulary, hidden)
        nn.init.normal_(self.embed_tokens.weight, std=0.5)
        self.layers = nn.ModuleList(Block(layer) for layer in range(layers))
        self.norm = RmsNorm(hidden)
        self.lm_head = linear(hidden, vocabulary)
        self.enorm = RmsNorm(hidden)
        self.hnorm = RmsNorm(hidden)
        self.eh_proj = linear(2 * hidden, hidden)
        self.mtp_norm = RmsNorm(hidden)

    def hidden(self, tokens: Tensor) -> Tensor:
        """The normed hidden states behind the last layer but the MTP one."""
        positions = torch.arange(tokens.shape[1])
        x = self.embed_tokens(tokens)
        for block in self.layers[:-1]:
            x = block(x, positions)
        return self.norm(x)

    def logits(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every position."""
        return self.lm_head(self.hidden(tokens))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the next token at every position, and of the one behind it at every position but the last."""
        hidden = self.hidden(tokens)
        logits = self.lm_head(hidden)
        following = self.embed_tokens(tokens[:, 1:])
        x = self.eh_proj(torch.cat([self.enorm(following), self.hnorm(hidden[:, :-1])], -1))
        x = self.layers[-1](x, torch.arange(tokens.shape[1] - 1))
        return logits, self.lm_head(self.mtp_norm(x))

    def balance(self, rate: float) -> None:
        """Balances the experts of every layer that has some."""
        for block in self.layers:
            if isinstance(block.mlp, MixtureOfExperts):
                block.mlp.balance(rate)
