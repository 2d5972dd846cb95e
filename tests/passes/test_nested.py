"""One network at several widths: the pass, and switching in the runtime."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import netsuke
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.core.recipe import Recipe
from netsuke.flow import Options
from netsuke.nets.onnx_out import export_onnx
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.lsq import Grid, LearnedStep
from netsuke.nets.quantizers.nested import (
    NestedStep,
    at_width,
    narrowed,
    nest,
    renormalise,
    widths_of,
)
from netsuke.nets.quantizers.place import Plan, place
from netsuke.nets.quantizers.qat import trainable
from netsuke.nets.quantizers.quantizer import Encoding, quantizers, read
from netsuke.nets.save import load, save
from netsuke.passes.quantize.nested import Nested
from netsuke.passes.quantize.static import Static
from netsuke.runtimes._widths import widths_beside
from netsuke.runtimes.onnxruntime import OnnxRuntime, OnnxSession
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance

SHORT = Nested(epochs=4, lr=0.01, batch=32)
WIDTHS = (8, 6, 4, 2)


class TestNested(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return replace(SHORT, epochs=1)


@pytest.fixture(scope="module")
def carved(model: Model, goal: Goal) -> Model:
    return SHORT.apply(model, goal)


@pytest.fixture
def session(carved: Model, goal: Goal, tmp_path: Path) -> OnnxSession:
    artifact = OnnxRuntime().export(carved, goal.device, tmp_path / "m.onnx")
    opened = OnnxRuntime().open(artifact)
    assert isinstance(opened, OnnxSession)
    return opened


def at(model: Model, bits: int) -> Model:
    return replace(model, network=at_width(model.network, bits))


def right(model: Model) -> float:
    x, y = samples.images(1024, 9)
    with torch.no_grad():
        return float((model.network.eval()(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


def codes(model: Model, name: str) -> torch.Tensor:
    """The integers a weight is stored as."""
    for q in quantizers(model.network):
        if q.source.target == name:
            weight = dict(model.network.named_parameters())[name].detach()
            return (weight / read(model.network, q.key).scale.view(-1, 1, 1, 1)).round()
    raise AssertionError(name)


def test_every_width_is_a_good_model(model: Model, goal: Goal, carved: Model):
    assert widths_of(carved.network) == WIDTHS
    rounded = right(Static(weights=2).apply(model, goal))
    scores = {bits: right(at(carved, bits)) for bits in WIDTHS}
    assert scores[2] > rounded
    assert min(scores[8], scores[6], scores[4]) > right(model) - 0.05


def test_the_step_moves_as_one_of_that_width_alone():
    """Not 4 ** 6 times as much at 2 bits, where a code's gradient is that of what it rounds off."""
    draw = torch.Generator().manual_seed(0)
    weight, slope = torch.randn(1, 4096, generator=draw), torch.randn(1, 4096, generator=draw)
    moves = {}
    for number, bits in enumerate(WIDTHS):
        scale = torch.tensor([2.0 ** (8 - bits) / 64])
        alone = LearnedStep(
            encoding(scale), Grid((1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1), 0), 4096
        )
        whole = LearnedStep(encoding(torch.tensor([1 / 64])), Grid((-127, 127), 0), 4096)
        nested = NestedStep(whole, WIDTHS)
        nested.at = number
        for step in (alone, nested):
            (step(weight) * slope).sum().backward()
        moves[bits] = [abs(float(s.scale.grad / s.scale.detach())) for s in (alone, nested)]
    assert all(1 / 30 < nested / alone < 30 for alone, nested in moves.values()), moves


def encoding(scale: torch.Tensor) -> Encoding:
    return Encoding(scale, torch.zeros_like(scale, dtype=torch.int32))


@pytest.mark.parametrize("bits", [6, 4, 2])
def test_fewer_bits_are_the_upper_bits(carved: Model, bits: int):
    full = codes(carved, "conv1.weight")
    assert full.unique().numel() > 16
    assert torch.equal(codes(at(carved, bits), "conv1.weight"), narrowed(full, bits))
    assert codes(at(carved, bits), "conv1.weight").unique().numel() <= 2**bits
    assert torch.equal(codes(at(carved, bits), "first.weight"), codes(carved, "first.weight"))


