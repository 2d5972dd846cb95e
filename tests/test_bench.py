"""The bench's contract: what is printed, what the exit codes say, and that it measures truly."""

import itertools
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import _harness, _rivals, quantize, walk  # noqa: E402
from bench._contest import below, contest, gap  # noqa: E402
from bench._data import augment, normalise  # noqa: E402
from bench._demo import demo  # noqa: E402
from bench._harness import Bench, Claim, Figure, MissingDataError  # noqa: E402
from bench._lenet import network as lenet  # noqa: E402
from bench._memory import Used, _steepening  # noqa: E402
from bench._minilm import Classifier, _batches  # noqa: E402
from bench._mobile import MobileNet, unbalanced  # noqa: E402
from bench._modular import ModularResNet  # noqa: E402
from bench._pruned import bisect  # noqa: E402
from bench._resnet import from_state, resnet, with_selects  # noqa: E402
from bench._shapes import mobilenet_v2, resnet18  # noqa: E402
from bench._timing import outputs  # noqa: E402

from netsuke.core.errors import NetsukeError  # noqa: E402
from netsuke.core.recipe import read_recipe  # noqa: E402

FIELDS = {"area", "figure", "value", "unit", "limit", "holds", "samples", "seconds"}


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def area(*found: Figure | Exception) -> dict[int, object]:
    """The figures of an area whose functions return (or raise) these."""
    module = types.ModuleType("area")
    for number, one in enumerate(found, 1):

        def figure(_: Bench, one: Figure | Exception = one) -> Figure:
            if isinstance(one, Exception):
                raise one
            return one

        setattr(module, f"figure_{number}", figure)
    return _harness.figures(module)  # type: ignore[return-value]


def figure(value: float | None, limit: float = 1.0) -> Figure:
    return Figure(
        "how much", (Claim("much", value, "x", "≥", limit),), 7, {"why": [1, 2]}, ("told",)
    )


@pytest.fixture
def place(tmp_path: Path) -> Bench:
    return Bench(data=tmp_path / "none", cache=tmp_path / "cache", results=tmp_path / "results")


def test_help_names_the_areas_and_the_exit_codes() -> None:
    done = bench("--help")
    assert done.returncode == 0
    assert "walk" in done.stdout
    assert "4 skipped" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["wlak"], "did you mean walk?"), (["walk", "--figure", "9"], "no figure 9"), ([], "AREA")],
)
def test_a_usage_error_is_one_line_and_exit_2(arguments: list[str], says: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_missing_data_is_skipped_visibly(tmp_path: Path) -> None:
    done = bench("walk", "--figure", "5", NETSUKE_DATA=str(tmp_path))
    assert done.returncode == 4
    (line,) = done.stdout.splitlines()
    assert line.startswith("walk figure 5: skipped: no ")
    assert "--data DIR" in line


def test_the_walk_has_five_figures() -> None:
    assert list(_harness.figures(walk)) == [1, 2, 3, 4, 5]


def test_quantization_has_nine_figures() -> None:
    assert list(_harness.figures(quantize)) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_each_figure_is_a_table_and_a_line_of_json(
    place: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _harness.run("toy", area(figure(2.0)), place) == 0  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert "toy figure 1: how much" in printed
    assert "≥ 1 x" in printed
    line = json.loads(printed.splitlines()[-1])
    assert set(line) > FIELDS
    assert (line["value"], line["unit"], line["limit"], line["holds"], line["samples"]) == (
        2.0,
        "x",
        1.0,
        True,
        7,
    )
    written = json.loads((place.results / "toy-figure1.json").read_text("utf8"))
    assert written["versions"]["torch"] == torch.__version__
    assert written["machine"]["cores"] == os.cpu_count()
    assert {**written, **line} == written


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([figure(2.0), figure(0.5)], 1),
        ([figure(2.0), figure(None)], 3),
        ([figure(2.0), MissingDataError("no data")], 4),
        ([figure(2.0), NetsukeError("the machine is too busy")], 3),
        ([figure(0.5), MissingDataError("no data")], 1),
    ],
)
def test_exit_codes(found: list[Figure | Exception], code: int, place: Bench) -> None:
    assert _harness.run("toy", area(*found), place) == code  # type: ignore[arg-type]


