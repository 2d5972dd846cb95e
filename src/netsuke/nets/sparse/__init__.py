"""Weights that are zero one by one: which they are, how they are chosen, how they stay so."""
