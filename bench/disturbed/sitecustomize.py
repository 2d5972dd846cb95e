"""On the path of a process, it makes it another than it should be: where SLOWER is set, see ``slowed``, and where MISLED is,
see ``misled``."""

import importlib.abc
import importlib.util
import os
import sys

import misled
import slowed

CHANGES = {
    "SLOWER": ("onnxruntime", slowed.slow),
    "MISLED": ("netsuke.federation.client", misled.mislead),
}


class _Finder(importlib.abc.MetaPathFinder):
    """Changes a module as it is imported."""

    def __init__(self, name, change):
        self.name, self.change = name, change

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def loaded(module):
            load(module)
            self.change(module)

        spec.loader.exec_module = loaded
        return spec


for variable, what in CHANGES.items():
    if variable in os.environ:
        sys.meta_path.insert(0, _Finder(*what))
