"""The machine Netsuke runs on, as a Device: facts read off the system, rates measured in passing."""

import os
import platform
import shutil
import time
from pathlib import Path

import numpy as np
import psutil

from netsuke.core.device import Device
from netsuke.core.machine import cache_bytes, read_a_second

# INT8 products per FP32 product, sustained. With a dot-product instruction the peak is 4; 3.4 is what
# onnxruntime reaches on ResNet-18 (avx512_vnni). Without one, widening multiplies peak at 2.
DOT_PRODUCT_GAIN, WIDENING_GAIN = 3.4, 1.5
DOT_PRODUCT = frozenset({"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})
# Fits onnxruntime 1.31 on forty architectures of the bench's zoo and on its ResNets.
OVERHEAD, CALL = 2e-6, 7e-6
SHARED = 4
CODING = 0.2
"""Values laid out and rounded for integers per FP32 product, so that one that computes faster rounds faster too."""


def local() -> Device:
    """This machine. Takes about 50 ms: it times a matrix product and a copy."""
    flags = cpu_flags()
    dot = sorted(flags & DOT_PRODUCT)
    gain = DOT_PRODUCT_GAIN if dot else WIDENING_GAIN
    fp32, cache = _products_a_second(), cache_bytes() // SHARED
    return Device(
        name="local",
        title=f"this machine ({platform.machine()}, {_cores()} cores)",
        memory=float(psutil.virtual_memory().total),
        storage=float(shutil.disk_usage(Path.cwd()).free),
        cores=_cores(),
        kernel_width=16 if "avx512f" in flags else 8,
        formats={"fp32": fp32, "int8": fp32 * gain},
        bandwidth=_copied_a_second(),
        cache=float(cache),
        cache_bandwidth=read_a_second(cache, 20),
        coding=fp32 * CODING,
        overhead=OVERHEAD,
        call=CALL,
        kind="computer",
        unit="matrix" if "amx_int8" in flags else "vector",
        measured=True,
        sources={
            "unit": "the processor's features: matrix with amx_int8",
            "memory": "the system's total",
            "storage": "free space of the disk that holds the working folder",
            "cores": "the cores this process may use",
            "kernel_width": "FP32 values in a register: 16 with avx512f; 8 with avx2 or NEON pairs",
            "formats": f"fp32: a 64×64 matrix product, timed; int8: {gain}× that, "
            + (f"for it has {', '.join(dot)}" if dot else "for it has no dot-product instruction"),
            "bandwidth": "a copy of 32 MB, timed",
            "coding": f"{CODING:g}× the FP32 rate: onnxruntime on x86; not measured on this machine",
            "cache": f"1/{SHARED} of the largest that the system tells of: others use it too",
            "cache_bandwidth": "a matrix of its size times a vector, timed",
            "overhead": "fitted to onnxruntime on x86; not measured on this machine",
            "call": "onnxruntime on x86, called from Python; not measured on this machine",
        },
    )


def cpu_flags() -> frozenset[str]:
    """The processor's features as Linux names them; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf8")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(
        flag for key, _, value in lines if key.strip() in ("flags", "Features") for flag in value.split()
    )  # fmt: skip


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _products_a_second(size: int = 64, count: int = 16, rounds: int = 20) -> float:
    """FP32 multiply-accumulates per second of one core: the best of some rounds, in CPU time.

    Products this small are below what a BLAS splits over threads.
    """
    a = np.random.default_rng(0).random((count, size, size), dtype=np.float32)
    out = np.empty_like(a)
    best = 0.0
    # Some builds for ARM raise floating-point flags on finite numbers; only the time is of interest here.
    with np.errstate(all="ignore"):
        for _ in range(rounds):
            start = time.process_time()
            for _ in range(4):
                np.matmul(a, a, out=out)
            best = max(best, 4 * count * size**3 / max(time.process_time() - start, 1e-9))
    return best


def _copied_a_second(size: int = 1 << 25, rounds: int = 4) -> float:
    """Bytes read and written per second by one core, from memory larger than its caches."""
    source = np.ones(size, np.uint8)
    target = np.empty_like(source)
    best = 0.0
    for _ in range(rounds):
        start = time.process_time()
        np.copyto(target, source)
        best = max(best, 2 * size / max(time.process_time() - start, 1e-9))
    return best
