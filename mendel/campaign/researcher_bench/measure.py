"""`mendel bench researchers`: what they can be talked into, tell wrongly, mend and cost.

Real campaigns of the lab's own code, through the real client, in a world where training is a formula. Seats
are filled by scripts whose answers are known: a script that obeys whatever it reads, one that tells wrong
numbers, one that writes broken patches, one that works as busily as a model would. So this measures the lab
and not a model; the debugger alone may be a real one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mendel.campaign.researcher_bench.attacks import try_injections
from mendel.campaign.researcher_bench.cost import measure_costs
from mendel.campaign.researcher_bench.repairs import mend_all
from mendel.campaign.researcher_bench.world import make_site
from mendel.campaign.researcher_bench.wrong_numbers import plant_wrong_numbers


def measure(model: str = "", say: Callable[[str], None] = lambda words: None) -> dict[str, Any]:
    """All four measurements as one JSON object. `model`: `provider:name` of a debugger that is asked, and
    paid, in place of the script; a ConfigError where it cannot be asked."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mendel-bench-") as folder:
        ground = make_site(Path(folder))
        repairs = mend_all(ground, model, say)
        numbers = plant_wrong_numbers(ground)
        say(f"wrong numbers: {numbers['caught']} of {numbers['planted']} caught")
        injections = try_injections(ground, say)
        costs = measure_costs(ground, say)
    return {
        "schema": 1,
        "model": model or "scripted",
        "injections": injections,
        "wrong_numbers": numbers,
        "repairs": repairs,
        **costs,
        "total_seconds": round(time.monotonic() - begun, 1),
    }
