"""Plans: an idea becomes arms, seeds, budgets and a decision rule, fixed before its first run."""
