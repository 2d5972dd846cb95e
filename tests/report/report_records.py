"""Made-up run records of the shape a fit writes, built with the real nouns so that they keep step."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from netsuke.core.artifact import Artifact
from netsuke.core.evidence import Evidence
from netsuke.core.layer import Layer
from netsuke.core.verdict import Verdict, combine

HERE = {"source": "measured", "device": "local"}
PI4 = {"source": "estimated", "device": "pi4"}
WIDTHS = (16, 32, 64)


def resnet20(inner: float = 1.0, bits: int = 32) -> tuple[Layer, ...]:
    """The layers of ResNet-20 with the blocks' inner widths times ``inner``."""
    made = [_conv("conv1", 3, 16, 32, bits)]
    before = 16
    for stage, width in enumerate(WIDTHS, 1):
        side = 64 >> stage
        for block in range(3):
            name, cut = f"layer{stage}.{block}", round(width * inner)
            made.append(_conv(f"{name}.conv1", before, cut, side, bits))
            made.append(_conv(f"{name}.conv2", cut, width, side, bits))
            made.append(
                Layer(name=name, op="add", outputs=width * side * side, activation_bits=bits)
            )
            before = width
    head = Layer(
        name="linear", op="linear", source="resnet.py:112", shape=(64, 10), weights=650,
        inputs=64, outputs=10, macs=640, channels=(64, 10), weight_bits=bits, activation_bits=bits,
    )  # fmt: skip
    return (*made, head)


def _conv(name: str, wide: int, out: int, side: int, bits: int) -> Layer:
    weights = 9 * wide * out
    return Layer(
        name=name, op="conv2d", source="resnet.py:31", shape=(out, wide, 3, 3), weights=weights,
        inputs=wide * side * side, outputs=out * side * side, macs=weights * side * side,
        channels=(wide, out), weight_bits=bits, activation_bits=bits,
    )  # fmt: skip


def _evidence(what: str, value: float, unit: str, samples: int = 1, **rest: Any) -> Evidence:
    return Evidence(what=what, value=value, unit=unit, samples=samples, **{**HERE, **rest})


def figures(
    size: float, quality: float, latency: float, memory: float, samples: int = 900
) -> tuple[Evidence, ...]:
    rounds = "380 of 400 rounds were undisturbed and count"

    def timed(what: str, value: float, note: str) -> Evidence:
        ends = {"low": value * 0.992, "high": value * 1.011}
        return _evidence(what, value, "s", 400, note=note, **ends)

    spread = 1.96 * (quality * (1 - quality) / samples) ** 0.5
    return (
        _evidence("size", size, "B"),
        _evidence("stored", 0.9 * size, "B", note="bytes of model.nsk"),
        _evidence(
            "quality", quality, "%", samples, low=quality - spread, high=min(1.0, quality + spread),
            note=f"accuracy on {'test' if samples > 200 else 'validate'}",
        ),
        timed("latency_p50", latency, f"wall clock; {rounds}"),
        timed("latency_p95", latency * 1.12, f"wall clock; {rounds}"),
        timed("cpu_p50", latency * 0.98, rounds),
        _evidence("memory", memory, "B", 3, note="61.5 MB in all, the runtime's library included"),
    )  # fmt: skip


def against(
    drop: tuple[float, float, float], speed: float, samples: int = 900
) -> tuple[Evidence, ...]:
    value, low, high = drop
    return (
        _evidence("drop", value, "pt", samples, low=low, high=high),
        _evidence("speedup", speed, "x", 400, low=speed * 0.97, high=speed * 1.02),
    )


BASELINE = figures(412_300, 0.9867, 0.000412, 12.4e6)
FINAL = (
    *figures(61_234, 0.9834, 0.000111, 9.1e6),
    *against((0.0033, -0.0033, 0.0089), 3.72),
    _evidence("agreement", 0.9989, "%", 900),
    _evidence("parity_max", 0.0312, "", 900),
)


