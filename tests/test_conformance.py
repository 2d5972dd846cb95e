"""Every plugin there is, held to what its kind promises."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from netsuke.core.check import Check
from netsuke.core.layer import Layer
from netsuke.core.passes import Pass
from netsuke.core.probe import Probe
from netsuke.core.registry import registered
from netsuke.core.runtime import Runtime
from netsuke.testing import samples
from netsuke.testing.checks import CheckConformance
from netsuke.testing.passes import PassConformance
from netsuke.testing.probes import ProbeConformance
from netsuke.testing.runtimes import RuntimeConformance

KINDS = {
    Pass: (
        "netsuke.passes",
        {
            "distill.attention",
            "distill.bornagain",
            "distill.contrastive",
            "distill.hints",
            "distill.logits",
            "distill.relational",
            "prune.channels",
            "prune.kernels",
            "prune.lowrank",
            "prune.weights",
            "quantize.codebook",
            "quantize.static",
            "quantize.dynamic",
            "quantize.weights",
            "quantize.float",
            "quantize.mixed",
            "quantize.qat",
            "quantize.nested",
            "quantize.equalize",
            "search.exit",
            "search.resolution",
            "search.subnet",
            "search.supernet",
            "quantize.smooth",
        },
    ),
    Runtime: ("netsuke.runtimes", {"onnxruntime", "null"}),
    Probe: (
        "netsuke.probes",
        {"size", "stored", "quality", "latency", "memory", "parity", "estimate"},
    ),
    Check: ("netsuke.checks", {"budget", "parity", "harm"}),
}


def plugins(kind: type) -> list:
    package, _ = KINDS[kind]
    return [pytest.param(made, id=name) for name, made in registered(kind, package).items()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_all_that_ship_are_registered_and_so_tested_here(kind):
    package, names = KINDS[kind]
    assert names <= set(registered(kind, package))


LINEAR = {"quantize.dynamic", "quantize.smooth"}
"""Passes that help linear layers only."""
WIDE = {"prune.lowrank"}
"""Passes that help wide layers only."""
POOLED = {"prune.kernels", "search.exit", "search.resolution"}
"""Passes that help networks with wide kernels and one mean of each channel at their end."""
networks = cache(samples.network), cache(samples.linear_network)
pooled_network = cache(samples.pooled_network)
wide_network = cache(lambda: samples.network(width=64, steps=20))


@pytest.mark.parametrize("kind", plugins(Pass))
class TestPasses(PassConformance):
    @pytest.fixture
    def model(self, kind):
        if kind.name in POOLED:
            return pooled_network()
        return wide_network() if kind.name in WIDE else networks[kind.name in LINEAR]()

    @pytest.fixture
    def plugin(self, kind):
        return kind()


@pytest.mark.parametrize("kind", plugins(Runtime))
class TestRuntimes(RuntimeConformance):
    @pytest.fixture
    def plugin(self, kind):
        return kind()

    @pytest.fixture(autouse=True)
    def what_it_promises(self, kind, monkeypatch):
        monkeypatch.setattr(self, "exact", kind.name != "null", raising=False)


@pytest.mark.parametrize("kind", plugins(Probe))
class TestProbes(ProbeConformance):
    @pytest.fixture
    def plugin(self, kind):
        quick = {"latency": {"seconds": 0.3}, "memory": {"processes": 1}}
        return kind(**quick.get(kind.name, {}))

    @pytest.fixture
    def goal(self):
        # A device that is not here, so that there is something to estimate.
        return samples.goal("pi4")

    @pytest.fixture
    def subject(self, tmp_path: Path, kind):
        artifact = samples.classifier(tmp_path / "after.onnx", width=8, wrong=0.3)
        layers = (Layer(name="conv", op="conv2d", weights=72, outputs=512, macs=4608),)
        session = samples.OnnxSession(artifact.path)
        return samples.subject(replace(artifact, layers=layers), simulate=session.run)


@pytest.mark.parametrize("kind", plugins(Check))
class TestChecks(CheckConformance):
    @pytest.fixture
    def plugin(self, kind):
        return kind()
