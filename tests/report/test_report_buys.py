"""What a step buys, judged from its measurements alone."""

from dataclasses import replace

import pytest
import report_records as records

from netsuke.core.evidence import Evidence
from netsuke.report import html, markdown
from netsuke.report.buys import buys
from netsuke.report.layers import summary

SIZE = Evidence(what="size", value=300.0, unit="B", source="measured", device="local")
FASTER = replace(SIZE, what="step_speedup", value=2.0, low=1.9, high=2.1, unit="x")
BEFORE = (SIZE, replace(SIZE, what="stored", value=280.0))


def after(size: float, stored: float, *more: Evidence) -> tuple[Evidence, ...]:
    return (replace(SIZE, value=size), replace(SIZE, what="stored", value=stored), *more)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (after(75, 40, FASTER), "On onnxruntime this buys time and bytes: file 4.00× smaller, stored form 7.00× smaller, 2.00× faster"),
        (after(75, 40, replace(FASTER, value=1.1, low=0.99, high=1.2)), "On onnxruntime this buys bytes only: file 4.00×"),
        (after(300.5, 279.5, FASTER), "On onnxruntime this buys time only: file as big, stored form as big, 2.00× faster"),
        (after(300, 280, replace(FASTER, value=0.8, low=0.7, high=0.9)), "On onnxruntime this buys neither bytes nor time: file as big, stored form as big, 1.25× slower"),
        (after(300, 140, replace(FASTER, value=1.0, low=0.9, high=1.1)), "On onnxruntime this buys bytes in the stored form only: file as big, stored form 2.00× smaller"),
        (after(300, 140, FASTER), "On onnxruntime this buys time and bytes in the stored form:"),
        (after(75, 40), "On onnxruntime this buys bytes: file 4.00× smaller, stored form 7.00× smaller, time unknown"),
        ((replace(SIZE, value=100.0),), "On onnxruntime this buys bytes: file 3.00× smaller, stored form unknown"),
        (after(600, 560, FASTER), "On onnxruntime this buys time only: file 2.00× larger, stored form 2.00× larger"),
        (after(75, 40, replace(FASTER, low=None, high=None, source="estimated", device="pi4")), "On onnxruntime this buys time and bytes: file 4.00× smaller, stored form 7.00× smaller, 2.00× faster estimated for pi4"),
        ((), ""),
    ],
)  # fmt: skip
def test_what_was_measured_decides(found: tuple[Evidence, ...], says: str) -> None:
    said = buys(BEFORE, found, "onnxruntime")
    assert said.startswith(says)
    assert bool(said) == bool(says)


def test_each_step_is_compared_with_what_it_replaced() -> None:
    """The second step halves what the first left; an undone step is nothing to compare with."""
    text = markdown(records.passed())
    assert "- On onnxruntime this buys bytes: file 1.93× smaller, stored form 1.93× smaller" in text
    assert "- On onnxruntime this buys bytes: file 3.49× smaller, stored form 3.49× smaller" in text
    assert text.count("file 1.93× smaller") == markdown(records.with_undone()).count(
        "file 1.93× smaller"
    )
    assert "the task has no training data for it" in html(records.with_undone())


def test_the_stored_form_stands_beside_the_size() -> None:
    text = markdown(records.passed())
    assert (
        "| Size on disk | 412 kB | 61.2 kB | 6.73× smaller | 1 | measured here |\n| Stored form | 371 kB | 55.1 kB | 6.73× smaller |"
        in text
    )


def test_how_the_stored_form_is_used_is_said_where_there_is_one() -> None:
    record = records.passed()
    assert "netsuke unpack model.nsk" in markdown(record)
    assert "<code>netsuke unpack model.nsk</code>" in html(record)
    final = record["final"]
    final["evidence"] = [e for e in final["evidence"] if e["what"] != "stored"]
    assert "unpack" not in markdown(record) + html(record)


def test_the_mean_of_bits_is_over_parameters() -> None:
    mixed = (*records.resnet20(1.0, 4)[:-1], records.resnet20()[-1])
    assert summary((), mixed)[-1] == ("Bits a parameter, mean", "unknown", "4.07")
