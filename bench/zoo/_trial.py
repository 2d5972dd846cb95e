"""One architecture, pruned: does it compute what it should, train, export and run?"""

from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.surgery import cut, mask
from netsuke.nets.graph import clone
from netsuke.nets.onnx_out import export_onnx

AGREES = 1e-4
"""Largest difference of an output to what it must be, relative to the largest value."""
RATE = 1e-3


@dataclass(frozen=True)
class Outcome:
    """One architecture at one ratio. left: the share of parameters that is left. masked, runtime: the
    largest relative difference of the outputs to the masked network's, and of onnxruntime's to torch's.
    problems: what does not hold, a line each.
    """

    ratio: float
    left: float
    masked: float = 0.0
    runtime: float = 0.0
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.problems


def prune(model: Model, known: Groups, ratio: float, seed: int = 0) -> Outcome:
    """Take that share of each group's units, drawn at random, out of a model and look at what is left."""
    keep = drawn(known, ratio, seed)
    try:
        pruned = cut(model, keep, known)
        outcome = Outcome(ratio, count(pruned) / count(model.network))
        inputs = other_inputs(model.example)
        given, wanted = outputs(pruned, inputs), outputs(mask(model, keep, known), inputs)
        apart, moved = difference(given, wanted), difference(wanted, outputs(model.network, inputs))
        ran = difference(executed(pruned, model), given)
    except (NetsukeError, RuntimeError) as error:
        return Outcome(ratio, 1.0, problems=(str(error).splitlines()[0],))
    problems = [
        f"{what} differ by {found:.1g}"
        for what, found in (("pruned and masked", apart), ("onnxruntime and torch", ran))
        if not found <= AGREES
    ]
    if moved <= AGREES:
        problems.append("masking changes nothing, so that agreement says nothing")
    if (trouble := step(pruned, inputs)) is not None:
        problems.append(trouble)
    return Outcome(ratio, outcome.left, apart, ran, tuple(problems))


def drawn(known: Groups, ratio: float, seed: int) -> dict[int, list[int]]:
    """Units that stay, at least one of each group."""
    draw = np.random.default_rng(seed)
    return {
        g.id: sorted(draw.choice(g.units, max(1, round(g.units * (1 - ratio))), replace=False).tolist())
        for g in known
    }  # fmt: skip


def other_inputs(example: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Three samples that the cut was not checked on."""
    draw = torch.Generator().manual_seed(7)
    made = []
    for x in example:
        shape = (3, *x.shape[1:])
        if x.is_floating_point():
            made.append(torch.randn(shape, generator=draw))
        elif int(x.max()) <= 1:  # which words count: at least the first ones
            made.append(
                torch.ones(shape, dtype=x.dtype).index_fill(1, torch.tensor([x.shape[1] - 1]), 0)
            )
        else:
            made.append(torch.randint(0, int(x.max()) + 1, shape, generator=draw, dtype=x.dtype))
    return tuple(made)


def outputs(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Of a network in eval mode, as a list."""
    with torch.no_grad():
        made = network.eval()(*inputs)
    return [made] if isinstance(made, Tensor) else list(made)


def executed(pruned: GraphModule, model: Model) -> list[Tensor]:
    """What onnxruntime makes of three samples."""
    made = export_onnx(Model(network=pruned, example=model.example, name=model.name))
    session = onnxruntime.InferenceSession(made.content, providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]
    feed = {n: x.numpy() for n, x in zip(names, other_inputs(model.example), strict=True)}
    return [torch.from_numpy(np.asarray(y)) for y in session.run(None, feed)]


def difference(given: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest, relative to each output's largest value; infinite where shapes differ."""
    if [g.shape for g in given] != [w.shape for w in wanted]:
        return float("inf")
    pairs = zip(given, wanted, strict=True)
    return max(float((g - w).abs().max() / w.abs().max().clamp(min=1e-6)) for g, w in pairs)


def step(network: GraphModule, inputs: tuple[Tensor, ...]) -> str | None:
    """Train one step towards ones, in train mode; what went wrong, or None."""
    network = clone(network).train()
    trained = [p for p in network.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    optimizer = torch.optim.Adam(trained, lr=RATE)
    made = network(*inputs)
    loss: Tensor = sum(
        (y - 1).square().mean() for y in ([made] if isinstance(made, Tensor) else made)
    )  # type: ignore[assignment]
    loss.backward()
    if not all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in trained):
        return "a gradient is not finite"
    optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, trained, strict=True)]
    if sum(moved) < 0.8 * len(moved):
        return f"one step of training moves {sum(moved)} of {len(moved)} parameters"
    return None


def count(network: nn.Module) -> int:
    """Its parameters."""
    return sum(p.numel() for p in network.parameters())
