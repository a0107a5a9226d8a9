"""Patterns: what many runs say together, found on some of them and tested on the others.

A store of runs is a table: knobs that were set, the seed, a result. `factors` reads which is which, `units`
makes one unit of evidence of the runs of one setting, `shapes` are the forms that an effect may take, and
`search` finds them on one part of the units and tests them on the other (by `linear`). So do `failures` with
rules that tell which runs fail, `best` with settings that good runs never have, `agreement` with columns that
rank runs alike. `importance` and `inert` say how much each knob matters, or that it does not. `report` puts
them together under one rate of false discoveries; `telling`, `words` and `experiment` say what each one is,
and what would refute it.
"""
