"""Knowledge: verdicts become findings, claims with their scope, cost, evidence and what would refute them."""
