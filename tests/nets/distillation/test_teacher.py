"""What a teacher answered is kept, and never computed again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from netsuke.core.device import Device
from netsuke.core.goal import Goal
from netsuke.core.task import Task, ready
from netsuke.nets.capture import capture
from netsuke.nets.distillation import answers as home
from netsuke.nets.distillation.answers import folder
from netsuke.nets.distillation.attention import Attention
from netsuke.nets.distillation.teacher import Listening, Teacher
from netsuke.nets.pace import Pace
from netsuke.nets.training.train import TrainPlan, train

DEVICE = Device(
    name="toy", title="toy", memory=1e9, storage=1e9, cores=1, kernel_width=8,
    formats={"fp32": 1e10}, bandwidth=1e10, overhead=1e-6,
)  # fmt: skip
PLAN = TrainPlan(epochs=2, lr=0.1, batch=32, precision="float32")
PLAIN = Pace(channels_last=False)


class Pictures(nn.Module):
    """Two sizes of picture, a norm before each."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.n, self.m, self.out = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.n(self.a(x)).relu()
        return self.out(self.m(self.b(x)).relu().mean((2, 3)))


def network(seed: int = 0, outputs: int = 4) -> GraphModule:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, outputs))
    return capture(net, torch.randn(2, 16)).network


def goal() -> Goal:
    x = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    task = Task(
        train=(x, x.reshape(200, 4, 4).sum(2).argmax(1)),
        validate=(x, x.reshape(200, 4, 4).sum(2).argmax(1)),
        augment=lambda t: t + 0.1 * torch.randn_like(t),
    )
    return Goal(data=ready(task), device=DEVICE, seed=0)


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many samples teachers were asked about."""
    count: list[int] = []
    usual = Teacher._asked

    def counted(self: Teacher, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        count.append(len(inputs[0]))
        return usual(self, inputs)

    monkeypatch.setattr(Teacher, "_asked", counted)
    return count


def files() -> list[Path]:
    return sorted(folder().glob("*/*.safetensors"))


def test_the_same_training_asks_once_and_gives_the_same_network_bit_for_bit(asked: list[int]):
    first = train(network(1), (network(),), goal(), PLAN)
    assert sum(asked) == 2 * 200
    assert len(files()) == 2  # an epoch each
    again = train(network(1), (network(),), goal(), PLAN)
    assert sum(asked) == 2 * 200
    assert torch.equal(weights(first), weights(again))


def test_another_student_of_the_same_teacher_asks_nothing_new(asked: list[int]):
    train(network(1), (network(),), goal(), PLAN)
    train(network(2), (network(),), goal(), replace(PLAN, lr=0.01, soft=0.5))
    assert sum(asked) == 2 * 200


def test_another_teacher_or_seed_or_pace_is_asked_anew(asked: list[int]):
    train(network(1), (network(),), goal(), PLAN)
    train(network(1), (network(3),), goal(), PLAN)
    assert sum(asked) == 4 * 200
    train(network(1), (network(),), replace(goal(), seed=1), PLAN)
    assert sum(asked) == 6 * 200
    x = torch.ones(4, 16)
    Teacher(network(), PLAIN)((x,))
    Teacher(network(), replace(PLAIN, bfloat16=True))((x,))
    assert sum(asked) == 6 * 200 + 8


def test_a_damaged_file_is_removed_and_its_answers_computed_again(asked: list[int]):
    first = train(network(1), (network(),), goal(), PLAN)
    files()[0].write_bytes(files()[0].read_bytes()[:50])
    again = train(network(1), (network(),), goal(), PLAN)
    assert sum(asked) == 3 * 200
    assert torch.equal(weights(first), weights(again))
    assert len(files()) == 2


def test_answers_longer_than_their_questions_are_not_kept(asked: list[int]):
    wide = Teacher(network(outputs=64), PLAIN)
    with wide.epoch():
        assert wide((torch.ones(4, 16),)).outputs.shape == (4, 64)
    assert files() == []


def test_what_an_interrupted_epoch_found_is_not_half_written():
    one = Teacher(network(), PLAIN)
    with pytest.raises(KeyboardInterrupt), one.epoch():
        one((torch.ones(4, 16),))
        raise KeyboardInterrupt
    assert files() == []


def test_the_oldest_answers_leave_when_there_is_no_more_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(network(1), (network(),), goal(), PLAN)
    old = files()
    monkeypatch.setattr(home, "ROOM", sum(f.stat().st_size for f in old) + 100)
    train(network(1), (network(3),), goal(), PLAN)
    assert len(files()) == 2
    assert not any(f.exists() for f in old)


def test_several_outputs_come_back_in_their_order():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 2), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.a(x), self.b(x)

    net, x = capture(Two(), torch.randn(2, 16)).network, torch.randn(5, 16)
    one = Teacher(net, PLAIN)
    with one.epoch():
        before = one((x,)).outputs
    after = Teacher(net, PLAIN)((x,)).outputs
    assert [t.shape for t in after] == [(5, 2), (5, 3)]
    assert all(torch.equal(b, a) for b, a in zip(before, after, strict=True))


def test_maps_of_attention_are_told_and_kept_with_the_answers(asked: list[int]):
    net = capture(Pictures(), torch.randn(2, 6, 16, 16)).network
    method = Attention()
    values = tuple(v for _, v in method.pairs(net, net, (torch.randn(2, 6, 16, 16),)))
    listening = Listening(values, method.told)
    x = torch.randn(4, 6, 16, 16)
    one = Teacher(net, PLAIN, listening)
    with one.epoch():
        before = one((x,)).told
    after = Teacher(net, PLAIN, listening)((x,)).told
    assert sum(asked) == 4
    assert [tuple(m.shape) for m in before] == [(4, 1, 16, 16), (4, 1, 8, 8)]
    assert all(torch.equal(b, a) for b, a in zip(before, after, strict=True))


def test_a_disk_that_refuses_ends_no_training(tmp_path: Path) -> None:
    shelf = folder()
    shelf.parent.mkdir(parents=True)
    shelf.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="answers are not kept in .*teachers"):
        refused = train(network(1), (network(),), goal(), PLAN)
    shelf.unlink()
    assert torch.equal(weights(refused), weights(train(network(1), (network(),), goal(), PLAN)))


def test_what_another_run_removed_meanwhile_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, asked: list[int]
) -> None:
    train(network(1), (network(),), goal(), PLAN)
    usual = home.safe_open

    def evicted(path: Path, framework: str) -> object:
        path.unlink()
        return usual(path, framework=framework)

    monkeypatch.setattr(home, "safe_open", evicted)
    train(network(1), (network(),), goal(), PLAN)
    assert sum(asked) == 4 * 200


def test_long_answers_are_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Teacher(network(outputs=64), PLAIN)
    wide((torch.ones(4, 16),))
    monkeypatch.delattr("netsuke.nets.distillation.teacher._hash")
    assert wide((torch.ones(4, 16),)).outputs.shape == (4, 64)
