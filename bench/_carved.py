"""Figures 2 and 5: ResNets with channels and blocks gone, alone and with quantization and packing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench._contest import Entry, below, contest
from bench._control import control, epochs, resnet
from bench._data import VALIDATE, load_test, load_train
from bench._export import torch_onnx
from bench._harness import ROOT, Bench, Claim, Figure, MissingDataError
from bench._kept import kept_run
from bench._setup import (
    RESNET20,
    RESNET56,
    fastest_of,
    network,
    run_facts,
    stored_bytes,
    with_training,
)
from bench._sparse import zeros
from bench._timing import outputs

if TYPE_CHECKING:
    from netsuke.store import Run


@dataclass(frozen=True)
class Carved:
    """A run beside its dense control and both FP32 exports. reference: the faster of these."""

    run: "Run"
    found: dict[str, Entry]
    reference: str
    floats: tuple[str, ...]

    @property
    def ours(self) -> Entry:
        return self.found["Netsuke"]

    @property
    def fp32(self) -> int:
        """Bytes of the smaller FP32 export."""
        return min(self.found[name].size for name in self.floats)

    @property
    def smaller_stored(self) -> float:
        """Bytes of the smaller FP32 export ÷ of the stored form."""
        return self.fp32 / stored_bytes(self.run)

    @property
    def fewer_macs(self) -> float:
        """MACs of the original ÷ of what is left."""
        before, after = (
            sum(layer["macs"] for layer in self.run.record[state]["artifact"]["layers"])
            for state in ("baseline", "final")
        )
        return before / after

    @property
    def gap(self) -> dict[str, float]:
        """How far it is below the dense control."""
        return below(self.found["dense control"], self.ours)

    def to_dict(self) -> dict[str, Any]:
        return {
            "entries": {name: entry.to_dict() for name, entry in self.found.items()},
            "below_control": self.gap,
            "below_original": below(self.found[self.reference], self.ours),
            "fewer_macs": self.fewer_macs,
            "stored_bytes": stored_bytes(self.run),
            "run": run_facts(self.run),
        }


def narrower(bench: Bench) -> Figure:
    """Figure 2, and what figure 9 reports."""
    made = _carved(bench, "resnet56-narrow", RESNET56)
    gaps = _train_test(bench, made)
    claims = (
        Claim("fewer MACs", made.fewer_macs, "x", "≥", 2.57),
        Claim("below the dense control", made.gap["points"], "pt", "≤", 0.5),
        Claim("faster than FP32", made.ours.timing.ratio, "x", "≥", 2.0),
        Claim("epochs, undone steps too", epochs(made.run), "", "≤", 12),
    )
    saved = (
        f"by pruning alone {100 * (1 - made.ours.size / made.fp32):.0f} % of the bytes and "
        f"{100 * (1 - 1 / made.ours.timing.ratio):.0f} % of the time leave"
    )
    known = "accuracy on training images less that on test images, in points: " + ", ".join(
        f"{name} {points:.2f}" for name, points in gaps.items()
    )
    details = made.to_dict() | {"train_test_gap": gaps}
    return Figure("channels of ResNet-56", claims, len(made.ours.right), details, (saved, known))


def _train_test(bench: Bench, made: Carved) -> dict[str, float]:
    """Points that each network is better on 10,000 images it was trained on than on those it was not."""
    x, y = load_train(bench).part(slice(VALIDATE.stop, VALIDATE.stop + bench.count(10_000, 200)))
    return {
        name: 100 * float((outputs(entry.path, x).argmax(1) == y).mean() - entry.accuracy)
        for name, entry in made.found.items()
        if name in ("Netsuke", "dense control", made.reference)
    }


def combined(bench: Bench) -> Figure:
    """Figure 5: of each network one point that runs fast, and one that is stored small."""
    claims: list[Claim] = []
    details = {}
    for name, weights, fast, store, limits in (
        ("resnet20", RESNET20, "compact", _stored20, (7.0, 1.5, 3.0)),
        ("resnet56", RESNET56, "small", _stored56, (9.0, 1.0, 3.5)),
    ):
        small, stored = _carved(bench, f"{name}-{fast}", weights), store(bench)
        size, lost, faster = limits
        claims += [
            Claim(f"{name}: runnable file smaller", small.fp32 / small.ours.size, "x", "≥", size),
            Claim(f"{name}: below the dense control", small.gap["points"], "pt", "≤", lost),
            Claim(f"{name}: faster than FP32", small.ours.timing.ratio, "x", "≥", faster),
            Claim(f"{name}: stored form smaller", stored.smaller_stored, "x", "≥", 20.0),
            Claim(f"{name}: stored form below its control", stored.gap["points"], "pt", "≤", lost),
        ]
        details[name] = {"small": small.to_dict(), "stored": stored.to_dict()}
    return Figure("prune + quantize + pack", tuple(claims), len(small.ours.right), details)


def _stored20(bench: Bench) -> Carved:
    return _carved(bench, "resnet20-stored", RESNET20)


def _stored56(bench: Bench) -> Carved:
    """It goes on from the network with nine of ten weights zero of figure 4."""
    trained = zeros(bench, 0.9)
    how = (_recipe("stored"), with_training(bench))
    run = kept_run(bench, trained.artifact.path, how, "resnet56-stored")
    return _measured(bench, run, trained, RESNET56)


def _carved(bench: Bench, recipe: str, weights: str) -> Carved:
    """A ResNet after a recipe of ``recipes/``, measured beside its control."""
    how = (_recipe(recipe), with_training(bench))
    run = kept_run(bench, network(bench, weights), how, recipe)
    return _measured(bench, run, run, weights)


def _measured(bench: Bench, run: "Run", trained: "Run", weights: str) -> Carved:
    """trained: the run that began at the original and retrained it; it may be the same."""
    images, task = load_test(bench), with_training(bench)
    theirs = torch_onnx(network(bench, weights), bench.folder("onnx"))
    reference, floats = fastest_of(bench, trained.baseline.path, theirs, images[0][:1])
    dense = control(bench, trained, task, resnet(bench, weights))
    files = {"Netsuke": run.artifact.path, "dense control": dense, **floats}
    found = contest(files, reference, images, bench.count(30, 2))
    return Carved(run, found, reference, tuple(floats))


def _recipe(name: str) -> str:
    file = ROOT / "recipes" / f"{name}.toml"
    if not file.is_file():
        raise MissingDataError(f"no {file}, the recipe this figure runs")
    return file.read_text("utf8")
