"""A network that ends early: behind a cut, with an output layer of its own."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from netsuke.core.head import least_squares
from netsuke.core.model import Model
from netsuke.nets.cuts import Cut
from netsuke.nets.data import Inputs
from netsuke.nets.evaluation import evaluating
from netsuke.nets.graph import clone, drop_unused, place, rebuilt

aten = torch.ops.aten
HEAD = "exit"


def ended(model: Model, cut: Cut, batches: Iterable[Inputs]) -> GraphModule:
    """A new network: the whole one up to the cut, the mean of each channel there, and a linear layer that is fitted to
    the whole one's outputs on these samples by least squares. No labels, no gradients."""
    network = clone(model.network)
    features = _cut(network, cut)
    weight, bias = _fitted(network, model.network, batches)
    place(network, f"{HEAD}.weight", nn.Parameter(weight))
    place(network, f"{HEAD}.bias", nn.Parameter(bias))
    graph, out = network.graph, next(n for n in network.graph.nodes if n.op == "output")
    with graph.inserting_before(out):
        parameters = (graph.get_attr(f"{HEAD}.{name}") for name in ("weight", "bias"))
        head = graph.call_function(aten.linear.default, (features, *parameters))
    head.meta["dims"] = 2
    out.args = (head,)
    return rebuilt(network)


def _cut(network: GraphModule, cut: Cut) -> Node:
    """End the network in the means of the channels behind the cut; the node that gives them."""
    graph = network.graph
    node = next(n for n in graph.nodes if n.name == cut.node)
    out = next(n for n in graph.nodes if n.op == "output")
    rest = [d for d in range(1, len(cut.shape)) if d != cut.channels]
    with graph.inserting_before(out):
        mean = graph.call_function(aten.mean.dim, (node, rest)) if rest else node
    if rest:
        mean.meta["dims"] = 2
    out.args = (mean,)
    rebuilt(network)
    drop_unused(network)
    return mean


def _fitted(
    features: GraphModule, whole: GraphModule, batches: Iterable[Inputs]
) -> tuple[Tensor, Tensor]:
    """(outputs × channels, outputs): what gives the whole network's outputs best."""
    read, wanted = [], []
    with evaluating(features), evaluating(whole):
        for inputs in batches:
            read.append(features(*inputs))
            wanted.append(whole(*inputs))
    weight, bias = least_squares(torch.cat(read).numpy(), torch.cat(wanted).numpy())
    return torch.from_numpy(weight), torch.from_numpy(bias)