def _artifact(
    layers: tuple[Layer, ...], sha: str, findings: tuple[str, ...] = ()
) -> dict[str, Any]:
    return Artifact(
        path=Path("model.onnx"), runtime="onnxruntime", sha256=sha * 8, layers=layers,
        inputs=(("input", "float32", (3, 32, 32)),), findings=findings,
    ).to_dict()  # fmt: skip


def _step(
    name: str, outcome: str, reason: str, evidence: tuple[Evidence, ...], **rest: Any
) -> dict[str, Any]:
    return {
        "name": name, "settings": {}, "outcome": outcome, "reason": reason, "seconds": 3.12,
        "summary": "", "notes": [], "evidence": [e.to_dict() for e in evidence], "layers": None,
        "remedy": False, **rest,
    }  # fmt: skip


def _dicts(layers: tuple[Layer, ...]) -> list[dict[str, Any]]:
    return [layer.to_dict() for layer in layers]


def _verdict(outcome: Any, check: str, reason: str, *evidence: Evidence) -> Verdict:
    return Verdict(outcome=outcome, check=check, reason=reason, evidence=evidence)


def passed() -> dict[str, Any]:
    """A run on this machine: pruned, quantized, within its limits."""
    by = {e.what: e for e in FINAL}
    verdicts = (
        _verdict("pass", "budget", "size 61.2 kB is within 100 kB", by["size"]),
        _verdict("pass", "budget", "95 % sure to lose at most 0.89 pt of 1 pt", by["drop"]),
        _verdict(
            "pass", "parity", "simulated and executed agree", by["agreement"], by["parity_max"]
        ),
    )
    carved = resnet20(0.5, 8)
    return {
        "format": 1, "name": "digits", "created": "2026-11-21T08:00:00Z",
        "command": "netsuke fit examples/digits.py --size 100KB --drop 1pt", "seed": 0,
        "verdict": combine(verdicts).to_dict(), "verdicts": [v.to_dict() for v in verdicts],
        "device": {"name": "local", "title": "this machine", "measured": True},
        "budget": {"size": 100_000.0, "drop": 0.01},
        "metric": {"name": "accuracy", "unit": "%", "higher": True},
        "notes": ["validate: 143 samples split off train", "calibrate: 500 samples of train"],
        "advice": {"reasons": ["INT8 alone gives about 105 kB, more than 100 kB: prune 30 % first"]},
        "baseline": {"artifact": _artifact(resnet20(), "1f3a5c7e"), "evidence": [e.to_dict() for e in BASELINE]},
        "final": {
            "artifact": _artifact(carved, "9b2d4f60", ("layer2.0 (resnet.py:58): Slice and Pad stay in float",)),
            "evidence": [e.to_dict() for e in FINAL],
        },
        "steps": [
            _step(
                "prune.channels", "kept", "0.42 pt lost, 0.58 pt to spare; 1.52× faster than before",
                (*figures(214_000, 0.979, 0.00027, 10.8e6, 143), *against((0.0042, -0.004, 0.0091), 1.52, 143)),
                settings={"ratio": 0.3, "epochs": 4, "round_to": 8}, seconds=41.2,
                summary="removed 336 of 1,264 channels, then retrained with the original as teacher",
                notes=["batch statistics re-estimated on 500 samples", "protected: layer1 output (resnet.py:44), its shortcut slices channels"],
                layers=_dicts(resnet20(0.5)),
            ),
            _step(
                "quantize.static", "kept", "0.33 pt lost, 0.67 pt to spare; 2.44× faster than before",
                (*figures(61_234, 0.979, 0.000111, 9.1e6, 143), *against((0.0033, -0.0035, 0.0089), 3.70, 143)),
                settings={"weights": 8, "activations": 8, "ranges": "percentile"},
                summary="INT8 weights and activations, 500 calibration samples", layers=_dicts(carved),
            ),
        ],
        "environment": {
            "netsuke": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "onnxruntime": "1.31.0",
            "cpu": "AMD EPYC, avx512_vnni", "cores": 2,
        },
    }  # fmt: skip


