"""BatchNorm statistics after weights have left."""

import torch
from torch.fx import GraphModule

from netsuke.core.data import Stream
from netsuke.nets.graph import argument, clone, op, set_tensor, tensor_of
from netsuke.nets.training.train import recalibrate

SAMPLES = 1024
TINY = 1e-12


def restored(network: GraphModule, original: GraphModule, stream: Stream) -> GraphModule:
    """A copy whose statistics have moved as pruning moved those of the samples: means by the
    difference, variances by the ratio, between both networks on the same samples.

    The samples' own statistics would bring in how they differ from the augmented training data: on
    ResNet-56 they cost 1.3 points of 2,000 test images with nothing pruned at all.
    """
    network = clone(network)
    mine, theirs = (recalibrate(n, stream, SAMPLES) for n in (network, original))
    with torch.no_grad():
        for node in network.graph.nodes:
            if op(node) == "batch_norm" and argument(node, "running_mean") is not None:
                for name, by_ratio in (("running_mean", False), ("running_var", True)):
                    target = str(argument(node, name).target)
                    old, new, was = (tensor_of(n, target) for n in (network, mine, theirs))
                    assert old is not None
                    assert new is not None
                    assert was is not None
                    moved = old * (new / was.clamp(min=TINY)) if by_ratio else old + (new - was)
                    set_tensor(
                        network, target, torch.where(was > TINY, moved, old) if by_ratio else moved
                    )
    return network
