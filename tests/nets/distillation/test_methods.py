"""What the methods compare, against their papers' formulas written out; and that training brings it nearer."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.registry import registered
from netsuke.core.task import Task, ready
from netsuke.devices.local import local
from netsuke.nets.capture import capture
from netsuke.nets.distillation.contrastive import Contrast, Contrastive
from netsuke.nets.distillation.hints import Hints, Regressors
from netsuke.nets.distillation.imitation import Imitation, Manner
from netsuke.nets.distillation.logits import Logits
from netsuke.nets.distillation.losses import soft_loss
from netsuke.nets.distillation.method import Method, by_name, method
from netsuke.nets.distillation.relational import Relational, angles, distances
from netsuke.nets.distillation.values import embedding, hidden, looked
from netsuke.nets.pace import Pace
from netsuke.nets.training.train import TrainPlan, Way, retrain

METHODS = registered(Method, "netsuke.nets.distillation")  # type: ignore[type-abstract]
X = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Pictures(nn.Module):
    """Pictures of 8², then 4²; of any width, classes."""

    def __init__(self, width: int, classes: int = 3) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.out = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        return self.out(self.second(x).relu().mean((2, 3)))


class Tokens(nn.Module):
    """A transformer layer over a sequence of numbers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, width)
        self.block = nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True)
        self.out = nn.Linear(width, 11)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.block(self.embed(x)))


def made(module: type[nn.Module], width: int, example: Tensor = X) -> GraphModule:
    torch.manual_seed(width)
    return capture(module(width), example[:2]).network.eval()


def goal() -> Goal:
    x = torch.randn(96, 3, 8, 8, generator=torch.Generator().manual_seed(1)).numpy()
    y = (x[:, 0].mean((1, 2)) > 0).astype("int64")
    return Goal(data=ready(Task(train=(x, y), validate=(x, y))), device=local())


def test_the_methods_are_registered_by_their_place() -> None:
    assert set(METHODS) == {"logits", "hints", "attention", "relational", "contrastive"}
    with pytest.raises(NetsukeError, match="did you mean attention"):
        method("atention")


def test_values_know_their_channels_in_pictures_and_sequences() -> None:
    pictures = {v.size: v for v in hidden(made(Pictures, 4), (X,))}
    assert {size: (v.axis, v.width) for size, v in pictures.items()} == {
        (8, 8): (1, 4), (4, 4): (1, 8),
    }  # fmt: skip
    ids = torch.randint(0, 11, (2, 5))
    assert {(v.axis, v.width, v.size) for v in hidden(made(Tokens, 8, ids), (ids,))} >= {(2, 8, (5,))}  # fmt: skip


def test_the_embedding_is_what_the_last_layer_reads() -> None:
    found = embedding(made(Pictures, 4), (X,))
    assert found is not None
    assert (found.width, found.size) == (8, ())
    rows = capture(nn.Sequential(nn.Tanh()), torch.randn(2, 4)).network
    assert embedding(rows, (torch.randn(2, 4),)) is None


def test_relations_are_as_in_the_paper() -> None:
    """Park et al., 2019, equations 4 to 9, sample by sample."""
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(2))
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    mean = sum((x[i] - x[j]).norm() for i, j in pairs) / len(pairs)
    found = distances(x)
    for i, j in pairs:
        assert found[i, j] == pytest.approx(float((x[i] - x[j]).norm() / mean), rel=1e-5)
    e_ij, e_kj = F.normalize(x[0] - x[1], dim=0), F.normalize(x[2] - x[1], dim=0)
    assert angles(x)[1, 0, 2] == pytest.approx(float(e_ij @ e_kj), abs=1e-5)


def test_relations_of_the_same_network_are_the_same_and_equal_samples_have_a_gradient() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    both = torch.cat([x, x[:1]])
    loss = Relational().distance(())([both], [both.detach() ** 2], None)
    loss.backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert Relational().distance(())([both], [both], None) == 0


def test_regressors_start_as_the_least_squares_of_the_first_batch() -> None:
    values = hidden(made(Pictures, 4), (X,)), hidden(made(Pictures, 8), (X,))
    pair = (values[0][-1], values[1][-1])
    mine, known = torch.randn(6, 8, 4, 4), nn.Linear(8, 16)
    theirs = known(mine.movedim(1, -1)).movedim(-1, 1).detach()
    regressors = Regressors([pair])
    assert regressors([mine], [theirs], None).item() == pytest.approx(0, abs=1e-6)
    assert torch.allclose(regressors.maps[0].weight, known.weight, atol=1e-3)  # type: ignore[arg-type]
    assert regressors([mine], [torch.zeros_like(theirs)], None) > 1


def test_what_no_map_explains_is_the_share_of_the_mean_square() -> None:
    value = hidden(made(Pictures, 4), (X,))[-1]
    torch.manual_seed(0)
    mine, theirs = torch.randn(500, 8, 4, 4), torch.randn(500, 8, 4, 4)
    assert Regressors([(value, value)])([mine], [theirs], None).item() == pytest.approx(1, abs=0.01)


def test_contrast_is_the_cross_entropy_of_naming_the_sample() -> None:
    torch.manual_seed(0)
    contrast = Contrast((4, 4), others=8, sharpness=0.5)
    mine, theirs = torch.randn(3, 4), torch.randn(3, 4)
    found = contrast([mine], [theirs], None)
    m, t = F.normalize(contrast.mine(mine)), F.normalize(contrast.theirs(theirs))
    assert found.item() == pytest.approx(float(F.cross_entropy(m @ t.T / 0.5, torch.arange(3))), rel=1e-5)  # fmt: skip


