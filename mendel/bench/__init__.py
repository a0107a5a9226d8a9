"""The bench of decisions: campaigns with a known truth, the same budget for every policy, and the score.

A *regime* (`regime.py`, one TOML file each in `regimes/`) says what kind of campaign it is, `world.py` draws
one, `lab.py` sells its runs to a policy, `score.py` counts. `baselines.py` and `tpe.py` hold what others do,
`mendel_policy.py` calls the code that a live campaign decides by. `replay.py` puts a table of real runs in
the place of the simulation.
"""
