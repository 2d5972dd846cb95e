"""What each process of ``test_together.py`` runs: a small network trained, its weights written."""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from netsuke.core.budget import Budget
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.task import Task, ready
from netsuke.core.team import Team
from netsuke.nets.capture import capture
from netsuke.nets.together import agreed, alike, launched, own_chance
from netsuke.nets.training.train import TrainPlan, retrain
from torchrun import threads_of_gloo

DEVICE = Device(
    name="toy", title="toy", memory=1e9, storage=1e9, cores=1, kernel_width=8,
    formats={"fp32": 1e10}, bandwidth=1e10, overhead=1e-6,
)  # fmt: skip
PLAN = TrainPlan(epochs=2, lr=0.1, batch=24, precision="float32")


def classes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return x, x.reshape(count, 4, 4).sum(2).argmax(1)


def trained(team: Team) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Without BatchNorm, so that a batch in parts is the batch. The last batch has a sample more than fits."""
    data = ready(Task(train=classes(241, 0), validate=classes(50, 1)), 0)
    goal = Goal(data=data, device=DEVICE, budget=Budget(), team=team)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    network = capture(net, torch.randn(2, 16)).network
    made = retrain(network, (network,), goal, PLAN)
    return {name: t.contiguous() for name, t in made.network.state_dict().items()}, made.notes


def main(out: Path) -> None:
    with launched() as team:
        weights, notes = trained(team)
        torch.manual_seed(1)
        with own_chance(team, 5):
            chance = torch.rand(3)
        after = torch.rand(3)
        said = agreed(team, lambda: ["the leader's", team.rank])
        shapes = refused(lambda: alike(team, nn.Linear(2, 2 + team.rank)))
        error = refused(lambda: agreed(team, leader_fails))
    told = {"chance": chance.tolist(), "after": after.tolist(), "said": said}
    told |= {"notes": notes, "shapes": shapes, "error": error, "threads": threads_of_gloo()}
    save_file(weights, out / f"{team.rank}.safetensors")
    (out / f"{team.rank}.txt").write_text(repr(told))


def leader_fails() -> None:
    raise NetsukeError("no such folder")


def refused(call: object) -> str:
    try:
        call()  # type: ignore[operator]
    except NetsukeError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
