"""On the path of a process it makes onnxruntime take SLOWER times as long: a slow device on a fast machine.

Whatever a call took is spent again and again doing nothing, so seconds of the processor and of the clock both grow.
"""

import importlib.abc
import importlib.util
import os
import sys
import time

SLOWER = float(os.environ["SLOWER"])


class _Finder(importlib.abc.MetaPathFinder):
    """Changes the library as it is imported."""

    def find_spec(self, name, path, target=None):
        if name != "onnxruntime":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def loaded(module):
            load(module)
            _slow(module.InferenceSession)

        spec.loader.exec_module = loaded
        return spec


def _slow(session):
    run = session.run

    def slowly(self, *args, **kwargs):
        start = time.perf_counter()
        found = run(self, *args, **kwargs)
        end = start + SLOWER * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass
        return found

    session.run = slowly


sys.meta_path.insert(0, _Finder())
