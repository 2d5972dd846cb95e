"""How differently the rectifiers fire for different samples."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.errors import NetsukeError
from netsuke.nets.data import Inputs
from netsuke.nets.graph import watch
from netsuke.nets.proxies.proxy import Proxy
from netsuke.nets.quantizers.roles import op

RECTIFIERS = frozenset({"relu", "relu6", "hardtanh", "leaky_relu", "hardswish", "gelu", "silu"})


class Naswot(Proxy):
    """log |K|, where K counts for each two samples the rectifiers that are both open or both shut (Mellor et al.,
    2021, "Neural architecture search without training")."""

    name: ClassVar[str] = "naswot"

    def score(self, network: GraphModule, inputs: Inputs) -> float:
        """Raises NetsukeError where nothing in the network rectifies."""
        size = len(inputs[0])
        alike = torch.zeros(size, size, dtype=torch.float64)

        def see(node: Node, value: Tensor) -> None:
            if op(node) in RECTIFIERS and len(value) == size:
                firing = (value > 0).reshape(size, -1).double()
                alike.add_(firing @ firing.mT + (1 - firing) @ (1 - firing).mT)

        watch(network, inputs, see)
        if not alike.any():
            raise NetsukeError(
                "proxy naswot: the network has no rectifiers to look at; take synflow"
            )
        return float(torch.linalg.slogdet(alike).logabsdet)
