"""Optimisers: AdamW for everything, or Muon for the matrices of the blocks with AdamW for the rest."""

from __future__ import annotations

import torch
from config import Config


def orthogonalise(g_NRC, steps: int = 5):
    """Newton-Schulz iteration towards the nearest semi-orthogonal matrices, for a stack of N gradients with
    R <= C (Jordan et al. 2024, Muon; the quintic's coefficients trade exactness for speed)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x_NRC = g_NRC / (g_NRC.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram_NRR = torch.bmm(x_NRC, x_NRC.mT)
        poly_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, poly_NRR, x_NRC, beta=a)
    return x_NRC.to(g_NRC.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised. Matrices of one shape (up to transposition) step as one batched product."""

    def __init__(self, matrices, lr: float, momentum: float, weight_decay: float):
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for shape in {tuple(sorted(p.shape)) for p in group["params"]}:
                self._step_shape(group, [p for p in group["params"] if tuple(sorted(p.shape)) == shape])

    def _step_shape(self, group, matrices):
        flipped = [p.shape[0] > p.shape[1] for p in matrices]
        grads = torch.stack([p.grad.T if flip else p.grad for p, flip in zip(matrices, flipped, strict=True)])
        state = self.state[matrices[0]]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(grads)
        state["momentum"] = torch.lerp(state["momentum"], grads, 1 - group["momentum"])
        update_NRC = orthogonalise(torch.lerp(grads, state["momentum"], group["momentum"]))
        for p, flip, update in zip(matrices, flipped, update_NRC, strict=True):
            update = update.T if flip else update
            p.mul_(1 - group["lr"] * group["weight_decay"])
            # A step of the same size per output whatever the matrix's shape (Jordan et al. 2024).
            p.add_(update, alpha=-group["lr"] * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)


def make_optimizers(model: torch.nn.Module, config: Config) -> list[torch.optim.Optimizer]:
    """One or two optimisers that together hold every parameter once. Vectors are not decayed."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("blocks.")]
    others = [p for name, p in model.named_parameters() if p.ndim == 2 and not name.startswith("blocks.")]
    vectors = [p for p in model.parameters() if p.ndim != 2]
    if config.optimizer not in ("adamw", "muon"):
        raise ValueError(f"optimizer is {config.optimizer!r}; allowed are adamw, muon")
    muon = []
    if config.optimizer == "muon":
        muon = [Muon(matrices, config.muon_lr, config.muon_momentum, config.weight_decay)]
        matrices = []
    groups = [
        {"params": matrices + others, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        fused=True,
    )
    return [adamw, *muon]
