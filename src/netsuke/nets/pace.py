"""What makes a network run quickly on this processor: memory layout and number format."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from netsuke.nets.data import Inputs
from netsuke.nets.graph import argument, clone, op


@dataclass(frozen=True)
class Pace:
    """channels_last: pictures with channels innermost. bfloat16: compute in it, keep float32."""

    channels_last: bool
    bfloat16: bool = False

    def lay(self, inputs: Inputs) -> Inputs:
        """Inputs in the layout of the network."""
        if not self.channels_last:
            return inputs
        layout = torch.channels_last
        return tuple(t.contiguous(memory_format=layout) if t.ndim == 4 else t for t in inputs)

    def settle(self, network: GraphModule) -> GraphModule:
        """The network itself, its weights in the layout that suits."""
        return laid_out(network, torch.channels_last) if self.channels_last else network

    def autocast(self) -> Any:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16)


def laid_out(network: GraphModule, layout: torch.memory_format) -> GraphModule:
    """The network itself, its four-dimensional weights in this layout."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=layout)
    return network


def pace(network: GraphModule, inputs: Inputs, bfloat16: bool = False) -> Pace:
    """The quickest pace this network can keep on inputs such as these.

    channels-last where it runs (a captured ``view`` may not), bfloat16 where allowed and the
    processor has instructions for it. Simulated quantizers round in the dtype they are given, so a
    network that has some stays float32; so does one with convolutions in groups, whose gradients in
    bfloat16 are slow (a step of a small MobileNet takes 138 ms, in float32 72; one of ResNet-20 303, in float32 519).
    """
    floats = any(op(n).startswith("netsuke.") or _in_groups(n) for n in network.graph.nodes)
    short = bfloat16 and not floats and torch.cpu._is_avx512_bf16_supported()
    last = Pace(channels_last=True, bfloat16=short)
    if any(t.ndim == 4 for t in inputs) and _runs(network, last, inputs):
        return last
    return Pace(channels_last=False, bfloat16=short)


def _in_groups(node: Node) -> bool:
    return op(node).startswith("conv") and int(argument(node, "groups", 1) or 1) > 1


def _runs(network: GraphModule, trial: Pace, inputs: Inputs) -> bool:
    copy = trial.settle(clone(network).eval())
    try:
        with torch.no_grad():
            copy(*trial.lay(tuple(t[:2] for t in inputs)))
    except RuntimeError:
        return False
    return True
