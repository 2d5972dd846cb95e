"""A pass checks its own settings."""

from dataclasses import FrozenInstanceError

import pytest

from netsuke.core.errors import NetsukeError
from shaver import Shave


def test_settings_are_its_fields():
    assert Shave(ratio=0.5).settings() == {
        "ratio": 0.5, "rounds": 2, "method": "fine", "keep": (), "limit": None, "quick": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 0.05}, "test.shave.ratio: 0.05 is outside 0.1 … 0.9"),
        ({"ratio": float("nan")}, "is outside"),
        ({"ratio": "a third"}, "'a third' is not a number"),
        ({"ratio": True}, "True is not a number"),
        ({"rounds": 1.5}, "test.shave.rounds: 1.5 is not a whole number"),
        ({"method": "rough"}, "'rough' is none of 'fine', 'coarse'"),
        ({"limit": 2}, "test.shave.limit: 2 is outside 0 … 1"),
        ({"quick": 1}, "1 is not a bool"),
        ({"keep": "conv1"}, "test.shave.keep: 'conv1' is not a tuple"),
    ],
)
def test_a_wrong_setting_names_the_pass_and_the_field(settings, message):
    with pytest.raises(NetsukeError) as error:
        Shave(**settings)
    assert message in str(error.value)


def test_ends_of_a_range_and_none_where_allowed_will_do():
    assert Shave(ratio=0.1).ratio == 0.1
    assert Shave(limit=None).limit is None


def test_it_is_a_frozen_value():
    assert Shave(ratio=0.5) == Shave(ratio=0.5)
    with pytest.raises(FrozenInstanceError):
        Shave().ratio = 0.5


def test_by_default_it_refuses_nothing_and_has_no_remedies():
    assert Shave().refuse(None, None) is None
    assert Shave().remedies() == ()
