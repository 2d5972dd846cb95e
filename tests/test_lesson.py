"""Distillation in a loop of the user's own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import netsuke
from netsuke.testing import samples

X, Y = (torch.from_numpy(part) for part in samples.images(128))


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width * 64, samples.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.body(x)).relu().flatten(1))


def made(width: int) -> Net:
    torch.manual_seed(width)
    return Net(width)


def trained(lesson: nn.Module, steps: int = 40, lr: float = 0.05) -> list[float]:
    optimizer = torch.optim.SGD(lesson.parameters(), lr=lr, momentum=0.9)
    apart = []
    for _ in range(steps):
        _, loss = lesson(X, target=Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        apart.append(loss.item())
    return apart


@pytest.mark.parametrize("method", ["logits", "hints", "attention", "relational", "contrastive"])
def test_the_users_module_learns_in_place_by_every_method(method: str) -> None:
    student, teacher = made(4), made(8).eval()
    before = {n: p.clone() for n, p in student.state_dict().items()}
    apart = trained(netsuke.distill(student, teacher, X[:2], method=method))
    assert apart[-1] < 0.7 * apart[0]
    moved = [n for n, p in student.state_dict().items() if not torch.equal(p, before[n])]
    assert {"body.weight", "norm.running_mean", "head.bias"} <= set(moved)


def test_it_gives_what_the_student_gives_in_either_mode() -> None:
    student = made(4)
    lesson = netsuke.distill(student, made(8), X[:2])
    trained(lesson, 3)
    with torch.no_grad():
        assert torch.allclose(lesson.eval()(X)[0], student.eval()(X), atol=1e-5)
        twin = made(4)
        twin.load_state_dict(student.state_dict())
        assert torch.allclose(lesson.train()(X)[0], twin.train()(X), atol=1e-5)


def test_the_distance_is_the_divergence_of_softened_outputs() -> None:
    student, teacher = made(4).eval(), made(8).eval()
    lesson = netsuke.distill(student, teacher, X[:2], temperature=2.0).eval()
    with torch.no_grad():
        mine, theirs = (F.log_softmax(net(X) / 2, 1) for net in (student, teacher))
        expected = 4 * F.kl_div(mine, theirs, reduction="batchmean", log_target=True)
        assert lesson(X)[1].item() == pytest.approx(expected.item(), rel=1e-4)


def test_tokens_are_compared_in_the_last_dimension() -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 9, (4, 6))
    student, teacher = (nn.Sequential(nn.Embedding(9, w), nn.Linear(w, 9)).eval() for w in (4, 8))
    lesson = netsuke.distill(student, teacher, ids, temperature=1.0, answers="tokens").eval()
    with torch.no_grad():
        mine, theirs = (F.log_softmax(net(ids), -1).flatten(0, 1) for net in (student, teacher))
        expected = F.kl_div(mine, theirs, reduction="batchmean", log_target=True)
        assert lesson(ids)[1].item() == pytest.approx(expected.item(), rel=1e-4)


def test_several_teachers_and_wrong_ones() -> None:
    lesson = netsuke.distill(made(4), [made(6), made(8)], X[:2])
    assert torch.isfinite(lesson(X)[1])
    with pytest.raises(netsuke.NetsukeError, match="teacher 1: a int is no nn.Module"):
        netsuke.distill(made(4), 3, X[:2])
    with pytest.raises(netsuke.NetsukeError, match="none of classes, tokens, values"):
        netsuke.distill(made(4), made(6), X[:2], answers="words")  # type: ignore[arg-type]
    with pytest.raises(netsuke.NetsukeError, match="did you mean hints"):
        netsuke.distill(made(4), made(6), X[:2], method="hint")


class Detector(nn.Module):
    """Boxes and scores at each place, as detection heads give them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.boxes, self.scores = nn.Conv2d(width, 4, 1), nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x).relu()
        return self.boxes(x), self.scores(x)


@pytest.mark.parametrize("method", ["logits", "attention"])
def test_detection_heads_are_taught_by_their_values(method: str) -> None:
    torch.manual_seed(0)
    student, teacher = Detector(4), Detector(8).eval()
    lesson = netsuke.distill(student, teacher, X[:2], method=method, answers="values")
    with torch.no_grad():
        expected = sum(F.mse_loss(m, t) for m, t in zip(student(X), teacher(X), strict=True))
        if method == "logits":
            assert lesson(X)[1].item() == pytest.approx(float(expected), rel=1e-4)
    apart = trained(lesson, lr=0.01)
    assert apart[-1] < 0.5 * apart[0]


def test_a_teacher_of_other_heads_is_refused_with_both_shapes() -> None:
    with pytest.raises(netsuke.NetsukeError, match=r"teacher gives \(4,\) a sample, the student \(4, 4, 4\) and \(3, 4, 4\)"):  # fmt: skip
        netsuke.distill(Detector(4), made(8), X[:2], answers="values")