def test_contrast_spares_samples_of_the_same_class_and_remembers_so_many() -> None:
    torch.manual_seed(0)
    contrast = Contrast((4, 4), others=5, sharpness=0.5)
    x = torch.randn(3, 4)
    assert contrast([x], [x], torch.tensor([1, 1, 1])).item() == pytest.approx(0, abs=1e-6)
    contrast([x], [x], torch.tensor([0, 1, 2]))
    assert contrast.seen.shape == (5, 4)
    assert contrast.classes.tolist() == [0, 1, 2, 1, 1]


def test_pairs_by_name_take_the_last_value_of_a_module() -> None:
    student, teacher = made(Pictures, 4), made(Pictures, 8)
    ((mine, theirs),) = by_name(student, teacher, (X,), ["second = norm"])
    assert (mine.module, theirs.module) == ("second", "norm")
    with pytest.raises(NetsukeError, match="the teacher has no layer 'nrom'; did you mean norm"):
        by_name(student, teacher, (X,), ["second=nrom"])


def test_values_of_other_sizes_are_compared_where_they_are_named() -> None:
    student, teacher = made(Pictures, 4), made(Pictures, 8)
    for one in (METHODS["hints"](), METHODS["attention"]()):
        pairs = by_name(student, teacher, (X,), ["second=norm"])
        mine, theirs = (
            looked(net, (X,), [pair], one.told)[1]
            for net, pair in zip((student, teacher), pairs[0], strict=True)
        )
        assert torch.isfinite(one.distance(pairs)(mine, theirs, None))


def imitation(student: GraphModule, *teachers: GraphModule, by: Method | None = None) -> Imitation:
    return Imitation(student, teachers, manner(by or Logits()), (X[:2],))


def manner(by: Method) -> Manner:
    return Manner(by, soft_loss(goal().data, 4.0), Pace(channels_last=False))


def test_several_teachers_count_alike() -> None:
    student, teachers = made(Pictures, 4), [made(Pictures, w) for w in (6, 8)]
    with torch.no_grad():
        outputs = student(X)
    alone = [imitation(student, t) for t in teachers]
    mean = sum(one.soft(outputs, one.hear((X,))).item() for one in alone) / 2
    both = imitation(student, *teachers)
    assert both.soft(outputs, both.hear((X,))).item() == pytest.approx(mean, rel=1e-5)


def test_a_teacher_who_answers_otherwise_is_refused() -> None:
    other = capture(Pictures(4, classes=5), X[:2]).network
    with pytest.raises(NetsukeError, match=r"teacher gives \(5,\) a sample, the student \(3,\)"):
        imitation(made(Pictures, 4), other)


def test_nothing_to_compare_is_said() -> None:
    rows = capture(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 4)).network  # fmt: skip
    with pytest.raises(NetsukeError, match="no values of one size"):
        Imitation(rows, (rows,), manner(METHODS["attention"]()), (torch.randn(2, 4),))


def unlike(student: GraphModule, teacher: GraphModule) -> float:
    """What no linear map of the student's last pictures explains of the teacher's, as a share."""
    (mine, theirs) = Hints().pairs(student, teacher, (X,))[-1]
    (m,), (t,) = (
        looked(net, (X,), [value], Hints().told)[1]
        for net, value in ((student, mine), (teacher, theirs))
    )
    m, t = (v.detach().movedim(1, -1).flatten(0, -2) for v in (m, t))
    guess = m @ torch.linalg.lstsq(m, t).solution
    return float((guess - t).square().mean() / t.square().mean())


def apart(student: GraphModule, teacher: GraphModule, by: Method) -> float:
    judge = imitation(student, teacher, by=by)
    with torch.no_grad():
        found = judge.inside(judge.look(student, (X,))[1], judge.hear((X,)), None)
    assert found is not None
    return found.item()


@pytest.mark.parametrize(
    ("taught", "judged"),
    [
        (Hints(weight=10.0), unlike),
        (Relational(), lambda s, t: apart(s, t, Relational())),
        # Its own maps are trained along: what samples are to each other stands in for them.
        (Contrastive(weight=10.0), lambda s, t: apart(s, t, Relational())),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_training_brings_what_is_compared_nearer(
    taught: Method, judged: Callable[[GraphModule, GraphModule], float]
) -> None:
    student, teacher = made(Pictures, 4), made(Pictures, 8)

    def distance(by: Method, soft: float) -> float:
        plan = TrainPlan(epochs=6, lr=0.02, batch=16, method=by, soft=soft, precision="float32")
        last = Way(counts=lambda progress: progress > 0)
        return judged(retrain(student, (teacher,), goal(), plan, last).network.eval(), teacher)

    assert distance(taught, 0.0) < distance(Logits(), 0.0)


def test_hints_for_sequences() -> None:
    ids = torch.randint(0, 11, (2, 5))
    student, teacher = made(Tokens, 8, ids), made(Tokens, 12, ids)
    pairs = Hints().pairs(student, teacher, (ids,))
    assert [(mine.width, theirs.width) for mine, theirs in pairs] == [(8, 12)]


def test_contrastive_takes_one_pair() -> None:
    assert len(Contrastive().pairs(made(Pictures, 4), made(Pictures, 8), (X,))) == 1
