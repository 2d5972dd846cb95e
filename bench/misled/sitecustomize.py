"""On the path of a federation's trainers it makes the first client another than it should be. MISLED says how: "away" (it sends
the contrary of what it learned, ten times), "nan", "absurd" (a thousand times), "slow" (it sleeps before it answers)."""

import importlib.abc
import importlib.util
import os
import sys
import time

HOW = os.environ["MISLED"]
TIMES = {"away": -10.0, "absurd": 1000.0, "nan": float("nan")}
SLEEP = 30.0


class _Finder(importlib.abc.MetaPathFinder):
    """Changes the client as it is imported."""

    def find_spec(self, name, path, target=None):
        if name != "netsuke.federation.client":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def loaded(module):
            load(module)
            _misled(module)

        spec.loader.exec_module = loaded
        return spec


def _misled(module):
    honest, made = module.Client.__init__, module.stint

    def init(self, job, number):
        honest(self, job, number)
        self.misled = number == 0

    def train(self, message, context):
        if not self.misled:
            return plain(self, message, context)
        module.stint = falsified
        try:
            return plain(self, message, context)
        finally:
            module.stint = made

    def falsified(network, teachers, data, plan):
        before = {name: t.clone() for name, t in network.state_dict().items()}
        if HOW == "slow":
            time.sleep(SLEEP)
        found = made(network, teachers, data, plan)
        if HOW in TIMES:
            for name, tensor in found.network.named_parameters():
                tensor.data.copy_(before[name] + TIMES[HOW] * (tensor - before[name]))
        return found

    plain = module.Client.train
    module.Client.__init__, module.Client.train = init, train


sys.meta_path.insert(0, _Finder())
