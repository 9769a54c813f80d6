"""The forward pass in float64, plainly: one position and one expert at a time. For make-forward-cases.py."""

import numpy as np


def is_moe(config, layer):
    if not config["n_routed_experts"]:
        return False
    dense = layer < config["first_k_dense_replace"] or layer % config["moe_layer_freq"] != 0
    return layer >= config["num_hidden_layers"] or not dense


def rms_norm(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def silu(z):
    return z / (1 + np.exp(-z))


def mscale(factor, m):
    return 1.0 if factor <= 1 else 0.1 * m * np.log(factor) + 1


class Rope:
    def __init__(self, config):
        parameters = config.get("rope_parameters") or {}
        scaling = parameters or config.get("rope_scaling") or {}
        theta = parameters.get("rope_theta") or config["rope_theta"]
        d = config["qk_rope_head_dim"]
        self.interleaved = config.get("rope_interleave") is not False
        self.frequencies = np.array([theta ** (-2 * i / d) for i in range(d // 2)])
        self.amplitude = 1.0
        self.scale = (config["qk_nope_head_dim"] + d) ** -0.5
        if (scaling.get("rope_type") or scaling.get("type")) != "yarn":
            return
        factor, positions = scaling["factor"], scaling["original_max_position_embeddings"]

        def dim(turns):
            return d * np.log(positions / (2 * np.pi * turns)) / (2 * np.log(theta))

        low = max(np.floor(dim(scaling.get("beta_fast", 32))), 0)
        high = min(np.ceil(dim(scaling.get("beta_slow", 1))), d - 1)
        width = 0.001 if low == high else high - low
        for i in range(d // 2):
            ramp = min(max((i - low) / width, 0), 1)
            self.frequencies[i] *= (1 - ramp) + ramp / factor
        all_dim = mscale(factor, scaling.get("mscale_all_dim", 0))
        self.amplitude = mscale(factor, scaling.get("mscale", 1)) / all_dim
        self.scale *= all_dim**2

    def __call__(self, x, position):
        """Rotates the last axis of x."""
        cos, sin = np.cos(position * self.frequencies), np.sin(position * self.frequencies)
        half = len(self.frequencies)
        first, second = (slice(0, None, 2), slice(1, None, 2)) if self.interleaved else (slice(0, half), slice(half, None))
        out = np.empty_like(x)
        out[..., first] = (x[..., first] * cos - x[..., second] * sin) * self.amplitude
        out[..., second] = (x[..., first] * sin + x[..., second] * cos) * self.amplitude
        return out


class Reference:
    def __init__(self, config, weights):
        self.config, self.weights, self.rope = config, weights, Rope(config)
        self.margin = np.inf  # the smallest gap of any choice of experts

    def norm(self, x, name):
        return rms_norm(x, self.weights[name], self.config["rms_norm_eps"])

    def linear(self, x, name):
        y = x @ self.weights[name + ".weight"].T
        return y + self.weights.get(name + ".bias", 0)

    def attention(self, x, at):
        c = self.config
        heads, latent = c["num_attention_heads"], c["kv_lora_rank"]
        d_n, d_r, d_v = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
        count = len(x)
        if c["q_lora_rank"]:
            low = rms_norm(self.linear(x, at + "q_a_proj"), self.weights[at + "q_a_layernorm.weight"], 1e-6)
            q = self.linear(low, at + "q_b_proj")
        else:
            q = self.linear(x, at + "q_proj")
        q = q.reshape(count, heads, d_n + d_r)
        down = self.linear(x, at + "kv_a_proj_with_mqa")
        c_kv = rms_norm(down[:, :latent], self.weights[at + "kv_a_layernorm.weight"], 1e-6)
        up = self.linear(c_kv, at + "kv_b_proj").reshape(count, heads, d_n + d_v)
        q_r = np.stack([self.rope(q[t, :, d_n:], t) for t in range(count)])
        k_r = np.stack([self.rope(down[t, latent:], t) for t in range(count)])
        out = np.empty((count, heads, d_v))
        for head in range(heads):
            scores = self.rope.scale * (q[:, head, :d_n] @ up[:, head, :d_n].T + q_r[:, head] @ k_r.T)
            scores[np.triu_indices(count, 1)] = -np.inf
            p = np.exp(scores - scores.max(-1, keepdims=True))
            out[:, head] = p / p.sum(-1, keepdims=True) @ up[:, head, d_n:]
        return self.linear(out.reshape(count, heads * d_v), at + "o_proj")

    def mlp(self, x, at):
        return self.linear(silu(self.linear(x, at + "gate_proj")) * self.linear(x, at + "up_proj"), at + "down_proj")

    def choose(self, values, k):
        """The k best indices; notes how near the next one is."""
        order = np.argsort(-values, kind="stable")
        if 0 < k < len(values) and np.isfinite(values[order[k]]):
            self.margin = min(self.margin, values[order[k - 1]] - values[order[k]])
        return order[:k]

    def route(self, logits, bias):
        c = self.config
        is_sigmoid = c["scoring_func"] == "sigmoid"
        powers = np.exp(logits - logits.max())
        scores = 1 / (1 + np.exp(-logits)) if is_sigmoid else powers / powers.sum()
        z = scores + bias
        groups = c["n_group"] or 1
        if groups > 1 and c["topk_method"] != "greedy":
            size = len(z) // groups
            members = np.sort(z.reshape(groups, size))
            best = members[:, -2:].sum(-1) if c["topk_method"] == "noaux_tc" else members[:, -1]
            kept = self.choose(best, c["topk_group"])
            z = np.where(np.isin(np.arange(len(z)) // size, kept), z, -np.inf)
        experts = np.sort(self.choose(z, c["num_experts_per_tok"]))
        weights = scores[experts]
        if is_sigmoid and c["norm_topk_prob"]:
            weights = weights / (weights.sum() + 1e-20)
        return experts, weights * c["routed_scaling_factor"]

    def moe(self, x, at):
        c = self.config
        out = self.mlp(x, at + "shared_experts.") if c["n_shared_experts"] else np.zeros_like(x)
        bias = self.weights.get(at + "gate.e_score_correction_bias", 0)
        chosen = [self.route(row @ self.weights[at + "gate.weight"].T, bias) for row in x]
        for t, (experts, weights) in enumerate(chosen):
            for expert, weight in zip(experts, weights):
                out[t] += weight * self.mlp(x[t], f"{at}experts.{expert}.")
        return out, np.stack([e for e, _ in chosen]), np.stack([w for _, w in chosen])

    def block(self, x, layer, found, router):
        at = f"model.layers.{layer}."
        x = x + self.attention(self.norm(x, at + "input_layernorm.weight"), at + "self_attn.")
        inner = self.norm(x, at + "post_attention_layernorm.weight")
        if not is_moe(self.config, layer):
            return x + self.mlp(inner, at + "mlp.")
        out, found[router + ".indices"], found[router + ".weights"] = self.moe(inner, at + "mlp.")
        return x + out

    def run(self, ids):
        found = {}
        x = found["hidden.embed"] = self.weights["model.embed_tokens.weight"][ids]
        for layer in range(self.config["num_hidden_layers"]):
            x = found[f"hidden.layer.{layer}"] = self.block(x, layer, found, f"router.{layer}")
        found["hidden.norm"] = self.norm(x, "model.norm.weight")
        found["logits"] = found["hidden.norm"] @ self.head().T
        return found

    def head(self):
        return self.weights["model.embed_tokens.weight" if self.config["tie_word_embeddings"] else "lm_head.weight"]

    def run_mtp(self, hidden, following):
        """The MTP layer over main hidden states, with the token after each."""
        layer = self.config["num_hidden_layers"]
        at = f"model.layers.{layer}."
        embedded = self.norm(self.weights["model.embed_tokens.weight"][following], at + "enorm.weight")
        both = np.concatenate([embedded, self.norm(hidden, at + "hnorm.weight")], -1)
        found = {"mtp.main_hidden": hidden, "mtp.input_ids": following}
        found["mtp.hidden"] = self.block(self.linear(both, at + "eh_proj"), layer, found, "mtp.router")
        found["mtp.norm"] = self.norm(found["mtp.hidden"], at + "shared_head.norm.weight")
        found["mtp.logits"] = found["mtp.norm"] @ self.head().T
        found["mtp.draft_ids"] = found["mtp.logits"].argmax(-1)
        return found
