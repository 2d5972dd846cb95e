"""Side-by-side measurements against peers, in one run: ``python -m bench AREA``."""
