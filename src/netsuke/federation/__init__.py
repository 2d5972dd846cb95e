"""One network trained by several machines that keep their samples, on Flower.

A round: the server asks (``rounds.py``), every client trains on what it has (``client.py``) and tells what that changed
(``update.py``); what came is looked at (``received.py``), aggregated by a strategy of Flower's (``strategies.py``), and kept
(``checkpoint.py``). Start reading at ``verb.py``.
"""
