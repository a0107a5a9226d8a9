"""What the researchers can be talked into, what they mend and what they cost: `mendel bench researchers`."""
