"""What to try after a miss: from the run's own record."""

from typing import Any

from netsuke.advisor.after import after

LAYER = {"macs": 100, "channels": [12, 12]}


def step(name: str, outcome: str = "kept", *, layers: list[Any] | None = None, findings: tuple[str, ...] = (),
         **figures: float) -> dict[str, Any]:  # fmt: skip
    evidence = [{"what": what, "value": value} for what, value in figures.items()]
    return {
        "name": name, "outcome": outcome, "final": outcome == "kept", "evidence": evidence, "layers": layers,
        "findings": list(findings),
    }  # fmt: skip


def record(
    *steps: dict[str, Any], missed: tuple[str, ...] = (), int8: float = 4e9
) -> dict[str, Any]:
    verdicts = [
        {"outcome": "fail", "reason": f"{what} ≤ 1", "evidence": [{"what": what, "value": 2.0}]}
        for what in missed
    ]
    return {
        "verdict": {"outcome": "fail"}, "verdicts": verdicts, "budget": {"drop": 0.01}, "steps": list(steps),
        "device": {"name": "machine", "formats": {"fp32": 1e9, "int8": int8}, "kernel_width": 16},
    }  # fmt: skip


def fired(data: dict[str, Any]) -> dict[str, str]:
    return {found.rule: found.why for found in after(data)}


def test_nothing_is_said_after_a_pass() -> None:
    data = record(step("quantize.static"), missed=("memory",)) | {"verdict": {"outcome": "pass"}}
    assert after(data) == ()


def test_memory_over_its_limit_after_quantization_wants_channels_to_leave() -> None:
    found = fired(record(step("quantize.static"), missed=("memory",)))
    assert "memory is over its limit after quantization" in found["too_large_after_quantization"]
    pruned = record(step("prune.channels"), step("quantize.static"), missed=("memory",))
    assert "too_large_after_quantization" not in fired(pruned)
    assert "too_large_after_quantization" not in fired(
        record(step("quantize.static"), missed=("drop",))
    )


def test_accuracy_lost_by_pruning_wants_training() -> None:
    found = fired(record(step("prune.channels", "undone", drop=0.03)))
    assert "3.00 pt of quality" in found["quality_lost_by_pruning"]
    assert not fired(record(step("prune.channels", "undone", drop=0.005)))


def test_accuracy_lost_by_rounding_wants_training_with_it() -> None:
    found = fired(record(step("quantize.static", "undone", drop=0.02, step_speedup=2.0)))
    assert "quantize.qat" in found["quality_lost_by_rounding"]
    assert not fired(record(step("quantize.static", drop=0.001, step_speedup=2.0)))


def slower(data: dict[str, Any]) -> str:
    return fired(data)["slower_by_integers"]


def test_integers_that_are_slower_are_explained() -> None:
    undone = step("quantize.static", "undone", step_speedup=0.8)
    assert "1.25× slower" in slower(record(undone))
    assert "no faster than floats" in slower(record(undone, int8=1e9))
    floats = step("quantize.static", "undone", step_speedup=0.8, findings=("Resize stayed float",))
    assert "Resize stayed float (1 in all): exchange" in slower(record(floats))
    narrow = step("quantize.static", "undone", step_speedup=0.8, layers=[LAYER, LAYER])
    assert "2 of 2 layers have widths that are no multiple of 16" in slower(record(narrow))
    assert "fewer nodes" in slower(record(undone))
    assert "slower_by_integers" not in fired(record(step("quantize.static", step_speedup=1.5)))
