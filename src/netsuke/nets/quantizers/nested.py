"""One set of 8-bit integer weights whose upper bits are models of their own (Any-Precision networks:
Yu et al., 2021; Matryoshka quantization: Nair et al., 2025).

At 8 bits a code c stands for ``c · step``. At fewer, only its upper bits are kept, ``c >> shift``, and
stand for the middle of what they leave open: ``2 · (c >> shift) + 1`` half-steps. Each width has its own
scales, activation ranges and BatchNorm (Yu et al. switch BatchNorm alone), all small.
"""

import copy
import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.modules.batchnorm import _BatchNorm

from netsuke.core.scheme import Uniform
from netsuke.nets import graph
from netsuke.nets.quantizers.calibrate import encode_weight
from netsuke.nets.quantizers.lsq import LearnedStep
from netsuke.nets.quantizers.qat import NORMS, deployed
from netsuke.nets.quantizers.quantizer import Encoding

FULL, LIMITS = 8, (-127, 127)
MIDDLE = Uniform(bits=3, symmetric=True, axis=0)
HOME = "widths"
"""The submodule of a network that holds what other widths have instead of its own tensors."""
LEAST_GAIN = 1e-4
"""BatchNorm's gain stays above zero, else a code would change its sign with the width."""


def narrowed(codes: Tensor, bits: int) -> Tensor:
    """Codes of 8 bits at so many: their upper bits, as odd numbers of half-steps. Floats or integers."""
    if bits == FULL:
        return codes
    return 2 * torch.floor(codes / 2 ** (FULL - bits)) + 1


class Switched(nn.Module):
    """Several modules of which one is in use."""

    def __init__(self, choices: Sequence[nn.Module]) -> None:
        super().__init__()
        self.choices, self.at = nn.ModuleList(choices), 0

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.choices[self.at](x)
        return made


class NestedStep(LearnedStep):
    """A weight's quantizer at several widths: one learned step for all, and a factor for each."""

    def __init__(self, full: LearnedStep, widths: Sequence[int]) -> None:
        super().__init__(full.encoding(), full.grid, 1)
        self.damping, self.widths, self.at = full.damping, tuple(widths), 0
        self.factors = nn.Parameter(torch.ones(len(widths), *self.scale.shape))

    def forward(self, x: Tensor) -> Tensor:
        """x at the width in use; gradients pass straight through what is rounded."""
        step = _damped(self.step, self._share())
        low, high = self._ends(x)
        exact = (x.float() / self._along(x, step)).clamp(low, high)
        level = narrowed(exact.detach().round(), self.bits)
        half = 2.0 / 2 ** (FULL - self.bits) if self.bits < FULL else 1.0
        level = exact * half + (level - exact.detach() * half)
        return (level * self._along(x, self._scale(step))).to(x.dtype)

    @property
    def bits(self) -> int:
        return self.widths[self.at]

    def codes(self, x: Tensor) -> Tensor:
        """What x is stored as at the width in use."""
        return narrowed(super().codes(x), self.bits)

    def encoding(self) -> Encoding:
        """Of the codes at the width in use."""
        return Encoding(self._scale(self.step).detach().clone(), self.zero_point.clone())

    def _share(self) -> float:
        """What of the step's gradient counts, so that the step moves in proportion to the weights at
        every width (as Esser et al. do at one): a code's gradient grows with what a width rounds off, and
        the step of all is that much smaller than the width's own."""
        largest = 2 ** (self.bits - 1) - 1
        return self.damping * math.sqrt(LIMITS[1] / largest) / 4 ** (FULL - self.bits)

    def _scale(self, step: Tensor) -> Tensor:
        """What one code is worth: half a step of the coarser grid, below 8 bits."""
        share = 2.0 ** (FULL - self.bits - 1) if self.bits < FULL else 1.0
        return step * share * self.factors[self.at].abs()


def _damped(value: Tensor, share: float) -> Tensor:
    """The value itself, of whose gradient this share arrives."""
    return (value - value * share).detach() + value * share