def test_a_rehearsal_judges_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = Bench(data=tmp_path, results=tmp_path / "results", quick=True)
    assert _harness.run("toy", area(figure(0.5)), quick) == 0  # type: ignore[arg-type]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["holds"] is None
    assert not quick.results.exists()


def test_unknown_is_never_holding() -> None:
    known, open_ = Claim("a", 2.0, "x", "≥", 1.0), Claim("b", None, "x", "≥", 1.0)
    assert Figure("", (known, open_), 1).holds is None
    assert Figure("", (known, open_, Claim("c", 2.0, "x", "≤", 1.0)), 1).holds is False
    assert Figure("", (), 0).holds is None


def test_the_demo_is_judged_by_its_record() -> None:
    def evidence(what: str, value: float, source: str = "measured") -> dict[str, object]:
        return {"what": what, "value": value, "source": source, "samples": 600}

    record = {
        "verdict": {"outcome": "pass", "reason": ""},
        "baseline": {"evidence": [evidence("size", 400e3)], "artifact": {"layers": [{"macs": 4e6}, {"macs": 2e6}]}},
        "final": {"evidence": [evidence("size", 80e3), evidence("speedup", 2.0), evidence("speedup", 9.0, "estimated"), evidence("drop", 0.01)]},
    }  # fmt: skip
    claims = {claim.name: claim for claim in walk.demo_claims(200.0, record)}
    assert claims["smaller than FP32"].value == 5.0
    assert claims["faster than FP32"].value == 2.0
    assert all(claim.holds for claim in claims.values())
    assert walk.demo_claims(200.0, {**record, "verdict": {"outcome": "unknown"}})[1].holds is False
    assert [claim.holds for claim in walk.demo_claims(None, None)] == [None] * 6


def convolutions(path: Path, count: int) -> Path:
    """``count`` 3×3 convolutions of 16 channels, then the mean over the image."""
    weight = helper.make_tensor(
        "w", TensorProto.FLOAT, (16, 16, 3, 3), np.random.default_rng(0).normal(size=2304) / 12
    )
    names = ["input", *(f"x{i}" for i in range(count))]
    nodes = [
        helper.make_node("Conv", [a, "w"], [b], pads=[1] * 4) for a, b in itertools.pairwise(names)
    ]
    nodes.append(helper.make_node("ReduceMean", [names[-1], "axes"], ["output"], keepdims=0))
    axes = helper.make_tensor("axes", TensorProto.INT64, (2,), [2, 3])
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", *s])
        for n, s in (("input", (16, 32, 32)), ("output", (16,)))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight, axes])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path
    )
    return path


def test_a_contest_measures_time_size_and_accuracy(tmp_path: Path) -> None:
    files = {
        "slow": convolutions(tmp_path / "slow.onnx", 8),
        "fast": convolutions(tmp_path / "fast.onnx", 2),
    }
    x = np.random.default_rng(1).normal(size=(150, 16, 32, 32)).astype(np.float32)
    y = np.zeros(150, np.int64)
    found = contest(files, "slow", (x, y), rounds=2)
    assert 2 < found["fast"].timing.ratio < 8
    assert found["fast"].timing.low <= found["fast"].timing.ratio <= found["fast"].timing.high
    assert found["slow"].timing.ratio == 1
    assert found["slow"].size == files["slow"].stat().st_size
    gap = below(found["slow"], found["fast"])
    assert gap["points"] == pytest.approx(100 * (found["slow"].accuracy - found["fast"].accuracy))
    assert gap["low"] < gap["points"] < gap["high"]


def test_resnet20_is_the_shared_one() -> None:
    net = resnet(20).eval()
    assert sum(p.numel() for p in net.parameters()) == 269_722
    assert sum(p.numel() for p in resnet(56).parameters()) == 853_018
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = net(x)
        assert torch.equal(from_state(net.state_dict())(x), expected)
        assert torch.allclose(with_selects(net)(x), expected, atol=1e-6)


