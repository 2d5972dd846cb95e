"""Estimates of time and memory."""

from dataclasses import replace

import pytest
from published import mobilenet_v1, mobilenet_v2, resnet50, squeezenet

from netsuke.core.device import Device
from netsuke.core.layer import Layer
from netsuke.core.roofline import (
    DEPTHWISE_SHARE,
    activation_peak,
    compute_seconds,
    layer_seconds,
    model_seconds,
    padded_macs,
)
from netsuke.devices import device

BOARD = Device(
    name="board", title="", memory=1e9, storage=1e9, cores=1, kernel_width=8,
    formats={"fp32": 1e9, "int8": 2e9}, bandwidth=1e9, overhead=1e-5,
)  # fmt: skip
CONV = Layer(
    name="conv", op="conv2d", weights=16 * 16 * 9, inputs=16 * 64, outputs=16 * 64,
    macs=16 * 16 * 9 * 64, channels=(16, 16),
)  # fmt: skip


def test_a_layer_computes_and_moves_its_bytes_one_after_the_other():
    moved = 4 * (CONV.weights + CONV.inputs + CONV.outputs) / 1e9
    assert layer_seconds(CONV, BOARD) == pytest.approx(CONV.macs / 1e9 + moved + 1e-5)


def test_a_layer_bound_by_memory_takes_its_bytes():
    add = Layer(name="add", op="add", inputs=2000, outputs=1000)
    assert layer_seconds(add, BOARD) == pytest.approx(4 * 3000 / 1e9 + 1e-5)


def test_both_operands_must_be_integers_to_gain():
    full = replace(CONV, weight_bits=8, activation_bits=8)
    half = replace(CONV, weight_bits=8)
    assert compute_seconds(full, BOARD) == pytest.approx(CONV.macs / 2e9)
    assert compute_seconds(half, BOARD) == pytest.approx(compute_seconds(CONV, BOARD))


def test_a_device_without_integer_kernels_gains_nothing_from_bits():
    plain = replace(BOARD, formats={"fp32": 1e9})
    full = replace(CONV, weight_bits=8, activation_bits=8)
    assert compute_seconds(full, plain) == pytest.approx(compute_seconds(CONV, plain))


@pytest.mark.parametrize(
    ("channels", "factor"),
    [((16, 16), 1), ((11, 16), 16 / 11), ((11, 9), 16 / 11 * 16 / 9), ((3, 16), 1), ((0, 0), 1)],
)
def test_channels_are_padded_to_what_the_kernels_work_on(channels, factor):
    layer = replace(CONV, channels=channels)
    assert padded_macs(layer, 8) == pytest.approx(CONV.macs * factor)


def test_a_depthwise_layer_is_padded_once_and_slower():
    layer = replace(CONV, channels=(12, 12), groups=12, macs=12 * 9 * 64)
    assert padded_macs(layer, 8) == pytest.approx(layer.macs * 16 / 12)
    small = replace(layer, inputs=0, outputs=0, weights=0)
    expected = layer.macs * 16 / 12 / (1e9 * DEPTHWISE_SHARE) + 1e-5
    assert layer_seconds(small, BOARD) == pytest.approx(expected)


@pytest.mark.parametrize("op", ["relu", "relu_", "batch_norm", "view", "flatten", "dropout"])
def test_what_a_runtime_fuses_or_views_costs_nothing(op):
    assert layer_seconds(Layer(name="x", op=op, inputs=10**6, outputs=10**6), BOARD) == 0


def test_a_model_takes_the_sum_of_its_layers():
    assert model_seconds((CONV, CONV), BOARD) == pytest.approx(2 * layer_seconds(CONV, BOARD))


def test_the_peak_of_activations_is_the_largest_layers():
    layers = (CONV, Layer(name="add", op="add", inputs=4096, outputs=2048, activation_bits=8))
    assert activation_peak(layers) == 4 * 2048
    assert activation_peak(()) == 0


# ncnn, benchmark/README.md: "Raspberry Pi 4 Model B … Cortex-A72 (ARMv8) (1.5GHz x 4)", 1 thread, average.
PUBLISHED = {
    "MobileNet v1": (mobilenet_v1, 569, 145.94, 99.62),
    "MobileNet v2": (mobilenet_v2, 301, 110.10, None),
    "ResNet-50": (resnet50, 4089, 636.02, 503.46),
    "SqueezeNet 1.1": (squeezenet, 387, 92.60, 81.90),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_estimates_for_the_pi_are_within_their_range_of_published_times(name):
    build, macs, fp32, int8 = PUBLISHED[name]
    board = device("pi4")
    assert sum(n.macs for n in build(32)) / 1e6 == pytest.approx(macs, rel=0.05)
    for bits, published in ((32, fp32), (8, int8)):
        if published is not None:
            ratio = 1e3 * model_seconds(build(bits), board) / published
            assert 1 / 1.5 <= ratio <= 1.5, (bits, ratio)