def _judged(record: dict[str, Any], *verdicts: Verdict) -> dict[str, Any]:
    return {
        **record,
        "verdict": combine(verdicts).to_dict(),
        "verdicts": [v.to_dict() for v in verdicts],
    }


def failed() -> dict[str, Any]:
    """The limit on quality is missed, with certainty."""
    record = passed()
    drop = _evidence("drop", 0.0233, "pt", 900, low=0.0144, high=0.0322)
    final = [e for e in FINAL if e.what != "drop"] + [drop]
    record["final"]["evidence"] = [e.to_dict() for e in final]
    size = next(e for e in FINAL if e.what == "size")
    return _judged(
        record,
        _verdict("pass", "budget", "size 61.2 kB is within 100 kB", size),
        _verdict("fail", "budget", "lost 2.33 pt, at least 1.44 pt (95 %), more than 1 pt", drop),
    )


def undecided() -> dict[str, Any]:
    """Too few samples to tell."""
    record = passed()
    drop = _evidence("drop", 0.0068, "pt", 143, low=-0.0072, high=0.0208)
    final = [e for e in FINAL if e.what != "drop"] + [drop]
    record["final"]["evidence"] = [e.to_dict() for e in final]
    return _judged(
        record,
        _verdict(
            "unknown",
            "budget",
            "0.68 pt lost, between −0.72 and 2.08 pt: about 1,900 more samples would settle it",
            drop,
        ),
    )


def on_pi4() -> dict[str, Any]:
    """Latency and memory of another device: estimated, beside what is measured here."""
    record = passed()

    def there(what: str, value: float, unit: str) -> Evidence:
        note = "batch 1, one thread, from layer costs; within a factor of 1.5 either way"
        return _evidence(what, value, unit, 1, low=value / 1.5, high=value * 1.5, note=note, **PI4)

    def estimates(latency: float, memory: float) -> list[dict[str, Any]]:
        found = (
            there("latency_p50", latency, "s"), there("latency_p95", latency * 1.1, "s"), there("memory", memory, "B"),
        )  # fmt: skip
        return [e.to_dict() for e in found]

    record["device"] = {"name": "pi4", "title": "Raspberry Pi 4 Model B", "measured": False}
    record["command"] = "netsuke fit examples/digits.py --device pi4 --size 100KB --latency-p95 5ms"
    record["budget"] = {"size": 100_000.0, "latency_p95": 0.005, "drop": 0.01}
    record["baseline"]["evidence"] += estimates(0.0084, 3.1e6)
    record["final"]["evidence"] += estimates(0.0021, 1.2e6)
    record["steps"][0]["evidence"] += estimates(0.0051, 2.2e6)
    record["steps"][1]["evidence"] += estimates(0.0021, 1.2e6)
    by = {e.what: e for e in FINAL}
    return _judged(
        record,
        _verdict("pass", "budget", "size 61.2 kB is within 100 kB", by["size"]),
        _verdict(
            "pass", "budget", "2.31 ms estimated is within 5 ms", there("latency_p95", 0.00231, "s")
        ),
        _verdict("pass", "budget", "at most 0.89 pt lost (95 %) of 1 pt", by["drop"]),
    )


def with_undone() -> dict[str, Any]:
    """Two steps undone, one refused, the remedy kept."""
    record = passed()
    pruned = record["steps"][0]
    undone = _step(
        "prune.channels", "undone", "slower than what it replaced: 0.94× of its speed; widths of 11, 22 and 45",
        (*figures(198_000, 0.961, 0.00044, 11.2e6, 143), *against((0.0231, 0.0102, 0.0361), 0.94, 143)),
        settings={"ratio": 0.45, "epochs": 4, "round_to": 1}, seconds=38.4,
        summary="removed 569 of 1,264 channels", layers=_dicts(resnet20(0.7)),
    )  # fmt: skip
    refused = _step(
        "distill.logits", "refused", "the task has no training data for it", (), seconds=0.01,
        settings={"temperature": 4.0},
    )  # fmt: skip
    minmax = _step(
        "quantize.static", "undone", "1.89 pt lost, more than the 1 pt allowed",
        (*figures(61_180, 0.965, 0.000112, 9.1e6, 143), *against((0.0189, 0.0051, 0.0327), 3.68, 143)),
        settings={"ranges": "minmax"}, summary="INT8 weights and activations", layers=_dicts(resnet20(0.5, 8)),
    )  # fmt: skip
    remedy = {**record["steps"][1], "remedy": True}
    record["steps"] = [undone, {**pruned, "remedy": True}, refused, minmax, remedy]
    return record


