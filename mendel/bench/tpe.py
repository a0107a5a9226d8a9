"""Optuna's TPE sampler with a Hyperband pruner, choosing among ideas as it would among hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mendel.bench.lab import Lab, OutOfBudget, OutOfSeeds


@dataclass
class Tpe:
    """Each trial trains one idea on the next seed it has not had; the pruner looks at a third of the horizon.

    Adopted is what gained more than the smallest gain of interest, over the whole runs it had.
    """

    shares: tuple[float, ...] = (0.34, 1.0)

    def run(self, lab: Lab) -> Iterable[int]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            study_name="bench",  # Hyperband draws its brackets from it; the default is another at each run
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=0),
            pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=3, reduction_factor=3),
        )
        gains: dict[int, list[float]] = {}
        names = list(range(len(lab.ideas)))
        try:
            while True:
                trial = study.ask()
                idea = int(trial.suggest_categorical("idea", names))
                seed = len(gains.get(idea, []))
                value = self._trial(lab, trial, idea, seed)
                if value is None:
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    continue
                gains.setdefault(idea, []).append(value)
                study.tell(trial, value)
        except (OutOfBudget, OutOfSeeds):
            pass
        return [idea for idea, values in gains.items() if np.mean(values) > lab.terms.min_gain]

    def _trial(self, lab: Lab, trial: object, idea: int, seed: int) -> float | None:
        """Gain of a whole run over its control, None where it was pruned."""
        gain = 0.0
        for step, share in enumerate(self.shares):
            found = lab.run([], seed, share) - lab.run([idea], seed, share)
            gain = -lab.terms.bound if np.isnan(found) else found
            trial.report(gain, 1 + 2 * step)  # type: ignore[attr-defined]
            if share < 1 and trial.should_prune():  # type: ignore[attr-defined]
                return None
        return gain
