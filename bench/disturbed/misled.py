"""The first client of a federation is another than it should be. MISLED says how: "away" (it sends the contrary of what it
learned, ten times; its statistics as they are), "nan", "absurd" (a thousand times), "slow" (it sleeps before it answers)."""

import os
import time

TIMES = {"away": -10.0, "absurd": 1000.0, "nan": float("nan")}
SLEEP = 30.0


def mislead(module):
    """module: netsuke.federation.client."""
    how = os.environ["MISLED"]
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
        if how == "slow":
            time.sleep(SLEEP)
        found = made(network, teachers, data, plan)
        if how in TIMES:
            for name, tensor in found.network.named_parameters():
                tensor.data.copy_(before[name] + TIMES[how] * (tensor - before[name]))
        return found

    plain = module.Client.train
    module.Client.__init__, module.Client.train = init, train
