"""Mendel: a research lab in a box for people who pretrain language models."""

__version__ = "0.1.0"
