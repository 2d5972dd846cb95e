"""Layers as two thinner ones: how they split, at what error, and the graph after it."""
