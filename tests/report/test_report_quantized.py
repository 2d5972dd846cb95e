"""Bits of each layer and explanations in the report."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from report_records import passed

from netsuke.report import html, markdown
from netsuke.report.bits import chosen_bits
from netsuke.report.explained import explained, recovery
from netsuke.report.files import write

ROW: dict[str, Any] = {
    "name": "conv<1>", "op": "conv2d", "source": "net.py:3", "depthwise": False, "weight_bits": 4,
    "activation_bits": 8, "own_sqnr": 31.25, "sqnr": None, "low": -1.5, "high": 2.0,
    "encoded": [-1.0, 2.0], "outlier": 2.5, "step": 0.01, "weight_step": None, "column_step": 0.1,
    "saturated": 0.00001, "clipping": 0.0, "harm": 0.3, "share": 0.75, "channels_spread": 2.0,
    "weights_spread": 3.0, "inputs_spread": 1.0, "columns_spread": None,
}  # fmt: skip
EXPLANATION: dict[str, Any] = {
    "format": 1, "run": "r", "says": "conv<1> does 75% of the harm", "samples": 64, "layers": [ROW],
    "findings": [
        {"layer": "conv<1>", "cause": "too few bits", "says": "4 are not enough", "remedy": "more"}
    ],
    "relief": [{"layer": "conv<1>", "quality": 0.9, "recovered": 0.031, "unit": "%"}],
    "tried": [{"recipe": [{"use": "quantize.mixed", "limit": 4.0}], "refused": "no"}],
}  # fmt: skip


def with_bits() -> dict[str, Any]:
    record = deepcopy(passed())
    layers = [
        {"layer": f"layer{i}", "weight": f"w{i}", "elements": 1000 * i, "macs": 5, "bits": 2 + i,
         "harms": {str(b): 0.1 * i / b for b in range(2, 9)}}
        for i in (1, 2, 3)
    ]  # fmt: skip
    curve = [
        {"bits": b, "bytes": 750.0 * b, "quality": 0.5 + b / 20, "uniform": uniform}
        for b in (2.5, 4.0)
        for uniform in (False, True)
    ]
    table = {
        "kind": "bits", "sensitivity": "divergence", "choices": list(range(2, 9)), "layers": layers,
        "curve": curve, "float": 0.9, "judged": 1000,
    }  # fmt: skip
    record["steps"][-1] |= {"table": table, "final": True}
    return record


def test_the_report_draws_sensitivities_and_the_curve() -> None:
    (bits,) = chosen_bits(with_bits(), drawn=True)
    assert bits.rows[0][:3] == ("layer1", "1,000", "3")
    assert len(bits.head) == len(bits.rows[0])
    assert bits.harms.startswith("<svg")
    assert "<script" not in bits.harms
    page, text = html(with_bits()), markdown(with_bits())
    assert page.count("Bits of each layer") == 1
    assert page.count("<svg") >= 3
    assert "| layer3 | 3,000 | 5 |" in text


def test_a_curve_that_was_not_asked_for_is_not_drawn() -> None:
    record = with_bits()
    record["steps"][-1]["table"] |= {"curve": [], "float": None}
    (bits,) = chosen_bits(record, drawn=True)
    assert (bits.curve, bits.curve_note) == ("", "")
    assert "Quality over kB" not in html(record)


def test_a_run_without_bits_or_explanation_shows_neither() -> None:
    page = html(passed())
    assert "Bits of each layer" not in page
    assert "What quantization did" not in page


def test_an_explanation_is_shown_escaped_and_in_words(tmp_path: Path) -> None:
    import json

    (tmp_path / "explanation.json").write_text(json.dumps(EXPLANATION), encoding="utf8")
    page, text, _ = (p.read_text(encoding="utf8") for p in write(passed(), tmp_path))
    for shown in ("What quantization did", "conv&lt;1&gt;", "75%", "exact", "31.2", "&lt;0.01%"):
        assert shown in page
    assert "+3.1 pt, quality 90.00 %" in page
    assert "conv&lt;1>: too few bits: 4 are not enough. Remedy: more." in text


def test_what_was_not_tried_says_why() -> None:
    assert recovery(EXPLANATION["tried"][0]) == "quantize.mixed (limit 4.0): not tried: no"
    assert explained(None) is None
