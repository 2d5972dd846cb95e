"""One way to guess what a network will be worth, of weights that were drawn and never trained."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch.fx import GraphModule

from netsuke.core.registry import named
from netsuke.nets.data import Inputs


class Proxy(ABC):
    """Orders networks of one task by a number; numbers of different proxies are not compared."""

    name: ClassVar[str]

    @abstractmethod
    def score(self, network: GraphModule, inputs: Inputs) -> float:
        """The more the better. inputs: a batch of the data. The network is left as it is."""


def proxy(name: str) -> Proxy:
    """The proxy of that name. Raises NetsukeError listing near names."""
    return named(Proxy, "netsuke.nets.proxies", name)()  # type: ignore[type-abstract]
