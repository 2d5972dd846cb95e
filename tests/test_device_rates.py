"""A device's rates as they are measured, and where they are kept."""

import os
from dataclasses import replace
from functools import partial

import pytest

from netsuke import flow
from netsuke.calibrate import calibrate
from netsuke.core.errors import NetsukeError
from netsuke.core.kernels import Kernel
from netsuke.core.runtime import Runtime
from netsuke.devices import device, names, own_file
from netsuke.devices.file import read_device, write_device
from netsuke.devices.local import local
from netsuke.links.local import Local
from netsuke.runtimes.null import NullRuntime
from netsuke.runtimes.onnxruntime import OnnxRuntime


class Known(Runtime):
    """Ten products a nanosecond in FP32, forty in INT8, two of depthwise kernels; a fixed microsecond; one
    value a nanosecond laid out or rounded for INT8."""

    name = "known"

    def export(self, model, device, path):
        raise NotImplementedError

    def open(self, artifact, threads=1):
        raise NotImplementedError

    def kernel_seconds(self, kernel: Kernel) -> float:
        rate = 2e9 if kernel.kind == "depthwise" else 1e10 if kernel.bits == 32 else 4e10
        rounding = kernel.coded / 1e9 if kernel.bits == 8 and kernel.kind == "conv" else 0.0
        return 1e-6 + kernel.macs / rate + rounding


def test_rates_are_products_over_seconds_and_say_where_they_come_from():
    found, readings = calibrate(local(), Known(), Local(Known()))
    near = partial(pytest.approx, rel=0.05)
    assert found.formats == {"fp32": near(1e10), "int8": near(4e10)}
    assert found.depthwise == {"fp32": near(2e9), "int8": near(2e9)}
    assert found.coding == near(1e9)
    # the smallest kernels have a little to do besides
    assert 1e-6 < found.overhead < 2e-6
    assert "measured on it with known" in found.sources["formats"]
    assert found.memory == local().memory
    facts = {one.fact: one for one in readings}
    assert facts["formats"].before["fp32"] != facts["formats"].after["fp32"]
    assert facts["depthwise"].before is None
    # a runtime that makes no files tells nothing of its sessions
    assert "session" not in facts
    assert found.session is None


def test_this_machine_keeps_its_rates(monkeypatch):
    measured, _ = flow.calibrate("local")
    assert own_file("local").is_file()
    again = device("local")
    assert again.measured
    assert again.formats == pytest.approx(measured.formats)
    assert again.session == measured.session > 1e6
    assert again.storage_speed == pytest.approx(measured.storage_speed)
    if hasattr(os, "posix_fadvise"):
        assert again.storage_speed > 1e6
    assert again.depthwise["fp32"] > 1e8
    assert 1e-8 < again.overhead < 1e-4
    assert names()[0] == "local"
    assert names().count("local") == 1


def test_a_file_of_the_users_own_comes_before_the_one_that_is_shipped():
    pi = device("pi4")
    own_file("pi4").parent.mkdir(parents=True)
    write_device(replace(pi, bandwidth=1.5 * pi.bandwidth), own_file("pi4"))
    assert device("pi4").bandwidth == 1.5 * pi.bandwidth
    assert names().count("pi4") == 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cortex_m4", r"cortex_m4 \(microcontroller\) cannot run its own measurement"),
        ("coral_tpu", r"\(accelerator\) cannot run"),
        ("server_vnni", "run it on the device itself"),
    ],
)
def test_another_machine_is_not_measured_here(name, why):
    with pytest.raises(NetsukeError, match=why):
        calibrate(device(name), OnnxRuntime(), Local(OnnxRuntime()))


def test_a_runtime_that_cannot_time_kernels_says_so():
    with pytest.raises(NetsukeError, match="null cannot time single kernels"):
        calibrate(local(), NullRuntime(), Local(NullRuntime()))


def test_on_the_command_line_it_shows_both_and_where_it_is_kept(netsuke):
    said = netsuke("devices", "calibrate")
    assert said.code == 0
    assert "fp32" in said.out
    assert "GMAC/s" in said.out
    assert str(own_file("local")) in said.out.replace("\n", "").replace("  ", "")
    assert read_device(own_file("local")).sources["bandwidth"].startswith("measured")
    assert netsuke("devices", "calibrate", "cortex_m7").code == 2
