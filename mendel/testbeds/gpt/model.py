"""A GPT in one screen of classes: every choice a recipe makes is one visible branch.

Shape suffixes: B sequences, T positions, W width, H heads, D head width, V vocabulary, F MLP width.
"""

from __future__ import annotations

import hashlib
import math

import torch
from config import Config
from torch import nn
from torch.nn import functional as F


def make_norm(config: Config, width: int) -> nn.Module:
    if config.norm == "layernorm":
        return nn.LayerNorm(width, bias=config.bias)
    if config.norm == "rmsnorm":
        return nn.RMSNorm(width, eps=1e-6)
    raise ValueError(f"norm is {config.norm!r}; allowed are layernorm, rmsnorm")


def rope_tables(context: int, head_dim: int, base: float):
    """Cosine and sine of each position and frequency (Su et al. 2021): two tensors of shape (T, D / 2)."""
    frequencies_D = base ** (-torch.arange(0, head_dim, 2) / head_dim)
    angles_TD = torch.outer(torch.arange(context), frequencies_D)
    return angles_TD.cos(), angles_TD.sin()


def rotate(x_BHTD, cos_TD, sin_TD):
    a, b = x_BHTD.chunk(2, dim=-1)
    return torch.cat((a * cos_TD - b * sin_TD, a * sin_TD + b * cos_TD), dim=-1)


def attend(q_BHTD, k_BHTD, v_BHTD, mask_TT=None):
    """Attention over the positions so far, (B, H, T, D). `mask_TT` is added to the scores instead of the
    causal mask. torch's fused kernel, but for bfloat16 on a CPU: there its backward pass takes several times
    as long as the lines below (benchmarks/trainer_speed.py)."""
    if q_BHTD.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return F.scaled_dot_product_attention(
            q_BHTD, k_BHTD, v_BHTD, attn_mask=mask_TT, is_causal=mask_TT is None
        )
    scores_BHTT = (q_BHTD * q_BHTD.shape[-1] ** -0.5) @ k_BHTD.mT
    if mask_TT is None:
        mask_TT = torch.full(scores_BHTT.shape[-2:], -math.inf).triu(1)
    return (scores_BHTT + mask_TT.to(scores_BHTT.dtype)).softmax(-1) @ v_BHTD


class Attention(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.q = nn.Linear(config.width, config.width, bias=config.bias)
        self.k = nn.Linear(config.width, config.width, bias=config.bias)
        self.v = nn.Linear(config.width, config.width, bias=config.bias)
        self.proj = nn.Linear(config.width, config.width, bias=config.bias)

    def forward(self, x_BTW, rope):
        B, T, W = x_BTW.shape
        split = (B, T, self.config.heads, self.config.head_dim)
        q_BHTD = self.q(x_BTW).view(split).transpose(1, 2)
        k_BHTD = self.k(x_BTW).view(split).transpose(1, 2)
        v_BHTD = self.v(x_BTW).view(split).transpose(1, 2)
        if self.config.qk_norm:
            q_BHTD = F.rms_norm(q_BHTD, (self.config.head_dim,))
            k_BHTD = F.rms_norm(k_BHTD, (self.config.head_dim,))
        if rope is not None:
            q_BHTD, k_BHTD = rotate(q_BHTD, *rope), rotate(k_BHTD, *rope)
        y_BHTD = attend(q_BHTD, k_BHTD, v_BHTD)
        return self.proj(y_BHTD.transpose(1, 2).reshape(B, T, W))


class MLP(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.activation = config.activation
        hidden = int(config.mlp_ratio * config.width)
        if self.activation == "swiglu":
            hidden = 2 * hidden // 3
            self.gate = nn.Linear(config.width, hidden, bias=config.bias)
        self.fc = nn.Linear(config.width, hidden, bias=config.bias)
        self.proj = nn.Linear(hidden, config.width, bias=config.bias)

    def forward(self, x_BTW):
        h_BTF = self.fc(x_BTW)
        if self.activation == "gelu":
            h_BTF = F.gelu(h_BTF)
        elif self.activation == "relu2":
            h_BTF = F.relu(h_BTF).square()
        elif self.activation == "swiglu":
            h_BTF = F.silu(self.gate(x_BTW)) * h_BTF
        else:
            raise ValueError(f"activation is {self.activation!r}; allowed are gelu, relu2, swiglu")
        return self.proj(h_BTF)


class Block(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.norm1 = make_norm(config, config.width)
        self.attention = Attention(config)
        self.norm2 = make_norm(config, config.width)
        self.mlp = MLP(config)

    def forward(self, x_BTW, rope):
        x_BTW = x_BTW + self.attention(self.norm1(x_BTW), rope)
        return x_BTW + self.mlp(self.norm2(x_BTW))


class GPT(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        if config.positions == "learned":
            self.position = nn.Embedding(config.context, config.width)
        elif config.positions not in ("rope", "none"):
            raise ValueError(f"positions is {config.positions!r}; allowed are learned, rope, none")
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = make_norm(config, config.width)
        self.head = nn.Linear(config.width, config.vocab, bias=False)
        if config.tied:
            self.head.weight = self.embedding.weight
        if config.positions == "rope":
            cos_TD, sin_TD = rope_tables(config.context, config.head_dim, config.rope_base)
            self.register_buffer("cos_TD", cos_TD, persistent=False)
            self.register_buffer("sin_TD", sin_TD, persistent=False)

    def forward(self, tokens_BT):
        """Logits of the next token at every position, shape (B, T, V), float32."""
        T = tokens_BT.shape[1]
        x_BTW = self.embedding(tokens_BT)
        rope = None
        if self.config.positions == "learned":
            x_BTW = x_BTW + self.position.weight[:T]
        elif self.config.positions == "rope":
            rope = (self.cos_TD[:T], self.sin_TD[:T])
        for block in self.blocks:
            x_BTW = block(x_BTW, rope)
        logits_BTV = self.head(self.norm(x_BTW)).float()
        if self.config.softcap:
            logits_BTV = self.config.softcap * torch.tanh(logits_BTV / self.config.softcap)
        return logits_BTV

    @torch.no_grad()
    def initialise(self, seed: int):
        """Draw every parameter from a stream named after it, so that a patch which adds or removes a
        parameter leaves all others as they were: paired runs stay paired."""
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue  # norms start at one, biases at zero
            writes_residual = name.endswith("proj.weight")
            if self.config.zero_init and (writes_residual or name == "head.weight"):
                parameter.zero_()
                continue
            std = self.config.init_std * math.sqrt(768 / self.config.width)
            if self.config.init == "fan_in" and "embedding" not in name and "position" not in name:
                std = 1 / math.sqrt(parameter.shape[1])
            elif self.config.init == "gpt2" and writes_residual:
                std /= math.sqrt(2 * self.config.depth)
            digest = hashlib.sha256(f"{self.config.init_stream}/{seed}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
        for module in self.modules():
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()
