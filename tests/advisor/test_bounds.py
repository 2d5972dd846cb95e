"""What bounds a layer, and what a technique could win at most."""

from dataclasses import replace

import pytest

from netsuke.advisor.bounds import bounds, ceilings, shares
from netsuke.advisor.readiness import readiness
from netsuke.core.device import Device
from netsuke.core.layer import Layer

MACHINE = Device(
    name="machine", title="a machine", memory=1e6, storage=1e6, cores=1, kernel_width=8,
    formats={"fp32": 1e9, "int8": 4e9}, bandwidth=1e9, overhead=1e-6,
)  # fmt: skip
CONV = Layer(
    name="conv", op="conv2d", weights=9 * 64 * 64, inputs=64 * 256, outputs=64 * 256, alive=2 * 64 * 256,
    macs=9 * 64 * 64 * 256, channels=(64, 64),
)  # fmt: skip
WIDE = Layer(
    name="wide", op="linear", weights=4096 * 64, inputs=4096, outputs=64, macs=4096 * 64, channels=(4096, 64),
)  # fmt: skip
TINY = Layer(name="tiny", op="linear", weights=64, inputs=8, outputs=8, macs=64, channels=(8, 8))
RELU = Layer(name="relu", op="relu", inputs=64, outputs=64)


def test_each_layer_is_bound_by_what_takes_it_longest() -> None:
    found = {one.layer.name: one for one in bounds((CONV, WIDE, TINY, RELU), MACHINE)}
    assert {name: one.bound for name, one in found.items()} == {
        "conv": "compute", "wide": "memory", "tiny": "call", "relu": "nothing",
    }  # fmt: skip
    for layer in (CONV, WIDE):
        assert found[layer.name].seconds == pytest.approx((layer.macs + moved(layer)) / 1e9 + 1e-6)
    assert sum(one.share for one in found.values()) == pytest.approx(1.0)
    assert list(shares(found.values())) == ["compute", "memory", "call"]


def moved(layer: Layer) -> int:
    return 4 * (layer.weights + layer.inputs + layer.outputs)


def technique(layer: Layer, device: Device, words: str) -> float | None:
    return next(c.faster for c in ceilings((layer,), device) if words in c.technique)


def test_integers_win_where_there_is_arithmetic_and_never_more_than_the_rate() -> None:
    won = technique(CONV, MACHINE, "INT8")
    assert won
    assert 3.9 < won < 4.0
    # where there is none, coding on the way in and decoding on the way out cost more than the layer
    assert technique(TINY, MACHINE, "INT8") == pytest.approx(1 / 3, abs=0.2)


def test_weights_alone_win_where_they_are_what_is_waited_for() -> None:
    before = (WIDE.macs + moved(WIDE)) / 1e9 + 1e-6
    assert technique(WIDE, MACHINE, "weights alone") == pytest.approx(
        before / (before - 7 / 8 * 4 * WIDE.weights / 1e9)
    )
    assert technique(CONV, MACHINE, "weights alone") == pytest.approx(1.0, abs=0.02)


def test_half_of_the_channels_is_a_quarter_of_the_arithmetic_unless_kernels_are_wide() -> None:
    won = technique(CONV, MACHINE, "half")
    assert won
    assert 3.9 < won < 4.0
    narrow = replace(CONV, channels=(16, 16), weights=9 * 256, macs=9 * 256 * 256)
    wide = replace(MACHINE, kernel_width=16, bandwidth=1e12)  # 8 channels take as long as 16
    assert technique(narrow, wide, "half") == pytest.approx(1.0, abs=0.05)


def test_what_a_device_has_no_kernels_for_wins_nothing_and_that_is_said() -> None:
    found = {c.technique: c for c in ceilings((CONV,), replace(MACHINE, formats={"fp32": 1e9}))}
    for words in ("INT8 weights and activations", "FP16 weights and activations", "zeros among the weights"):  # fmt: skip
        assert found[words].faster is None
        assert "machine has no" in found[words].reason
    free = technique(CONV, replace(MACHINE, sparse=("free",)), "zeros")
    assert free
    assert 8.8 < free < 10
    half = technique(CONV, replace(MACHINE, sparse=("2:4",)), "zeros")
    assert half
    assert 1.9 < half < 2.0


def outcomes(device: Device, *layers: Layer) -> dict[str, str]:
    return {need.what: need.outcome for need in readiness(layers, device)}


def test_what_fits_is_ok_and_what_does_not_is_short() -> None:
    assert outcomes(MACHINE, TINY)["storage"] == "ok"
    assert outcomes(replace(MACHINE, storage=1e4), CONV)["storage"] == "short"
    assert outcomes(MACHINE, CONV)["memory"] == "short"  # onnxruntime alone takes more
    assert outcomes(replace(MACHINE, memory=1e9), CONV)["memory"] == "ok"


def test_a_microcontroller_holds_activations_alone_in_memory() -> None:
    small = replace(MACHINE, kind="microcontroller", memory=1.3 * 4 * CONV.alive)
    assert outcomes(small, CONV)["memory"] == "ok"
    assert outcomes(replace(small, memory=1.1 * 4 * CONV.alive), CONV)["memory"] == "short"


def test_numbers_without_kernels_are_told() -> None:
    integers = replace(CONV, weight_bits=8, activation_bits=8)
    assert outcomes(MACHINE, integers)["kernels"] == "ok"
    found = readiness((integers, TINY), replace(MACHINE, formats={"fp32": 1e9}))
    (need,) = (n for n in found if n.what == "kernels")
    assert need.outcome == "short"
    assert "INT8 as FP32" in need.reason
    assert outcomes(replace(MACHINE, fallback=("fp32",)), TINY)["kernels"] == "short"
    assert outcomes(replace(MACHINE, fallback=("fp32",)), integers)["kernels"] == "ok"


def test_energy_is_of_the_arithmetic_and_the_bytes() -> None:
    assert outcomes(MACHINE, CONV)["energy"] == "unknown"
    known = replace(MACHINE, energy={"fp32": 1e-11, "int8": 1e-12, "byte": 1e-10})
    (one,) = bounds((CONV,), known)
    assert one.joules == pytest.approx(CONV.macs * 1e-11 + moved(CONV) * 1e-10)
    (less,) = bounds((replace(CONV, weight_bits=8, activation_bits=8),), known)
    assert less.joules == pytest.approx(CONV.macs * 1e-12 + moved(CONV) / 4 * 1e-10)
