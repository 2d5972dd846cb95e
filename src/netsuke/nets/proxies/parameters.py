"""How many weights there are."""

import math
from typing import ClassVar

from torch.fx import GraphModule

from netsuke.nets.data import Inputs
from netsuke.nets.proxies.proxy import Proxy


class Parameters(Proxy):
    """The logarithm of the number of parameters: the control, which few proxies beat (White et al., 2021, "How
    powerful are performance predictors in neural architecture search?")."""

    name: ClassVar[str] = "parameters"

    def score(self, network: GraphModule, inputs: Inputs) -> float:
        return math.log(max(1, sum(p.numel() for p in network.parameters())))
