"""Understudy: an operator that rehearses a candidate model behind the one on stage."""

__version__ = "0.1.0"
