"""Students learn: narrow copies, the same drawn anew, and the task's own architecture."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import netsuke
from netsuke.core.budget import Budget
from netsuke.core.choices import Chooser
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.recipe import make_pass, read_recipe
from netsuke.core.task import ready
from netsuke.nets.evaluation import evaluate
from netsuke.nets.fresh import fresh
from netsuke.nets.onnx_out import export_onnx
from netsuke.testing import samples


class Small(nn.Module):
    """Another architecture for the same images, no residual, no norm."""

    def __init__(self, classes: int = samples.CLASSES) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.tail = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tail(self.body(x)).mean((2, 3)))


def asked(goal: Goal, *teachers: object, student: object = None) -> Goal:
    return replace(goal, data=replace(goal.data, teachers=teachers, student=student))


def count(model: Model) -> int:
    return sum(p.numel() for p in model.network.parameters())


def score(model: Model, goal: Goal) -> float:
    return evaluate(model.network, goal.data.validate, goal.data.metric)


def test_a_narrow_copy_is_cut_by_its_ratio_and_taught(model: Model, goal: Goal) -> None:
    made = make_pass("distill.logits", {"ratio": 0.6, "epochs": 4}).apply(model, goal)
    assert count(made) < 0.6 * count(model)
    assert score(made, goal) > 0.75
    step = made.lineage[-1]
    assert step.summary.startswith("a narrower copy: ")
    assert "taught by the network as it came" in step.notes
    assert len(step.table["scores"]) == 5


def test_a_fresh_copy_knows_nothing_before_its_lessons(model: Model, goal: Goal) -> None:
    settings = {"student": "narrow", "start": "fresh", "lr": 0.1, "batch": 32}
    untaught = make_pass("distill.logits", {**settings, "epochs": 0}).apply(model, goal)
    assert score(untaught, goal) < 0.6 < score(model, goal)
    taught = make_pass("distill.logits", {**settings, "epochs": 10}).apply(model, goal)
    assert score(taught, goal) > score(untaught, goal) + 0.2


def test_the_ratio_follows_the_budget_where_none_is_given(model: Model, goal: Goal) -> None:
    wanted = 0.5 * len(export_onnx(model).content)
    tight = replace(goal, budget=Budget(size=wanted))
    made = make_pass("distill.logits", {"ratio": 0.0, "epochs": 1}).apply(model, tight)
    assert 0.5 * wanted < len(export_onnx(made).content) <= wanted
    reason = make_pass("distill.logits", {"ratio": 0.0}).refuse(model, goal)
    assert reason is not None
    assert "give a ratio" in reason


@pytest.mark.parametrize("method", ["hints", "attention", "relational", "contrastive"])
def test_an_architecture_of_ones_own_learns_by_every_method(model: Model, goal: Goal, method: str) -> None:  # fmt: skip
    torch.manual_seed(0)
    settings = {"student": "own", "epochs": 10, "lr": 0.1, "batch": 32}
    lesson = make_pass(f"distill.{method}", settings)
    made = lesson.apply(model, asked(goal, student=Small()))
    assert next(n for n, _ in made.network.named_parameters()) == "body.0.weight"
    assert score(made, goal) > 0.4
    assert made.lineage[-1].name == f"distill.{method}"


def test_values_may_be_named(model: Model, goal: Goal) -> None:
    own = asked(goal, student=Small())
    settings = {"student": "own", "epochs": 1}
    make_pass("distill.hints", {**settings, "pairs": ("tail=body",)}).apply(asked_model(), own)
    with pytest.raises(NetsukeError, match="the teacher has no layer 'first'"):
        make_pass("distill.hints", {**settings, "pairs": ("tail=first",)}).apply(asked_model(), own)
    with pytest.raises(NetsukeError, match="the student has no layer 'toil'; did you mean tail"):
        make_pass("distill.hints", {**settings, "pairs": ("toil",)}).apply(model, own)


def asked_model() -> Model:
    """A teacher whose layers have other names."""
    from netsuke.nets.capture import capture

    return capture(Small(), torch.randn(2, 1, samples.SIDE, samples.SIDE))


def test_the_tasks_teachers_teach_the_network_itself(model: Model, goal: Goal) -> None:
    beginner = replace(model, network=fresh(model.network, 1))
    taught = asked(goal, model, model)
    settings = {"student": "same", "epochs": 6, "lr": 0.1, "batch": 32}
    made = make_pass("distill.logits", settings).apply(beginner, taught)
    assert count(made) == count(model)
    assert score(made, goal) > score(beginner, goal) + 0.2
    assert any("2 teachers of the task, alike" in note for note in made.lineage[-1].notes)


def test_who_would_teach_itself_or_has_no_data_is_refused(model: Model, goal: Goal) -> None:
    alone = make_pass("distill.logits", {"student": "same"}).refuse(model, goal)
    assert alone is not None
    assert "its own teacher" in alone
    assert make_pass("distill.logits", {"student": "own"}).refuse(model, goal) is not None
    unlearned = replace(goal, data=replace(goal.data, train=None))
    for name in ("distill.logits", "distill.bornagain"):
        reason = make_pass(name, {}).refuse(model, unlearned)
        assert reason == "there is no training data to learn from"


def test_teachers_that_do_not_fit_are_named(model: Model, goal: Goal, tmp_path: Path) -> None:
    lesson = make_pass("distill.logits", {"epochs": 1})
    with pytest.raises(
        NetsukeError, match=r"the teacher gives \(7,\) a sample, the student \(4,\)"
    ):
        lesson.apply(model, asked(goal, Small(classes=7)))
    with pytest.raises(NetsukeError, match=r"teacher 1: a str|must be \.onnx"):
        lesson.apply(model, asked(goal, "teacher.pt"))
    with pytest.raises(NetsukeError, match=r"missing\.onnx"):
        lesson.apply(model, asked(goal, str(tmp_path / "missing.onnx")))


def test_a_teacher_may_be_an_onnx_file(model: Model, goal: Goal, tmp_path: Path) -> None:
    file = samples.classifier(tmp_path / "teacher.onnx").path
    made = make_pass("distill.logits", {"epochs": 2, "ratio": 0.3}).apply(model, asked(goal, file))
    assert any("the task's teacher" in note for note in made.lineage[-1].notes)


def test_generations_are_born_again_and_the_best_stays(model: Model, goal: Goal) -> None:
    settings = {"generations": 2, "epochs": 6, "batch": 32}
    made = make_pass("distill.bornagain", settings).apply(model, goal)
    step = made.lineage[-1]
    assert step.summary.startswith("generation ")
    by = next(note for note in step.notes if "by generation" in note).rpartition(": ")[2]
    scores = [float(text) for text in by.split(", ")]
    assert len(scores) == 2
    assert score(made, goal) == pytest.approx(max(scores), abs=1e-3)
    assert not torch.equal(next(made.network.parameters()), next(model.network.parameters()))


def test_fresh_weights_are_those_of_new_modules(model: Model) -> None:
    drawn = fresh(asked_model().network, 3)
    for name, parameter in Small().named_parameters():
        if parameter.ndim > 1:
            bound = parameter[0].numel() ** -0.5
            assert drawn.get_parameter(name).abs().max() <= bound
            assert drawn.get_parameter(name.replace("weight", "bias")).abs().max() <= bound
            assert drawn.get_parameter(name).std().item() == pytest.approx(bound / 3**0.5, rel=0.3)
    again = fresh(asked_model().network, 3)
    assert all(
        torch.equal(a, b) for a, b in zip(drawn.parameters(), again.parameters(), strict=True)
    )
    norms = {n: b for n, b in fresh(model.network, 0).named_buffers() if n.endswith(("_mean", "_var"))}  # fmt: skip
    assert norms
    assert all(torch.equal(b, torch.full_like(b, n.endswith("_var"))) for n, b in norms.items())


def test_a_fit_by_a_recipe_with_a_student_of_ones_own(tmp_path: Path) -> None:
    task = replace(samples.task(), student=Small())
    recipe = read_recipe(
        '[[pass]]\nuse = "distill.hints"\nstudent = "own"\nepochs = 12\nlr = 0.1\nbatch = 32\n'
        'tune = 0.1\n[[pass]]\nuse = "quantize.static"\n'
    )
    run = netsuke.fit(
        samples.network(width=32, steps=80), task, budget=Budget(drop="60 pt"), recipe=recipe,
        options=options(tmp_path / "run"),
    )  # fmt: skip
    assert next(s["name"] for s in run.record["steps"]) == "distill.hints"
    told = (tmp_path / "run" / "report.md").read_text("utf8")
    assert "distill.hints" in told
    assert "## Temperature" in told
    page = (tmp_path / "run" / "report.html").read_text("utf8")
    assert "Accuracy over temperature" in page


def options(out: Path):
    from netsuke.fitting import Options

    return Options(out=out)


def test_temperature_and_share_are_tuned_and_told(model: Model, goal: Goal) -> None:
    settings = {"ratio": 0.5, "epochs": 4, "batch": 16, "tune": 0.1}
    step = make_pass("distill.logits", settings).apply(model, goal).lineage[-1]
    trials = step.table["trials"]
    asked, wider = sorted({t["parameters"] for t in trials})
    by_temperature = [t for t in trials if t["soft"] == 0.9]
    for size in (asked, wider):
        found = [t["temperature"] for t in by_temperature if t["parameters"] == size]
        assert found == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert sorted(t["soft"] for t in trials if t not in by_temperature) == [0.3, 0.6, 1.0]
    said = next(note for note in step.notes if "rehearsals" in note)
    best = max((t for t in trials if t["parameters"] == asked), key=lambda t: t["quality"])
    chosen = next(t for t in trials if f"temperature {t['temperature']:g} and soft {t['soft']:g} " in said)  # fmt: skip
    assert chosen["quality"] == pytest.approx(best["quality"], abs=0.05)


def test_the_task_keeps_its_teachers() -> None:
    task = replace(samples.task(), teachers=("a.onnx",), student="b.onnx")
    assert ready(task).teachers == ("a.onnx",)
    assert ready(task).student == "b.onnx"


def grown(choice: Chooser) -> nn.Module:
    """An architecture of choices."""
    width = int(choice.number("width", 4, 16))
    act = choice.one_of("act", ("relu", "tanh"))
    between = nn.ReLU() if act == "relu" else nn.Tanh()
    return nn.Sequential(nn.Conv2d(1, width, 3), between, nn.Flatten(), nn.Linear(36 * width, 4))


@pytest.mark.parametrize(("choices", "width"), [((), 16), (("width=5", "act=relu"), 5)])
def test_a_student_may_be_a_function_of_choices(model: Model, goal: Goal, choices: tuple[str, ...], width: int) -> None:  # fmt: skip
    asked = make_pass("distill.logits", {"student": "own", "epochs": 1, "choices": choices})
    student = asked.apply(model, replace(goal, data=replace(goal.data, student=grown)))
    assert next(p for p in student.network.parameters() if p.ndim == 4).shape[0] == width
    assert ("tanh" in student.network.code) == (not choices)


@pytest.mark.parametrize(
    ("choice", "says"),
    [("width=99", "not from 4 to 16"), ("act=gelu", "none of relu, tanh"), ("width=x", "no such number")],
)  # fmt: skip
def test_a_choice_that_was_not_offered_is_told(model: Model, goal: Goal, choice: str, says: str) -> None:  # fmt: skip
    asked = make_pass("distill.logits", {"student": "own", "epochs": 1, "choices": (choice,)})
    with pytest.raises(NetsukeError, match=says):
        asked.apply(model, replace(goal, data=replace(goal.data, student=grown)))


def test_what_is_no_choice_is_told_at_once() -> None:
    with pytest.raises(NetsukeError, match='write "width=32"'):
        make_pass("distill.logits", {"choices": ("width",)})
