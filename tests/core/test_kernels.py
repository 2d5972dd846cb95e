"""Single kernels: which one a layer runs, and what a table says between its entries."""

import pytest

from netsuke.clock import LiveKernels, RecordedKernels
from netsuke.core.kernels import Kernel, around, kernel_of, seconds
from netsuke.core.layer import Layer
from netsuke.core.runtime import Runtime
from netsuke.devices.local import DOT_PRODUCT, cpu_flags
from netsuke.runtimes.onnxruntime import OnnxRuntime


def layer(inputs: int, outputs: int, taps: int = 9, side: int = 8, groups: int = 1) -> Layer:
    macs = outputs * side**2 * taps * inputs // groups
    return Layer(
        name="conv", op="conv2d", outputs=outputs * side**2, macs=macs,
        channels=(inputs, outputs), groups=groups,
    )  # fmt: skip


def test_a_layer_names_its_kernel():
    assert str(kernel_of(layer(16, 32))) == "conv 3×3 16→32 at 8²"
    assert str(kernel_of(layer(24, 24, side=5, groups=24))) == "depthwise 3×3 24→24 at 5²"
    assert kernel_of(layer(16, 32, taps=3)) == Kernel(16, 32, (1, 3), 8)
    assert kernel_of(layer(16, 32, groups=2)) is None
    rows = Layer(name="fc", op="linear", outputs=12 * 8, macs=1, channels=(64, 8))
    assert str(kernel_of(rows)) == "linear 64→8 of 12"
    assert kernel_of(Layer(name="add", op="add", outputs=64)) is None


def test_between_entries_time_is_bilinear_in_the_channels():
    kernel = Kernel(160, 18, (1, 1), 7)
    assert around(kernel) == {
        Kernel(128, 20, (1, 1), 7): pytest.approx(0.5),
        Kernel(192, 20, (1, 1), 7): pytest.approx(0.5),
    }
    found = seconds(Kernel(160, 80, (1, 1), 7), lambda k: 3.0 * k.inputs + k.inputs * k.outputs)
    assert found == pytest.approx(160 * 3 + 160 * 80)
    assert seconds(kernel, lambda k: 1.0 if k.inputs == 128 else None) is None
    assert seconds(Kernel(8192, 4, (1, 1), 1), lambda k: 1.0) == pytest.approx(2.0)


class Counting(Runtime):
    """Every kernel takes as long as it has inputs; counts how often it was asked."""

    name = "counting"
    asked = 0

    def export(self, model, device, path):
        raise NotImplementedError

    def open(self, artifact, threads=1):
        raise NotImplementedError

    def kernel_seconds(self, kernel: Kernel) -> float:
        self.asked += 1
        return float(kernel.inputs)


def test_each_kernel_is_measured_once_and_a_record_repeats_it():
    runtime = Counting()
    table = LiveKernels(runtime)
    layers = [layer(16, 32), layer(160, 64), layer(16, 32)]
    found = [table(each) for each in layers]
    assert found == [16.0, 160.0, 16.0]
    assert runtime.asked == 3
    again = RecordedKernels(table.readings)
    assert [again(each) for each in layers] == found
    assert again(layer(48, 48)) is None


def test_on_this_machine_more_work_takes_more_time():
    runtime = OnnxRuntime()
    small, large = (runtime.kernel_seconds(Kernel(c, c, (3, 3), 32)) for c in (16, 64))
    assert 1e-6 < small < large
    rows = Kernel(256, 64, (1, 1), 4, "linear")
    assert 1e-7 < runtime.kernel_seconds(rows) < 1e-2
    # sixteen times the products
    assert 4 < large / small < 60


def test_integers_have_kernels_of_their_own_and_are_not_slower_where_the_machine_has_dot_products():
    runtime = OnnxRuntime()
    floats = Kernel(64, 64, (3, 3), 16)
    integers = Kernel(64, 64, (3, 3), 16, bits=8)
    assert str(integers) == "INT8 conv 3×3 64→64 at 16²"
    assert floats.macs == integers.macs == 64 * 64 * 9 * 256
    assert Kernel(24, 24, (3, 3), 5, "depthwise").macs == 24 * 9 * 25
    assert Kernel(8, 4, (1, 1), 3, "linear").macs == 96
    faster = runtime.kernel_seconds(floats) / runtime.kernel_seconds(integers)
    assert faster > (1.5 if cpu_flags() & DOT_PRODUCT else 0.3)
    assert runtime.kernel_seconds(Kernel(8, 4, (1, 1), 3, "linear", 8)) is None
