"""Criteria of importance, a file each."""
