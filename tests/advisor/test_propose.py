"""Which recipes are proposed, in which order, from facts alone."""

from dataclasses import replace

import pytest
from test_rules import BASE, SIZE, Facts, limited, on

from netsuke.advisor.advice import Advice
from netsuke.advisor.applications import Use
from netsuke.advisor.propose import propose
from netsuke.core.errors import NetsukeError
from netsuke.core.recipe import read_recipe


def advised(facts: Facts, use: Use | None = None) -> Advice:
    use = use or Use()
    return propose(replace(facts, application=use.application, hours=use.hours))


def names(advice: Advice) -> list[tuple[str, ...]]:
    return [tuple(p.name for p in proposal.recipe) for proposal in advice.proposals]


def test_the_mildest_comes_first_and_stronger_ones_follow() -> None:
    found = names(advised(BASE))
    assert found[0] == ("quantize.static",)
    assert set(found[1:]) == {("prune.channels", "quantize.static")}
    sizes = [proposal.size for proposal in advised(BASE).proposals]
    assert sizes == sorted(sizes, reverse=True)


def test_a_limit_that_bits_do_not_reach_starts_with_pruning_and_says_what_was_ruled_out() -> None:
    advice = advised(limited(size=0.2 * SIZE))
    assert names(advice)[0] == ("prune.channels", "quantize.static")
    assert any("INT8 after training" in words for words in advice.ruled_out)


def test_without_time_nothing_is_trained() -> None:
    assert names(advised(BASE, Use(hours=0.2))) == [("quantize.static",)]


def test_where_hardly_anything_may_be_lost_training_with_rounding_comes_second() -> None:
    assert names(advised(limited(drop=0.003)))[:2] == [("quantize.static",), ("quantize.qat",)]
    assert ("quantize.qat",) not in names(advised(limited(drop=0.02)))


@pytest.mark.parametrize(
    ("formats", "wanted"),
    [
        ({"fp32": 1e9, "fp16": 2e9}, "quantize.float"),
        ({"fp32": 1e9}, "quantize.weights"),
        ({"fp32": 1e9, "int8": 1e9}, "quantize.weights"),
        ({"fp32": 1e9, "int8": 2e9, "fp16": 2e9}, "quantize.static"),
    ],
)
def test_numbers_are_those_the_device_has_kernels_for(
    formats: dict[str, float], wanted: str
) -> None:
    assert names(advised(on(formats=formats)))[0] == (wanted,)


def test_a_proposal_is_a_recipe_that_can_be_read_again() -> None:
    for proposal in advised(BASE).proposals:
        assert tuple(read_recipe(proposal.recipe.to_toml())) == tuple(proposal.recipe)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"size": 50}, "budget size: 50 B for the file on machine cannot be met: an ONNX file of one operation"),
        ({"latency_p95": 1e-7}, "cannot be met: the call of one operation there takes 1 µs"),
        ({"memory": 1e5}, "a runtime's session without weights takes 5.33 MB"),
    ],
)  # fmt: skip
def test_a_limit_below_what_any_model_takes_says_the_floor(
    limits: dict[str, float], why: str
) -> None:
    with pytest.raises(NetsukeError, match=why):
        advised(limited(**limits))
