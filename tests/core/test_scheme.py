"""Schemes, their names and what is no scheme."""

from itertools import product

import pytest

from netsuke.core.errors import NetsukeError
from netsuke.core.scheme import BITS, HALVES, WIDTHS, Cast, Lookup, Scheme, Uniform, parse

SHARED = ((-1, 0), (0, 0), (0, 1), (0, 64))


def uniform() -> list[Scheme]:
    each = product(BITS, SHARED, (True, False), (None, True, False), (True, False))
    return [
        Uniform(bits=b, axis=a, group=g, symmetric=s, signed=n, power_of_two=p)
        for b, (a, g), s, n, p in each
    ]


def tables() -> list[Scheme]:
    return [
        Lookup(table=t, bits=b, axis=a, group=g)  # type: ignore[arg-type]
        for t, widths in WIDTHS.items()
        for b in widths
        for a, g in SHARED
    ]


def test_a_name_and_its_scheme_are_one_another() -> None:
    schemes = [*uniform(), *tables(), *(Cast(kind=k) for k in HALVES)]  # type: ignore[arg-type]
    for scheme in schemes:
        found = parse(str(scheme))
        assert str(found) == str(scheme)
        assert (found.bits, found.axis, found.group) == (scheme.bits, scheme.axis, scheme.group)
        if isinstance(scheme, Uniform):
            assert isinstance(found, Uniform)
            assert found.limits == scheme.limits
            assert (found.symmetric, found.power_of_two) == (scheme.symmetric, scheme.power_of_two)
        else:
            assert found == scheme


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("int4", Uniform(bits=4, symmetric=True, axis=0)),
        ("uint8", Uniform(bits=8, axis=0)),
        ("int4g64", Uniform(bits=4, symmetric=True, axis=0, group=64)),
        ("q4", Uniform(bits=4, symmetric=True, axis=0, power_of_two=True)),
        ("int8t", Uniform(bits=8, symmetric=True)),
        ("int8at", Uniform(bits=8, signed=True)),
        ("kmeans4", Lookup(table="kmeans", bits=4)),
        ("nf4g64", Lookup(table="nf4", bits=4, axis=0, group=64)),
        ("e4m3", Lookup(table="e4m3", bits=8, axis=0)),
        ("bf16", Cast(kind="bf16")),
    ],
)
def test_names(name: str, scheme: Scheme) -> None:
    assert parse(name) == scheme
    assert str(scheme) == name


@pytest.mark.parametrize(
    ("name", "limits"),
    [("int2", (-1, 1)), ("uint2", (0, 3)), ("int8a", (-128, 127)), ("uint4s", (0, 15)),
     ("int16", (-32767, 32767)), ("uint16", (0, 65535))],
)  # fmt: skip
def test_limits(name: str, limits: tuple[int, int]) -> None:
    scheme = parse(name)
    assert isinstance(scheme, Uniform)
    assert scheme.limits == limits


@pytest.mark.parametrize(
    "name",
    ["int1", "int9", "int15", "int32", "q9", "kmeans1", "kmeans9", "log9", "nf3", "fp8", "e3m4",
     "fp32", "int", "4", "", "INT4", "int4g0", "int4g", "kmeans4s", "int4 ", "fp16g64", "int4tg8"],
)  # fmt: skip
def test_what_is_no_scheme_is_one_clear_error(name: str) -> None:
    with pytest.raises(NetsukeError, match=r"^scheme: ") as error:
        parse(name)
    assert "\n" not in str(error.value)


def test_groups_run_along_rows() -> None:
    with pytest.raises(NetsukeError, match="axis must be 0"):
        Uniform(group=8)
    with pytest.raises(NetsukeError, match="fp16 and bf16"):
        Cast(bits=8)
