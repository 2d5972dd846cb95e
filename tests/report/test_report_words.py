"""How figures are worded, and where points of the plot stand."""

from dataclasses import replace

import pytest
import report_records as records

from netsuke.core.evidence import Evidence
from netsuke.core.layer import Layer
from netsuke.core.verdict import Verdict
from netsuke.report.layers import changes, held, pairs, table
from netsuke.report.plot import labels, limits_drawn, trade
from netsuke.report.points import missing, size_bars, walk
from netsuke.report.record import parse
from netsuke.report.tables import limit_rows
from netsuke.report.text import Fact, Metric, fact, ratio

ACCURACY = Metric("accuracy", "%", True)
BASE = Evidence(what="speedup", value=2.0, unit="x", source="measured", device="local")


def test_a_slow_down_is_worded_as_one_with_its_interval() -> None:
    slow = fact(replace(BASE, value=0.8, low=0.5, high=1.25))
    assert (slow.text, slow.interval) == ("1.25× slower", "0.80× … 2.00×")
    assert fact(BASE).text == "2.00× faster"


def test_a_gain_is_positive_and_nothing_is_minus_zero() -> None:
    drop = replace(BASE, what="drop", unit="pt", value=-0.002, low=-0.005, high=0.0)
    gain = fact(drop, ACCURACY)
    assert (gain.text, gain.interval) == ("+0.20 pt", "+0.00 … +0.50 pt")
    assert fact(replace(drop, value=0.0), ACCURACY).text == "+0.00 pt"


def test_sources_are_named() -> None:
    assert fact(BASE).line == "2.00× faster"
    assert (
        fact(replace(BASE, source="estimated", device="pi4")).line
        == "2.00× faster estimated for pi4"
    )
    assert (
        fact(replace(BASE, source="emulated", device="pi4")).line == "2.00× faster emulated for pi4"
    )
    assert fact(replace(BASE, device="pi5")).source == "measured on pi5"
    assert fact(None).line == "unknown"


def test_ratios_need_one_device_and_one_source() -> None:
    old = Evidence(what="size", value=300.0, unit="B", source="measured", device="local")
    new = replace(old, value=100.0)
    assert ratio("size", old, new).text == "3.00× smaller"
    assert ratio("size", new, old).text == "3.00× larger"
    assert ratio("size", old, replace(new, source="estimated")) == Fact()
    assert ratio("size", old, replace(new, device="pi4")) == Fact()
    assert ratio("size", None, new) == Fact()
    assert ratio("size", replace(old, value=0.0), new) == Fact()


def test_layers_pair_by_name_operation_and_order() -> None:
    before, after = records.resnet20(), records.resnet20(0.5)
    twice = (before[1], before[1])
    assert pairs(twice, twice) == [(before[1], before[1])] * 2
    assert pairs(before[:2], after[1:3]) == [
        (before[0], None),
        (before[1], after[1]),
        (None, after[2]),
    ]


def test_what_was_merged_is_counted_and_what_was_removed_is_told() -> None:
    conv = records.resnet20()[0]
    norm = Layer(name="bn1", op="batch_norm", weights=32)
    merged = table((conv, norm), (conv,))
    assert ([r.name for r in merged.rows], merged.light) == (["conv1"], 1)
    gone = table((conv, records.resnet20()[1]), (conv,))
    assert [(r.name, r.fate) for r in gone.rows] == [
        ("conv1", ""),
        ("layer1.0.conv1", "removed or merged"),
    ]
    unknown = table((conv, norm), ())
    assert [(r.name, r.fate) for r in unknown.rows] == [("conv1", ""), ("bn1", "")]


def test_what_a_step_changed() -> None:
    assert changes(records.resnet20(), records.resnet20(0.5)) == (
        "parameters 268,346 → 134,714 (−50 %)",
        "MACs 40.6 M → 20.5 M (−49 %)",
        "channels changed in 18 of 29 layers",
    )
    assert changes(records.resnet20(), ()) == ()
    assert changes(records.resnet20(), records.resnet20()) == ()


def test_bits_are_told_by_share() -> None:
    mixed = (*records.resnet20(1.0, 8)[:-1], records.resnet20()[-1])
    assert held(mixed) == "8 bit 99.76 %, 32 bit 0.24 %"
    assert held(()) == "unknown"


def test_points_follow_what_was_kept() -> None:
    path = walk(parse(records.with_undone()))
    assert [(p.mark, p.kind, p.after) for p in path.points] == [
        ("", "original", None), ("1", "undone", 0), ("2", "kept", 0), ("4", "undone", 2), ("5", "kept", 2), ("", "final", 4),
    ]  # fmt: skip
    assert path.points[1].latency == 0.00044
    assert (path.points[1].change, path.points[1].low, path.points[1].high) == (
        -0.0231,
        -0.0361,
        -0.0102,
    )
    left = walk(parse(records.two_proposals()))
    assert [(p.mark, p.kind, p.after) for p in left.points] == [
        ("", "original", None), ("1", "left", 0), ("2", "kept", 0), ("3", "kept", 2), ("", "final", 3),
    ]  # fmt: skip


def test_points_share_one_source() -> None:
    path = walk(parse(records.on_pi4()))
    assert (path.what, path.latency_source, path.latency_limit) == (
        "latency_p95",
        "estimated for pi4",
        0.005,
    )
    assert [p.latency for p in path.points] == pytest.approx([0.00924, 0.00561, 0.00231, 0.00231])


def test_points_without_figures_are_named() -> None:
    record = records.passed()
    record["steps"][0]["evidence"] = []
    path = walk(parse(record))
    assert missing(path) == ("1 prune.channels: latency and quality unknown",)
    assert [b.text for b in size_bars(path)[0]] == ["412 kB", "unknown", "61.2 kB", "61.2 kB"]
    assert size_bars(path)[1] == pytest.approx(24.3)
    assert "<svg" in trade(path)


def test_a_far_limit_is_named_not_drawn() -> None:
    record = records.on_pi4()
    record["budget"]["latency_p95"] = 2.0
    path = walk(parse(record))
    assert limits_drawn(path) == (False, True)
    assert labels(path, ACCURACY).notes == ("the latency limit of 2 s lies beyond the plot",)


def test_the_plot_takes_the_pages_colours_and_names_nothing_outside() -> None:
    svg = trade(walk(parse(records.with_undone())))
    assert svg == trade(walk(parse(records.with_undone())))
    assert "var(--accent)" in svg
    assert "var(--paper)" in svg
    assert not any(
        word in svg for word in ("#0", "http", "xmlns", "xlink", "DejaVu", "<metadata", "<style")
    )
    assert [svg.count(f">{n}<") for n in (1, 2, 4, 5)] == [1, 1, 1, 1]
    assert svg.count(">final<") == 1


def test_a_verdict_without_evidence_stands_with_its_limit() -> None:
    record = records.on_pi4()
    nothing = Verdict(outcome="unknown", check="budget", reason="latency_p95: nothing measured")
    rows = limit_rows(parse({**record, "verdicts": [nothing.to_dict()]}), ACCURACY)
    assert [(r.title, r.outcome, r.reason) for r in rows] == [
        ("Size on disk", "unknown", "not judged"),
        ("Latency, 95th percentile", "unknown", "latency_p95: nothing measured"),
        ("Quality against the original", "unknown", "not judged"),
    ]