def test_statistics_are_estimated_anew_at_each_width(model: Model):
    placed = place(model.network, model.example, Plan.of(8, 8))
    x = torch.from_numpy(samples.images(64, 3)[0])
    calibrate(placed, [(x,)])
    nested = nest(trainable(placed, model.network, model.example), WIDTHS)
    norms = [m for m in nested.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 2 * len(WIDTHS)
    for number in range(len(WIDTHS)):
        renormalise(nested.train(), number, [(x[:32],), (x[32:],)])
    assert nested.training
    assert all(m.momentum == 0.1 and m.training for m in norms)
    first = norms[: len(WIDTHS)]
    assert len({tuple(m.running_mean.tolist()) for m in first}) == len(WIDTHS)
    gathered: list[torch.Tensor] = []
    first[3].register_forward_hook(lambda module, given, out: gathered.append(given[0]))
    with torch.no_grad():
        nested.eval()(x)
    assert torch.allclose(first[3].running_mean, gathered[0].mean((0, 2, 3)), atol=1e-5)


def test_upper_bits_of_all_codes():
    all_codes = torch.arange(-127, 128)
    for bits in (2, 3, 4, 5, 6, 7):
        upper = narrowed(all_codes, bits)
        assert torch.equal(
            (upper - 1) / 2, torch.div(all_codes, 2 ** (8 - bits), rounding_mode="floor")
        )
        assert set(upper.tolist()) == set(range(1 - 2**bits, 2**bits, 2))


def test_the_session_switches_in_place_and_back(carved: Model, session: OnnxSession):
    x, _ = samples.images(512, 3)
    first = session.run((x,))[0]
    for bits in (4, 2, 6, 8):
        assert session.use(bits=bits) is session
        (ran,) = session.run((x,))
        with torch.no_grad():
            simulated = at(carved, bits).network.eval()(torch.from_numpy(x)).numpy()
        assert (ran.argmax(1) == simulated.argmax(1)).mean() >= 0.999
        assert np.array_equal(ran, first) == (bits == 8)


def test_each_width_is_its_own_export_to_the_byte(carved: Model, session: OnnxSession):
    assert session.widths is not None
    assert session.widths.all == WIDTHS
    for bits in WIDTHS:
        assert session.widths.content(bits) == export_onnx(at(carved, bits)).content


def test_it_says_what_each_width_scores(carved: Model):
    notes = carved.lineage[-1].notes
    assert [n.split(":")[0] for n in notes[:4]] == [f"{bits} bits" for bits in WIDTHS]


def test_a_saved_model_keeps_its_widths(carved: Model, tmp_path: Path):
    save(carved, tmp_path)
    again = load(tmp_path)
    assert widths_of(again.network) == WIDTHS
    assert export_onnx(at(again, 2)).content == export_onnx(at(carved, 2)).content


def test_a_run_switches_also_from_its_stored_form(tmp_path: Path):
    recipe = Recipe(replace(SHORT, epochs=1, widths="4 2"))
    options = Options(out=tmp_path / "run")
    budget = netsuke.Budget(drop="90 pt")
    run = netsuke.fit(
        samples.network(), samples.task(), budget=budget, recipe=recipe, options=options
    )
    session = netsuke.load(run.folder).use(bits=2)  # type: ignore[attr-defined]
    x, _ = samples.images(16, 3)
    expected = session.run((x,))[0]
    assert widths_beside(run.artifact.path).stat().st_size < 2 * run.artifact.path.stat().st_size

    shutil.copytree(run.folder, tmp_path / "sent")
    (tmp_path / "sent" / "model.onnx").unlink()
    sent = netsuke.load(tmp_path / "sent").use(bits=2)  # type: ignore[attr-defined]
    assert np.array_equal(sent.run((x,))[0], expected)


def test_a_width_there_is_not(session: OnnxSession):
    with pytest.raises(NetsukeError, match="3 bits; this model has 8, 6, 4, 2"):
        session.use(bits=3)


def test_a_model_of_one_width_cannot_switch(model: Model, goal: Goal, tmp_path: Path):
    artifact = OnnxRuntime().export(model, goal.device, tmp_path / "m.onnx")
    with pytest.raises(NetsukeError, match="has one width"):
        OnnxRuntime().open(artifact).use(bits=4)  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", ["torn", "of another file"])
def test_damaged_widths_are_an_error(session: OnnxSession, goal: Goal, damage: str):
    path = session.path
    home = widths_beside(path)
    if damage == "torn":
        home.write_bytes(home.read_bytes()[:100])
    else:
        samples.classifier(path)
    with pytest.raises(NetsukeError, match=r"m\.widths\.npz"):
        OnnxRuntime().open(OnnxRuntime().adopt(path))


def test_it_refuses_what_it_cannot_help(model: Model, goal: Goal):
    without = replace(goal, data=replace(goal.data, train=None))
    assert "needs training data" in str(SHORT.refuse(model, without))
    assert SHORT.refuse(Static().apply(model, goal), goal) == "the model is quantized already"


@pytest.mark.parametrize("widths", ["", "8", "9 4", "four", "1"])
def test_widths_that_make_no_sense(widths: str):
    with pytest.raises(NetsukeError, match=r"quantize\.nested\.widths"):
        Nested(widths=widths)