def nest(network: GraphModule, widths: Sequence[int], kept: Collection[str] = ()) -> GraphModule:
    """A copy of a network made by ``trainable`` that ``switch`` puts at one of several widths.

    widths: the first one is 8. kept: names of weights that stay as they are at every width, as do those
    of fewer bits. Starts from the steps that suit 3 bits: 8 bits can spare the tails they cut off,
    2 bits cannot spare the middle.
    """
    network = graph.clone(network)
    weights = _weights(network)
    for target, module in list(network.named_modules()):
        held = weights.get(target)
        if isinstance(module, LearnedStep) and held is None:
            _replace(network, target, Switched([copy.deepcopy(module) for _ in widths]))
        elif isinstance(module, LearnedStep) and held not in kept and module.grid.limits == LIMITS:
            weight = graph.tensor_of(network, held)
            assert weight is not None
            nested = NestedStep(module, widths)
            with torch.no_grad():
                nested.scale.copy_(encode_weight(weight, MIDDLE).scale / 2 ** (FULL - MIDDLE.bits))
            _replace(network, target, nested)
        elif target.startswith(f"{NORMS}."):
            _replace(network, target, Switched([copy.deepcopy(module) for _ in widths]))
    return network


def switch(network: nn.Module, number: int) -> None:
    """Put a nested network in training at its width of this number."""
    for module in network.modules():
        if isinstance(module, Switched | NestedStep):
            module.at = number


def steady(network: nn.Module) -> None:
    """Keep BatchNorm's gains above zero; to be called before each step of training."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            with torch.no_grad():
                module.weight.clamp_(min=LEAST_GAIN)


def renormalise(network: nn.Module, number: int, batches: Sequence[Sequence[Tensor]]) -> None:
    """Put a nested network at its width of this number, with BatchNorm's statistics estimated anew, in
    place (Wu and Johnson, 2021): those kept in training lag behind, most for a width that not every
    step trains."""
    mode = network.training
    switch(network, number)
    network.eval()
    live = [m.choices[number] for m in network.modules() if isinstance(m, Switched)]
    norms = [m for m in live if isinstance(m, _BatchNorm)]
    usual = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    with torch.no_grad():
        for inputs in batches:
            network(*inputs)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    network.train(mode)


def settled(trained: GraphModule, placed: GraphModule, widths: Sequence[int]) -> GraphModule:
    """A copy of ``placed`` at 8 bits that also holds what it is at the other widths (``at_width``)."""
    network = deployed(_only(trained, 0), placed)
    own = dict(graph.tensors(network))
    for number, bits in list(enumerate(widths))[1:]:
        for name, tensor in graph.tensors(deployed(_only(trained, number), placed)):
            if not torch.equal(tensor, own[name]):
                graph.place(network, f"{HOME}.w{bits}.{name}", tensor.detach().clone())
    return network


def widths_of(network: nn.Module) -> tuple[int, ...]:
    """The widths a settled network has, widest first; (8,) for any other network."""
    home = network.get_submodule(HOME) if hasattr(network, HOME) else nn.Module()
    names = (name for name, _ in home.named_children())
    return (FULL, *sorted((int(name[1:]) for name in names), reverse=True))


def at_width(network: GraphModule, bits: int) -> GraphModule:
    """A copy of a settled network as it is at this width alone."""
    other = graph.clone(network)
    if not hasattr(other, HOME):
        return other
    home = other.get_submodule(HOME)
    delattr(other, HOME)
    if bits != FULL:
        for name, tensor in graph.tensors(home.get_submodule(f"w{bits}")):
            graph.set_tensor(other, name, tensor)
    return other


def _weights(network: GraphModule) -> dict[str, str]:
    """Target of a weight's quantizer in training → the weight's name."""
    return {
        str(node.target): str(node.all_input_nodes[0].target)
        for node in network.graph.nodes
        if node.op == "call_module" and node.all_input_nodes[0].op == "get_attr"
    }


def _only(trained: GraphModule, number: int) -> GraphModule:
    """A copy that is at one width for good."""
    other = graph.clone(trained)
    switch(other, number)
    for target, module in list(other.named_modules()):
        if isinstance(module, Switched):
            _replace(other, target, module.choices[number])
    return other


def _replace(network: nn.Module, target: str, module: nn.Module) -> None:
    path, _, leaf = target.rpartition(".")
    setattr(network.get_submodule(path), leaf, module)
