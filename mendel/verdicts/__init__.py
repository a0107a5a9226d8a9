"""Verdicts: measurements in, verdicts out. The room that decides what is true, from numbers alone.

The campaign calls `judge_unaided` after every round of pairs, `compute_multiplier` on fresh pairs once
something is claimed, `learn_noise` on what a screen saw, and `confirmation` to plan with.
"""

from mendel.verdicts.curve import ScalingCurve, fit_curve
from mendel.verdicts.effects import compute_multiplier, paired_interval, pooled_sd
from mendel.verdicts.evalues import log_sign_flip, log_t_mixture
from mendel.verdicts.fdr import closed_e_bh
from mendel.verdicts.judge import (
    Action,
    Decision,
    Judgement,
    Round,
    by_pairs,
    judge,
    judge_round,
    judge_unaided,
)
from mendel.verdicts.noise import learn_noise
from mendel.verdicts.power import confirmation

__all__ = [
    "Action",
    "Decision",
    "Judgement",
    "Round",
    "ScalingCurve",
    "closed_e_bh",
    "compute_multiplier",
    "confirmation",
    "fit_curve",
    "by_pairs",
    "judge",
    "judge_round",
    "judge_unaided",
    "learn_noise",
    "log_sign_flip",
    "log_t_mixture",
    "paired_interval",
    "pooled_sd",
]
