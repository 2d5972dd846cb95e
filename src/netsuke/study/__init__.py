"""Searches over recipes by walking, many times."""
