"""Probes: what kind of skill a model has, beside its bits per byte (docs/probes.md).

`items` makes the questions, `measure` asks them through whatever speaks to the model's scorer. Bytes only.
What comes out describes; it decides nothing.
"""

from mendel.probes.items import SKILLS, SPANS, TWINS, VERSION, Twins, make_twins
from mendel.probes.measure import Ask, key, measure, probe, reaches

__all__ = [
    "SKILLS",
    "SPANS",
    "TWINS",
    "VERSION",
    "Ask",
    "Twins",
    "key",
    "make_twins",
    "measure",
    "probe",
    "reaches",
]
