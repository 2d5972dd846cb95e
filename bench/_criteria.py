"""How each criterion of channels does, one shot, without training or labels, and what least squares
make good of it: the tables of docs/pruning.md."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench._harness import Bench, Claim, Figure, say
from bench._setup import network, post_training

if TYPE_CHECKING:
    from netsuke.core.goal import Goal
    from netsuke.core.model import Model

RATIO, IMAGES = 0.4, 2000


def criteria(bench: Bench) -> Figure:
    """ResNet-20 without 40 % of its MACs, the same share of every layer, so that all criteria cut to the
    same widths and only the channels differ; then as ``prune.channels`` chooses by itself."""
    from netsuke.core.registry import registered
    from netsuke.nets.channels.importance import Criterion

    model, goal = _original(bench)
    found: dict[str, Any] = {"original": _score(model, goal)}
    known = registered(Criterion, "netsuke.passes.prune.criteria")
    for name in sorted(known):
        found[name] = _both(model, goal, {"criterion": name, "scope": "local"})
        say(f"  {name}: {found[name]}")
    found["as chosen by damage"] = _both(model, goal, {})
    say(f"  as chosen by damage: {found['as chosen by damage']}")
    fitted = {name: found[name]["reconstructed"] for name in known}
    chance = fitted.pop("random")
    claims = (
        Claim("best criterion above chance", max(fitted.values()) - chance, "pt", ">", 0.0),
        Claim("reconstruction wins, default criterion",
              found["taylor"]["reconstructed"] - found["taylor"]["cut"], "pt", ">", 0.0),
    )  # fmt: skip
    return Figure("criteria, one shot", claims, bench.count(IMAGES, 200), found)


def _original(bench: Bench) -> tuple["Model", "Goal"]:
    from netsuke.core.budget import Budget
    from netsuke.core.observer import Observer
    from netsuke.intake import take_goal, take_model

    x, y = post_training(bench).test
    rows = slice(0, bench.count(IMAGES, 200))
    task = replace(post_training(bench), test=(x[rows], y[rows]))
    train = task.validate  # labels for movement alone, which follows training
    goal = take_goal(replace(task, train=train), "local", Budget(), 0, Observer())
    return take_model(network(bench), goal.data, "resnet20"), goal


def _both(model: "Model", goal: "Goal", settings: dict[str, Any]) -> dict[str, float]:
    """Accuracy in percent after the cut with new BatchNorm statistics, and reconstructed."""
    from netsuke.core.recipe import make_pass

    found = {}
    for key, fits in (("cut", False), ("reconstructed", True)):
        wanted = {"ratio": RATIO, "cost": "macs", "epochs": 0, "reconstruct": fits, **settings}
        found[key] = _score(make_pass("prune.channels", wanted).apply(model, goal), goal)
    return found


def _score(model: "Model", goal: "Goal") -> float:
    from netsuke.nets.evaluation import evaluate

    assert goal.data.test is not None
    return round(100 * evaluate(model.network, goal.data.test, goal.data.metric), 2)
