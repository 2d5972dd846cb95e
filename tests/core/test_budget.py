"""Limits."""

from dataclasses import FrozenInstanceError

import pytest

from netsuke.core.budget import KINDS, Budget
from netsuke.core.errors import NetsukeError


def test_limits_are_parsed_and_only_the_set_ones_are_listed():
    budget = Budget(size="100 KB", latency_p95="5 ms", drop="1 pt")
    assert budget.limits() == {"size": 100_000.0, "latency_p95": 0.005, "drop": 0.01}


def test_no_limit_is_no_limit():
    assert Budget().limits() == {}


def test_a_limit_of_zero_is_a_limit():
    assert Budget(drop=0).limits() == {"drop": 0.0}


def test_a_wrong_unit_names_the_limit():
    with pytest.raises(NetsukeError, match="budget latency_p95: 'KB' is not a unit of seconds"):
        Budget(latency_p95="5 KB")


def test_limits_given_again_as_read_are_the_same():
    budget = Budget(size="100 KB", memory="20 MiB", energy="3 mJ", robustness_drop="2 pt")
    assert Budget(**budget.limits()) == budget


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Budget().size = 3


def test_every_limit_has_a_kind():
    assert set(KINDS) == set(Budget.__dataclass_fields__)