def two_proposals() -> dict[str, Any]:
    """The first proposal was kept on its way, but the second came nearer."""
    record = passed()
    pruned, quantized = record["steps"]
    first = _step(
        "quantize.static", "kept", "0.10 pt lost, 0.90 pt to spare; 2.31× faster than before",
        (*figures(108_400, 0.981, 0.000178, 9.8e6, 143), *against((0.001, -0.006, 0.008), 2.31, 143)),
        settings={"ranges": "mse"}, summary="INT8 weights and activations",
        layers=_dicts(resnet20(1.0, 8)), proposal=0, final=False,
    )  # fmt: skip
    record["steps"] = [
        first, {**pruned, "proposal": 1, "final": True}, {**quantized, "proposal": 1, "final": True},
    ]  # fmt: skip
    record["advice"]["proposals"] = [
        {
            "recipe": [{"use": "quantize.static", "weights": 8}],
            "reason": "the cheapest",
            "size": 105_000.0,
            "seconds": 0.00019,
            "source": "estimated",
        },
        {
            "title": "prune.channels 30 % → quantize.static",
            "recipe": [{"use": "prune.channels", "ratio": 0.3}, {"use": "quantize.static"}],
            "reason": "gentle",
            "figures": {
                "size": _guess(70e3, 63e3, 77e3, "B"), "drop": _guess(0.005, -0.002, 0.02, "pt"),
                "work": _guess(120.0, 60.0, 300.0, "s"),
            },
            "gains": {"size": 4.0},
            "source": "estimated",
        },
    ]  # fmt: skip
    record["advice"]["ruled_out"] = ["distill.logits: no training data"]
    return record


def _guess(value: float, low: float, high: float, unit: str) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "unit": unit, "source": "a rule"}


def bare() -> dict[str, Any]:
    """Nothing was found out, and nothing judged: all must read as unknown."""
    record = passed()
    record["baseline"]["evidence"] = []
    record["final"] = None
    record["steps"] = [
        _step("quantize.static", "undone", "the runtime did not load it", (), seconds=None)
    ]
    record["environment"] = {}
    return _judged(record)


def hostile(text: str) -> dict[str, Any]:
    """``text`` wherever a user's or a plugin's words can stand."""
    record = copy.deepcopy(with_undone())
    layers = tuple(replace(y, name=y.name + text, op=y.op + text, source=text) for y in resnet20())
    for stage in ("baseline", "final"):
        record[stage]["artifact"]["layers"] = _dicts(layers)
        record[stage]["artifact"]["findings"] = [text]
        record[stage]["artifact"]["inputs"] = [[text, "float32", [1]]]
        record[stage]["evidence"].append(_evidence(text, 1.0, text, note=text).to_dict())
    for step in record["steps"]:
        step.update(name=text, reason=text, summary=text, notes=[text, f"protected: {text}"])
        step["settings"] = {text: text}
    record.update(name=text, created=text, command=text, notes=[text], advice={"reasons": [text]})
    record.update(environment={text: text})
    record["device"]["title"], record["metric"]["name"] = text, text
    failing = _verdict("fail", text, text, _evidence(text, 1.0, text))
    return _judged(record, failing)


ALL = {
    "pass": passed, "fail": failed, "unknown": undecided, "pi4": on_pi4, "undone": with_undone,
    "bare": bare, "proposals": two_proposals,
}  # fmt: skip
