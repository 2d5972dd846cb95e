"""Pruning single weights in a loop of the user's own."""

from torch import nn

from netsuke.core.errors import NetsukeError
from netsuke.nets.protect import check_named, is_named
from netsuke.nets.sparse.allocate import Scope, least_kept, masks
from netsuke.nets.sparse.layers import Layer
from netsuke.nets.sparse.pattern import Pattern, parse
from netsuke.nets.sparse.schedule import cubic
from netsuke.nets.sparse.zeros import Zeros

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
UPDATES = 50
"""In so many steps weights leave."""


class Sparsifier:
    """A model that is becoming sparse, in place: call ``step`` after each step of the optimizer."""

    def __init__(
        self, model: nn.Module, layers: tuple[Layer, ...], sparsity: float,
        how: tuple[Pattern, Scope], steps: int,
    ) -> None:  # fmt: skip
        self._model, self._layers, self._sparsity = model, layers, sparsity
        self._how, self._steps = how, steps
        self._taken = self._done = 0
        self._zeros = Zeros.of(model)

    @property
    def sparsity(self) -> float:
        """The share of the prunable weights that is zero now."""
        weights = [self._model.get_parameter(layer.weight) for layer in self._layers]
        return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)

    def step(self) -> None:
        """Let the smallest weights leave as the cubic curve has it, and put back to zero what momentum
        or weight decay has moved."""
        self._taken += 1
        due = min(UPDATES, UPDATES * self._taken // self._steps)
        if due > self._done:
            self._prune(due)
        self._zeros.hold(self._model)

    def finish(self) -> nn.Module:
        """The model itself, as sparse as was asked for; what has not left by now leaves at once."""
        if self._done < UPDATES:
            self._prune(UPDATES)
        self._zeros.hold(self._model)
        return self._model

    def _prune(self, due: int) -> None:
        self._done = due
        share = cubic(due / UPDATES)
        sizes = {x.weight: self._model.get_parameter(x.weight).detach().abs() for x in self._layers}
        how = self._how[0].at(share), self._how[1]
        chosen = masks(self._layers, sizes, self._sparsity * share, how)
        self._zeros.prune(self._model, {n: mask & (sizes[n] != 0) for n, mask in chosen.items()})


def sparsify(
    model: nn.Module,
    *,
    sparsity: float = 0.8,
    steps: int = 1000,
    pattern: str = "free",
    scope: Scope = "global",
    protect: tuple[str, ...] = (),
) -> Sparsifier:
    """Make a model sparse while a loop of your own trains it (Zhu and Gupta, 2017).

    model: changed in place; its linear layers and convolutions are pruned by magnitude. sparsity,
    pattern, scope: as in ``prune.weights``. steps: of the optimizer in which weights leave; train on behind
    them. protect: modules that stay as they are.

        sparse = netsuke.sparsify(model, sparsity=0.9, steps=5_000)
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss(model(inputs), targets).backward()
            optimizer.step()
            sparse.step()
        model = sparse.finish()

    Raises NetsukeError where nothing can be pruned, a layer would be left empty, or a name in
    ``protect`` is no layer.
    """
    form = parse(pattern)
    if not 0 < sparsity < 1:
        raise NetsukeError(f"sparsify: sparsity = {sparsity:g} is not between 0 and 1")
    if steps < 1:
        raise NetsukeError(f"sparsify: steps = {steps}; give 1 or more")
    layers = tuple(x for x in _layers(model, protect) if form.fits(x))
    if not layers:
        raise NetsukeError("sparsify: the model has no linear layer or convolution to prune")
    empty = least_kept(layers, sparsity, (form, scope))
    if empty is not None:
        raise NetsukeError(
            f"sparsify: sparsity = {sparsity:g} would empty {empty.name}; protect it"
        )
    return Sparsifier(model, layers, sparsity if form.free else form.sparsity, (form, scope), steps)


def _layers(model: nn.Module, protect: tuple[str, ...]) -> tuple[Layer, ...]:
    found = {name: m for name, m in model.named_modules() if isinstance(m, KINDS)}
    check_named("sparsify", protect, found)
    own = {id(p): n for n, p in model.named_parameters()}
    chosen = {
        own[id(m.weight)]: Layer(own[id(m.weight)], name, tuple(m.weight.shape))
        for name, m in found.items()
        if not is_named(name, protect) and id(m.weight) in own
    }
    return tuple(chosen.values())