def test_the_network_of_modules_alone_computes_the_same() -> None:
    net = resnet(20).eval()
    x = torch.randn(2, 3, 32, 32)
    modular = ModularResNet(net.state_dict()).eval()
    with torch.no_grad():
        assert torch.allclose(modular(x), net(x), atol=1e-6)
        weights = [b.shortcut.weight for b in modular.blocks if hasattr(b.shortcut, "weight")]
    assert len(weights) == 2
    assert all(set(w.unique().tolist()) == {0.0, 1.0} for w in weights)


def test_the_unbalanced_copy_computes_the_same_from_other_ranges() -> None:
    torch.manual_seed(0)
    net = MobileNet()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias)
    net.eval()
    copy, x = unbalanced(net), torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(copy(x), net(x), rtol=1e-4, atol=1e-4)
    gains = copy.bn.weight / net.bn.weight
    assert gains.max() / gains.min() > 30


def test_the_shapes_are_the_known_ones() -> None:
    assert sum(p.numel() for p in resnet18().parameters()) == 11_689_512
    assert sum(p.numel() for p in mobilenet_v2().parameters()) == 3_504_872


class Encoded(torch.nn.Module):
    """Stands where an encoder stands: each token's number in both of two places."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
        del attention_mask
        return types.SimpleNamespace(
            last_hidden_state=input_ids.float().unsqueeze(-1).expand(-1, -1, 2)
        )


def test_padding_has_no_part_in_the_mean_of_a_sentence() -> None:
    net = Classifier(Encoded(), 2)
    ids, mask = torch.tensor([[2, 4, 99], [6, 99, 99]]), torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert net.pooled(ids, mask).tolist() == [[3.0, 3.0], [6.0, 6.0]]
    (cut,) = _batches((ids.numpy(), mask.numpy(), np.array([0, 1])))
    assert cut[0].tolist() == [[6, 99], [2, 4]]
    assert cut[2].tolist() == [1, 0]


def test_cost_that_grows_with_the_square_is_seen() -> None:
    linear = {n: Used(0, 1, 3.0 + 2 * n) for n in (64, 128, 256)}
    square = {n: Used(0, 1, 3.0 + n * n) for n in (64, 128, 256)}
    assert _steepening(linear) == pytest.approx(1)
    assert _steepening(square) == pytest.approx(2)


def test_a_file_of_several_inputs_is_fed_in_order(tmp_path: Path) -> None:
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in "abc"]
    graph = helper.make_graph(
        [helper.make_node("Sub", ["a", "b"], ["c"])], "g", ports[:2], ports[2:]
    )
    path = tmp_path / "two.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path
    )
    one, other = np.ones((5, 2), np.float32), np.full((5, 2), 3, np.float32)
    assert (outputs(path, (one, other), batch=2) == -2).all()


def test_a_gap_is_of_the_same_samples() -> None:
    right = np.arange(1000) % 10 != 0
    assert gap(right, right) == {"points": 0.0, "low": 0.0, "high": 0.0}
    assert gap(right, np.roll(right, 1))["points"] == 0
    assert gap(right, np.roll(right, 1))["high"] > 2


def test_a_pruned_state_is_rebuilt_with_its_widths() -> None:
    net = with_selects(resnet(20))
    state = dict(net.state_dict())
    for name, axis in {
        "conv1.weight": 0,
        "bn1.weight": 0,
        "bn1.bias": 0,
        "bn1.running_mean": 0,
        "bn1.running_var": 0,
        "conv2.weight": 1,
    }.items():
        state[f"layer2.0.{name}"] = state[f"layer2.0.{name}"].narrow(axis, 0, 8)
    assert from_state(state)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_augment_crops_and_flips_each_image() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(1.0, 1025).view(1, 1, 32, 32).repeat(64, 1, 1, 1)
    made = augment(ramp)
    assert made.shape == ramp.shape
    assert len({tuple(image.flatten().tolist()) for image in made}) > 40
    across = made[:, 0, 16, 12:20].diff(dim=1)
    assert set(across.flatten().tolist()) == {1.0, -1.0}
    assert set(made[:, 0, 12:20, 16].diff(dim=1).flatten().tolist()) == {32.0}


def test_normalise_is_channels_first() -> None:
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[..., 2] = 255
    x = normalise(pixels)
    assert x.shape == (1, 3, 32, 32)
    assert x[0, :, 5, 5] == pytest.approx(
        [-0.485 / 0.229, -0.456 / 0.224, (1 - 0.406) / 0.225], rel=1e-5
    )


@pytest.mark.parametrize(("target", "index"), [(0, 0), (3.5, 4), (9, 9), (9.5, None)])
def test_bisection_finds_the_first_that_is_fast_enough(target: float, index: int | None) -> None:
    asked: list[int] = []

    def measure(i: int) -> float:
        asked.append(i)
        return float(i)

    assert bisect(10, target, measure)[0] == index
    assert len(asked) <= 5


def test_every_rival_is_a_script_with_exact_pins() -> None:
    scripts = sorted(path.stem for path in _rivals.RIVALS.glob("*.py"))
    assert (
        scripts
        == sorted(path.stem for path in _rivals.RIVALS.glob("*.txt"))
        == ["aimet", "brevitas", "modelopt", "nncf", "torch_pruning"]
    )
    for path in _rivals.RIVALS.glob("*.txt"):
        assert all("==" in line for line in path.read_text("utf8").split())


def test_a_rival_that_cannot_be_installed_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nobody.txt").write_text("--no-index\nno-such-rival==1\n")
    monkeypatch.setattr(_rivals, "RIVALS", tmp_path)
    monkeypatch.setattr(_rivals, "ENVIRONMENTS", tmp_path / "environments")
    with pytest.raises(
        _rivals.RivalMissingError, match="nobody cannot be installed: .*no-such-rival"
    ):
        _rivals.rival("nobody", {}, tmp_path)


MAKEFILE = """install:
\t@mkdir -p examples/.cache && touch installed examples/.cache/digits.safetensors

