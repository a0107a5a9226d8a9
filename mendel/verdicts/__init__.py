"""Verdicts: measurements in, verdicts out. The room that decides what is true, from numbers alone.

The campaign calls `judge_round` after every round of pairs, `compute_multiplier` on fresh pairs once
something is claimed, and `shrink` with `pooled_sd` to rank what a screen saw.
"""

from mendel.verdicts.curve import ScalingCurve, fit_curve
from mendel.verdicts.effects import compute_multiplier, paired_interval, pooled_sd, shrink
from mendel.verdicts.evalues import log_sign_flip, log_t_mixture
from mendel.verdicts.fdr import closed_e_bh
from mendel.verdicts.judge import Action, Decision, Judgement, Round, judge, judge_round

__all__ = [
    "Action",
    "Decision",
    "Judgement",
    "Round",
    "ScalingCurve",
    "compute_multiplier",
    "closed_e_bh",
    "fit_curve",
    "judge",
    "judge_round",
    "log_sign_flip",
    "log_t_mixture",
    "paired_interval",
    "pooled_sd",
    "shrink",
]
