"""Zeros stay zeros: the one mechanism by which a pruned weight keeps its holes while it trains."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class Zeros:
    """Which values of a network's weights are not zero, by parameter name, and that they alone train.

    A weight is a parameter of two dimensions or more. What is no name here is left alone. The masks
    may be replaced while a network trains: ``prune`` sets new ones.
    """

    def __init__(self, kept: Mapping[str, Tensor] | None = None) -> None:
        self.kept: dict[str, Tensor] = dict(kept or {})

    @staticmethod
    def of(network: nn.Module) -> "Zeros":
        """Those the network has: of every weight that holds exact zeros, and not zeros alone."""
        masks = ((name, p.detach() != 0) for name, p in _weights(network))
        return Zeros({n: m for n, m in masks if bool(m.any()) and not bool(m.all())})

    @torch.no_grad()
    def prune(self, network: nn.Module, kept: Mapping[str, Tensor]) -> None:
        """From here on these are the masks of these weights."""
        self.kept |= kept
        self.hold(network)

    @torch.no_grad()
    def hold(self, network: nn.Module) -> None:
        """Put every weight that is to be zero back to zero (in place): momentum may have moved it."""
        for weight, mask in self._masked(network):
            weight.masked_fill_(~mask, 0)

    @torch.no_grad()
    def silence(self, network: nn.Module) -> None:
        """Take their gradients away (in place), so that they count in no norm and no momentum."""
        for weight, mask in self._masked(network):
            if weight.grad is not None:
                weight.grad.masked_fill_(~mask, 0)

    def guard(self, network: nn.Module) -> None:
        """Let no gradient reach them from here on, in whatever loop the network trains: an optimizer
        made afterwards then never moves them."""
        for weight, mask in self._masked(network):
            weight.register_hook(lambda grad, mask=mask: grad.masked_fill(~mask, 0))

    def _masked(self, network: nn.Module) -> Iterator[tuple[nn.Parameter, Tensor]]:
        for name, mask in self.kept.items():
            yield network.get_parameter(name), mask


def _weights(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in network.named_parameters() if p.ndim > 1 and p.numel())