demo: installed
\t@test ! -e examples/.cache/digits.safetensors
\t@mkdir -p runs/digits-2 && echo '{"name": "digits-2"}' > runs/digits-2/report.json
"""


def test_the_demo_starts_from_nothing_and_its_own_run_is_read(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "runs" / "digits-1").mkdir(parents=True)
    (tmp_path / "runs" / "digits-1" / "report.json").write_text("{}")
    seconds, record, folder = demo(tmp_path)
    assert record == {"name": "digits-2"}
    assert folder == "digits-2"
    assert seconds is not None
    assert 0 < seconds < 10


def test_a_demo_that_fails_is_unknown_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("install:\n\ndemo:\n\t@echo out of luck >&2; exit 1\n")
    seconds, record, note = demo(tmp_path)
    assert seconds is None
    assert record is None
    assert "make demo exited 2 with 0 runs" in note


@pytest.mark.parametrize(("name", "weights"), [("LeNet-300-100", 266_610), ("LeNet-5", 431_080)])
def test_the_lenets_are_those_of_deep_compression(name: str, weights: int) -> None:
    net = lenet(name)
    assert sum(p.numel() for p in net.parameters()) == weights
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
def test_the_lenets_recipes_prune_then_cluster(name: str) -> None:
    recipe = read_recipe((ROOT / "recipes" / f"{name}.toml").read_text("utf8"))
    assert [p.name for p in recipe] == ["prune.weights", "quantize.codebook"]


def test_predictions_are_corrected_between_references() -> None:
    from bench._latency_table import Found, _between

    # the whole and the middle, then what is to be predicted: all measured at twice what is predicted
    assert _between([8.0, 4.0, 3.0, 1.0], [16.0, 8.0, 0.0, 0.0]) == pytest.approx([6.0, 2.0])
    # measured ÷ predicted is 1 and 2: between them in proportion, beyond them that of the nearer one
    found_out = _between([8.0, 2.0, 4.0, 1.0, 16.0], [8.0, 4.0, 0.0, 0.0, 0.0])
    assert found_out == pytest.approx([4 * 2**0.5, 2.0, 16.0])
    found = Found(predicted=[1.1, 2.0, 4.2], estimated=[], measured=[1.0, 2.0, 4.0], kernels=1)
    assert found.error(found.predicted) == pytest.approx(5.0)
    assert (found.rank, found.span) == (pytest.approx(1.0), 4.0)
