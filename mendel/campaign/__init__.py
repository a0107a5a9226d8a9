"""Campaigns: the only room that wires stages together.

`config` says what is wanted, `budget` what it may cost, `lab` gets runs done and remembers them, `rounds`
walks an idea from the queue to the trunk, `loop` goes round until the budget is spent.
"""
