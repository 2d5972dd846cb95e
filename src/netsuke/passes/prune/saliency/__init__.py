"""Criteria of single weights, a file each."""
