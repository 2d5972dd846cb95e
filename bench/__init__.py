"""Side-by-side measurements against peers, in one run: ``python -m bench AREA [--figure N]``.

A new area is one file ``bench/AREA.py`` with ``figure_1(bench) -> Figure``, ``figure_2``, ...; a new
rival is ``bench/rivals/NAME.py``, run by an environment made from ``bench/rivals/NAME.txt``. Files
that start with an underscore are what areas share.
"""
