"""Data as tensors, training with a teacher, and what is estimated anew."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import captured
from netsuke.core.data import Batch, Stream, stream
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.metric import metric
from netsuke.core.model import Model
from netsuke.core.task import Task, ready
from netsuke.nets.capture import capture
from netsuke.nets.data import check, tensors
from netsuke.nets.distillation.losses import hard_loss, soft_loss
from netsuke.nets.graph import tensor_of
from netsuke.nets.pace import pace
from netsuke.nets.training.train import TrainPlan, Way, evaluate, recalibrate, retrain, train

DEVICE = Device(
    name="toy", title="toy", memory=1e9, storage=1e9, cores=1, kernel_width=8,
    formats={"fp32": 1e10}, bandwidth=1e10, overhead=1e-6,
)  # fmt: skip


def classes(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """16 features; the class is which quarter of them has the largest sum."""
    x = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return x, x.reshape(count, 4, 4).sum(2).argmax(1)


def goal(seed: int = 0, **task: Any) -> Goal:
    given = {"train": classes(), "validate": classes(200, 1), "test": classes(200, 2), **task}
    return Goal(data=ready(Task(**given), seed), device=DEVICE, seed=seed)


def fresh() -> Model:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    return capture(net, torch.randn(2, 16))


PLAN = TrainPlan(epochs=3, lr=0.1, batch=32, precision="float32")


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_training_learns_and_reports_every_epoch():
    made = retrain(fresh().network, (), goal(), PLAN)
    assert len(made.scores) == 4
    assert made.scores[0] < 0.5 < 0.85 < made.scores[made.best]
    assert (
        evaluate(made.network, goal().data.validate, metric("accuracy")) == made.scores[made.best]
    )


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    model = captured("mlp")  # with dropout
    one, two = (train(model.network, (model.network,), goal(3), PLAN) for _ in range(2))
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(train(model.network, (), goal(4), PLAN)))


def test_randomness_outside_is_left_as_it_was():
    model = fresh()
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    train(model.network, (), goal(), replace(PLAN, epochs=1))
    assert (torch.rand(1), np.random.rand()) == expected


def test_the_network_given_and_the_teacher_are_left_as_they_were():
    model = fresh()
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    train(model.network, (model.network,), goal(), replace(PLAN, epochs=1))
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())


def test_the_best_epoch_is_kept_not_the_last():
    good = train(fresh().network, (), goal(), PLAN)
    # targets that teach nonsense: every epoch makes it worse
    wrong = goal(train=(classes()[0], (classes()[1] + 1) % 4))
    made = retrain(good, (), wrong, PLAN)
    assert made.best == 0
    assert made.scores[-1] < made.scores[0]
    assert torch.equal(weights(made.network), weights(good))


def test_the_best_of_an_error_is_the_smallest():
    x, _ = classes()
    regress = goal(train=(x, x[:, :4]), validate=(x, x[:, :4]), test=None, metric="mae")
    made = retrain(fresh().network, (), regress, replace(PLAN, lr=0.02))
    assert made.scores[made.best] == min(made.scores) < made.scores[0] / 2


def test_a_loss_that_is_nan_ends_training_and_says_so():
    def loss(output: Tensor, target: Tensor) -> Tensor:
        seen.append(len(seen))
        return F.cross_entropy(output, target) * (float("nan") if len(seen) > 30 else 1.0)

    seen: list[int] = []
    made = retrain(fresh().network, (), goal(loss=loss), PLAN)
    assert len(made.scores) == 3  # 13 steps an epoch: before, after the first, after the second
    assert torch.isfinite(weights(made.network)).all()
    assert made.notes[0].startswith("training stopped in epoch 3: the loss became NaN")


def test_a_teacher_alone_can_teach():
    teacher = train(fresh().network, (), goal(), PLAN)
    x, y = classes()
    shuffled = goal(train=(x, np.roll(y, 1)))
    torch.manual_seed(1)
    taught = retrain(fresh().network, (teacher,), shuffled, replace(PLAN, soft=1.0))
    assert taught.scores[taught.best] > 0.8


def test_distillation_is_t_squared_times_the_divergence():
    mine, theirs = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[3.0, 1.0, 2.0]])
    p, q = (theirs / 4).softmax(1), (mine / 4).softmax(1)
    expected = 16 * (p * (p / q).log()).sum()
    assert soft_loss(goal().data, 4.0)(mine, theirs).item() == pytest.approx(expected.item())
    regress = goal(metric="rmse", train=None).data
    assert soft_loss(regress, 4.0)(mine, theirs).item() == pytest.approx(2.0)


def test_one_logit_is_the_odds_of_class_one():
    loss = hard_loss(goal().data)(torch.tensor([[2.0], [-1.0]]), torch.tensor([1, 0]))
    assert loss.item() == pytest.approx((np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))) / 2)


def test_the_tasks_own_augment_and_limit_are_used():
    seen: list[int] = []

    def augment(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x + 0.01

    train(fresh().network, (), goal(augment=augment), replace(PLAN, epochs=2, limit=96))
    assert seen == [32, 32, 32] * 2


def test_progress_is_tracked():
    labels: list[str] = []

    def track(items, label):
        labels.append(label)
        yield from items

    train(fresh().network, (), replace(goal(), track=track), replace(PLAN, epochs=2))
    assert labels == ["training, epoch 1 of 2", "training, epoch 2 of 2"]


def test_training_without_data_is_refused():
    with pytest.raises(NetsukeError, match="no training data"):
        train(fresh().network, (), goal(train=None), PLAN)


def test_bfloat16_and_pictures_train_as_well_and_come_back_as_they_were():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
    )  # fmt: skip
    x, y = classes()
    pictures = goal(
        train=(x.reshape(-1, 1, 4, 4), y), validate=(x.reshape(-1, 1, 4, 4), y), test=None
    )
    network = capture(net, torch.randn(2, 1, 4, 4)).network
    made = retrain(network, (network,), pictures, TrainPlan(epochs=3, lr=0.1, batch=32, soft=0.1))
    assert made.scores[made.best] > 0.85
    assert all(p.is_contiguous() and p.dtype == torch.float32 for p in made.network.parameters())


def test_batchnorm_statistics_are_those_of_the_samples():
    model = captured("mlp")
    x = np.random.default_rng(0).normal(2, 3, (256, 16)).astype(np.float32)
    made = recalibrate(
        model.network, Stream(stream(x, "calibrate", labelled=False).source, "calibrate", False)
    )
    before = F.linear(
        torch.from_numpy(x), tensor_of(made, "layers.0.weight"), tensor_of(made, "layers.0.bias")
    )
    torch.testing.assert_close(tensor_of(made, "layers.1.running_mean"), before.mean(0).detach())
    torch.testing.assert_close(tensor_of(made, "layers.1.running_var"), before.var(0).detach())
    assert not torch.equal(tensor_of(model.network, "layers.1.running_mean"), before.mean(0))


def test_evaluation_is_in_eval_mode_and_can_be_limited():
    model = captured("mlp")
    model.network.train()
    x, y = classes(300)
    data = stream((x, y), "test")
    with torch.no_grad():
        right = (capture_output(model, x).argmax(1).numpy() == y).astype(float)
    assert evaluate(model.network, data, metric("accuracy")) == pytest.approx(right.mean())
    assert evaluate(model.network, data, metric("accuracy"), 50) == pytest.approx(right[:50].mean())
    assert model.network.training


def capture_output(model: Model, x: np.ndarray) -> Tensor:
    from netsuke.nets.graph import clone

    return clone(model.network).eval()(torch.from_numpy(x))


def test_numbers_become_what_the_model_takes():
    example = (torch.zeros(2, 3), torch.zeros(2, 4, dtype=torch.int64))
    batch = Batch((np.ones((5, 3)), np.ones((5, 4), np.uint8)), np.arange(5, dtype=np.uint8))
    (a, b), y = tensors(batch, example, "train")
    assert (a.dtype, b.dtype, y.dtype) == (torch.float32, torch.int64, torch.int64)


X, Y = classes()


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"train": (X, Y + 1)}, ("train", "1 to 4", "classes 0 … 3")),
        ({"validate": (X, Y - 1)}, ("validate", "-1 to 2")),
        ({"test": (np.where(X > 3, np.nan, X), Y)}, ("test: input 0 of sample", "NaN")),
        ({"train": (X[:, :8], Y)}, ("train: input 0", "(8,)", "(16,)")),
        (
            {"train": ((255 * X).astype(np.uint8), Y)},
            ("train: input 0 is uint8", "scale it", "float32"),
        ),
        ({"train": ((X, X), Y)}, ("train: 2 inputs", "takes 1")),
        ({"train": (X, Y + 0.5)}, ("train", "class numbers")),
        ({"calibrate": X[:, :4]}, ("calibrate: input 0", "(4,)")),
    ],
)
def test_data_that_does_not_fit_is_named(task: dict[str, Any], words: tuple[str, ...]):
    with pytest.raises(NetsukeError) as error:
        check(fresh(), goal(**task).data)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), error.value


def test_words_outside_the_vocabulary_are_named():
    model = captured("encoder")
    data = ready(Task(validate=(np.full((8, 12), 50), np.zeros(8, int))))
    with pytest.raises(
        NetsukeError, match=r"the model refuses inputs of \(8, 12\) int64.*out of range"
    ):
        check(model, data)
    fractions = ready(Task(validate=(np.full((8, 12), 0.5), np.zeros(8, int))))
    with pytest.raises(NetsukeError, match="input 0 is float64, the model takes whole numbers"):
        check(model, fractions)


def test_good_data_passes_and_the_mode_stays():
    model = fresh()
    model.network.train()
    check(model, goal().data)
    assert model.network.training


def test_each_step_is_announced_with_the_share_that_is_done():
    seen: list[float] = []
    way = Way(before=lambda network, progress: seen.append(progress))
    retrain(fresh().network, (), goal(), PLAN, way)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert len(seen) == 3 * 13


def test_views_are_trained_together_and_judged_by_their_mean():
    calls: list[int] = []

    def plain(network: nn.Module) -> None:
        calls.append(0)
        turn(network, 1.0)

    def turned(network: nn.Module) -> None:
        calls.append(1)
        turn(network, -1.0)

    def turn(network: nn.Module, sign: float) -> None:
        with torch.no_grad():
            network.get_parameter("3.bias").fill_(sign)

    views = (plain, turned)
    made = retrain(fresh().network, (), goal(), PLAN, Way(views=views, each=lambda n: views))
    assert calls[:4] == [1, 0, 0, 1]  # judged last to first, then trained first to last
    assert len(calls) == 2 * (4 + 3 * 13)
    assert len(made.scores) == 4


def test_convolutions_in_groups_stay_float32():
    grouped, plain = captured("mobilenet"), captured("resnet")
    assert not pace(grouped.network, grouped.example, bfloat16=True).bfloat16
    able = torch.cpu._is_avx512_bf16_supported()
    assert pace(plain.network, plain.example, bfloat16=True).bfloat16 == able
