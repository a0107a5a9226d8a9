"""Recipes and the ladder: every knob of a run in one flat, frozen record.

A *recipe* (`gpt2`, `modern`) sets knobs; a *rung* is one dial that the recipe maps to depth, width,
context and batch. Change the mapping here, not absolute sizes, and an idea means something at every scale.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

RUNGS = 4


@dataclass(frozen=True)
class Config:
    # Shape at rung 0; `at_rung` grows it.
    depth: int = 2
    """Transformer blocks."""
    heads: int = 4
    head_dim: int = 16
    """Width is heads * head_dim."""
    context: int = 32
    """Tokens a position can look back on, and the length of a training sequence."""
    batch: int = 32
    """Sequences per step."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over the width of the model (SwiGLU uses two thirds of it)."""
    vocab: int = 256
    """Bytes; more for tokenizer = "bpe"."""

    # Model.
    norm: str = "layernorm"  # or "rmsnorm"
    positions: str = "learned"  # or "rope", "none"
    rope_base: float = 10000.0
    activation: str = "gelu"  # or "relu2", "swiglu"
    qk_norm: bool = False
    bias: bool = True
    tied: bool = True
    """Input embedding and output head share their weights."""
    softcap: float = 0.0
    """Logits become softcap * tanh(logits / softcap); 0 leaves them alone."""
    init: str = "gpt2"  # normal(0, init_std); or "fan_in": matrices by normal(0, 1 / sqrt(fan_in))
    init_std: float = 0.02
    """GPT-2's, at its own width of 768; scaled to other widths by 1 / sqrt(width)."""
    zero_init: bool = False
    """Matrices that write to the residual stream (and an untied head) start at zero."""
    init_stream: int = 0
    """Which stream of initial values the seed selects; every stream is as good as any other."""

    # Optimiser.
    optimizer: str = "adamw"  # or "muon": matrices of the blocks by Muon, the rest by AdamW
    lr: float = 6e-3
    """Peak learning rate of AdamW at rung 0."""
    lr_width_power: float = 1.0
    """It falls with width to this power: the Adam rule of muP (Yang et al. 2022, table 8)."""
    lr_batch_power: float = 0.5
    """It grows with tokens per step to this power: Adam's square-root rule (Malladi et al. 2022)."""
    muon_lr: float = 0.02
    """Peak learning rate of Muon at every rung: its step has one size whatever the shape."""
    muon_momentum: float = 0.95
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0
    """Largest global gradient norm; 0 turns clipping off."""

    # Schedule, in fractions of all steps.
    schedule: str = "cosine"  # or "wsd", "linear", "constant"
    warmup: float = 0.05
    decay: float = 0.4
    """Share of steps in which "wsd" decays."""
    final_lr: float = 0.1
    """Learning rate at the end over the peak."""

    # Data: which text, in which mix and order, cut into which tokens (docs/data.md).
    tokenizer: str = "bytes"  # or "bpe": `vocab` byte pairs, learned from the training text
    mixture: str = ""
    """Weights of sources, "docs:2,code:1"; empty: all of them, as large as they are."""
    mixture_end: str = ""
    """Weights at the end of the run, reached linearly; empty: as at its start."""
    packing: str = "stream"  # or "documents": no window holds parts of two documents
    deduplicate: str = "none"  # or "exact", "near": documents that repeat earlier ones are left out
    min_bytes: int = 0
    """Shorter documents are left out."""
    max_bytes: int = 0
    """Longer documents are left out; 0 for none."""
    max_non_text: float = 1.0
    """Largest share of a document's bytes that are control characters or no UTF-8."""
    max_repetition: float = 1.0
    """Largest share of a document's bytes in lines that stood in it before."""

    @property
    def width(self) -> int:
        return self.heads * self.head_dim

    def at_rung(self, rung: int) -> Config:
        """The dial: each rung has 4x the compute, one head more, a longer context, and 2x the batch every
        second rung; every fourth adds a block. Parameters grow by about half and tokens by 2.6 to 2.9: rung 0
        sees far fewer tokens per parameter than is optimal (Hoffmann et al. 2022), and at this scale steps
        are what a run is short of. Blocks come rarely because one more is a large step in so shallow a model:
        losses of neighbouring rungs then lie on one curve (docs/ladder.md)."""
        heads = self.heads + rung
        context = self.context * (2 + rung) // 2
        step_growth = 2 ** (rung / 2)
        lr_growth = step_growth**self.lr_batch_power / (heads / self.heads) ** self.lr_width_power
        return replace(
            self,
            depth=self.depth + rung // 4,
            heads=heads,
            context=context,
            batch=max(1, round(self.batch * self.context * step_growth / context)),
            lr=self.lr * lr_growth,
        )

    def flops_per_token(self) -> float:
        """Training FLOPs per token without the optimiser: 6 per weight in a matrix product, plus attention
        (Kaplan et al. 2020, appendix B; backward costs twice the forward pass)."""
        mlp_matrices = 2 if self.activation != "swiglu" else 3 * 2 / 3
        weights = self.depth * self.width**2 * (4 + mlp_matrices * self.mlp_ratio) + self.width * self.vocab
        return 6 * weights + 12 * self.depth * self.width * self.context


RECIPES = {
    "gpt2": Config(),
    "modern": Config(
        norm="rmsnorm",
        positions="rope",
        activation="relu2",
        bias=False,
        tied=False,
        init="fan_in",
        zero_init=True,
        optimizer="muon",
        lr=2e-2,
        schedule="wsd",
        warmup=0.0,
        final_lr=0.0,
        weight_decay=0.0,
    ),
}


def with_overrides(config: Config, pairs: list[str]) -> Config:
    """Apply `key=value` pairs, each parsed with the type of the knob it sets.

    Raises ValueError for an unknown key or a value of the wrong type, naming what is allowed.
    """
    types = {field.name: type(getattr(config, field.name)) for field in fields(config)}
    changes = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        if key not in types:
            raise ValueError(f"--set {pair}: unknown key {key!r}; allowed are {', '.join(types)}")
        kind = types[key]
        try:
            if kind is bool:
                changes[key] = {"true": True, "false": False}[text.lower()]
            else:
                changes[key] = kind(text)
        except (ValueError, KeyError):
            raise ValueError(f"--set {pair}: {key} takes {kind.__name__} values") from None
    return replace(config, **changes)


def to_dict(config: Config) -> dict:
    return asdict(config)
