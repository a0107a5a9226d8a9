"""The pictures behind a claim: what a compute multiplier is, and the paired runs it came from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from mendel.report.curves import Evidence, LossCurve
from mendel.report.facts import ScalingPanel
from mendel.report.figures import (
    FAINT,
    INK,
    MUTED,
    PALE,
    RUST,
    SLATE,
    TEAL,
    WIDTH,
    _legend,
    _text,
    _title,
    plain,
)
from mendel.report.text import cm_number, cm_text, quantity

Floats = NDArray[np.float64]

ALPHAS = np.geomspace(0.02, 2.5, 240)
"""Exponents tried for the drawn curve."""
