"""Quantities with units."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsuke.core.errors import NetsukeError
from netsuke.core.quantity import UNITS, parse, show


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("100 KB", "bytes", 100_000),
        ("100kb", "bytes", 100_000),
        ("1 KiB", "bytes", 1024),
        ("1.5 MB", "bytes", 1_500_000),
        ("5 ms", "seconds", 0.005),
        ("80us", "seconds", 80e-6),
        ("80 µs", "seconds", 80e-6),
        ("3 mJ", "joules", 0.003),
        ("1 pt", "points", 0.01),
        (".5pt", "points", 0.005),
        ("1e3 B", "bytes", 1000),
        (250, "bytes", 250),
        (0.02, "points", 0.02),
    ],
)
def test_quantities_are_read_into_base_units(text, kind, value):
    assert parse(text, kind, "budget") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "kind", "named"),
    [
        ("100", "bytes", "no unit"),
        ("100 ms", "bytes", "'ms' is not a unit of bytes"),
        ("5 lightyears", "seconds", "not a unit of seconds"),
        ("fast", "seconds", "write e.g. '5 ms'"),
        ("-1 KB", "bytes", "zero or more"),
        (float("nan"), "points", "zero or more"),
        (float("inf"), "bytes", "zero or more"),
        (True, "bytes", "not a quantity"),
        ("1 %", "points", "not a quantity"),
    ],
)
def test_a_wrong_quantity_is_one_line_that_names_the_field(text, kind, named):
    with pytest.raises(NetsukeError, match="budget size") as error:
        parse(text, kind, "budget size")
    assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (61234, "B", "61.2 kB"),
        (0, "B", "0 B"),
        (999, "B", "999 B"),
        (0.0048, "s", "4.8 ms"),
        (0.0000803, "s", "80.3 µs"),
        (0.9812, "%", "98.12 %"),
        (0.004, "pt", "+0.40 pt"),
        (-0.004, "pt", "-0.40 pt"),
        (3.444, "x", "3.44×"),
        (41e6, "MAC", "41 M MACs"),
        (5_000_000_000_000, "B", "5,000 GB"),
        (0.36, "", "0.36"),
    ],
)
def test_values_are_shown_for_people(value, unit, text):
    assert show(value, unit) == text


@settings(deadline=None)
@given(
    st.sampled_from([(k, u) for k, units in UNITS.items() for u in units]),
    st.floats(0, 1e6, allow_nan=False),
)
def test_every_unit_is_read_back_as_its_factor(pair, number):
    kind, unit = pair
    assert parse(f"{number:f} {unit}", kind, "x") == pytest.approx(
        float(f"{number:f}") * UNITS[kind][unit]
    )
