"""Which recipes are proposed, in which order, from facts alone."""

from dataclasses import replace

import numpy as np
import pytest
from test_rules import BASE, MACHINE, SIZE, WIDE, Facts, limited, on

from netsuke.advisor.advice import Advice
from netsuke.advisor.applications import Use, application
from netsuke.advisor.facts import INTEGERS
from netsuke.advisor.propose import propose
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.recipe import read_recipe
from netsuke.core.task import Task, ready


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
    advice = advised(limited(size=0.1 * SIZE))
    assert names(advice)[0] == ("prune.channels", "quantize.static")
    assert any("INT8 after training" in words for words in advice.ruled_out)


def test_where_eight_bits_are_too_many_for_the_file_weights_of_four_come_before_pruning() -> None:
    advice = advised(limited(size=0.2 * SIZE))
    first = advice.proposals[0]
    assert names(advice)[0] == ("quantize.static",)
    assert next(iter(first.recipe)).settings()["weights"] == 4
    assert first.title == "quantize.static 4 bit"
    assert first.size == pytest.approx(0.13 * SIZE, rel=0.1)
    facts = limited(size=0.2 * SIZE)
    other = replace(facts.goal.device, runtimes=("tflite-micro",))
    elsewhere = replace(facts, goal=replace(facts.goal, device=other))
    assert names(advised(elsewhere))[0] == ("prune.channels", "quantize.static")


def test_where_bytes_alone_are_short_channels_leave_by_their_bytes_as_much_as_is_asked() -> None:
    first = advised(limited(size=0.1 * SIZE)).proposals[0]
    cut = next(iter(first.recipe)).settings()
    assert (cut["cost"], cut["parameters"]) == ("bytes", 0.0)
    assert 0.85 * 0.1 * SIZE < first.size <= 0.97 * 0.1 * SIZE
    slower = advised(limited(size=0.2 * SIZE, latency_p95=0.15 * BASE.needs["latency_p95"]))
    cuts = [p.settings() for one in slower.proposals for p in one.recipe if p.name == "prune.channels"]  # fmt: skip
    assert {cut["cost"] for cut in cuts} == {"seconds"}


def test_where_nothing_is_expected_to_fit_the_nearest_is_tried_first_and_nothing_is_ruled_out() -> (
    None
):
    advice = advised(limited(size=0.01 * SIZE))
    assert "no proposal is expected to meet every limit" in advice.reasons[-1]
    sizes = [proposal.size for proposal in advice.proposals]
    assert sizes == sorted(sizes)
    assert names(advice)[-1] == ("quantize.static",)
    assert advice.ruled_out == ()


def test_where_no_pruning_is_expected_to_do_a_part_of_a_supernet_is_proposed() -> None:
    searched = ("search.supernet", "search.subnet", "quantize.static")
    assert searched in names(advised(limited(size=0.05 * SIZE)))
    assert searched not in names(advised(limited(size=0.2 * SIZE)))


def test_integers_are_foretold_by_how_long_they_took_here() -> None:
    slow = replace(BASE, measured={"latency_p50": 1e-3, INTEGERS: 0.8e-3})
    first = advised(slow).proposals[0]
    assert first.title == "quantize.static"
    assert first.figures["latency_p50"].value == pytest.approx(0.8e-3)
    quick = replace(BASE, measured={"latency_p50": 1e-3, INTEGERS: 0.4e-3})
    halves = [advised(f).proposals[-1].figures["latency_p50"].value for f in (slow, quick)]
    assert halves[0] == pytest.approx(2 * halves[1])


def test_quality_that_is_expected_to_be_lost_counts_as_a_limit_does() -> None:
    loose, tight = (advised(limited(size=0.04 * SIZE, drop=drop)) for drop in (0.05, 0.01))
    asked = [next(iter(a.proposals[0].recipe)).settings()["ratio"] for a in (loose, tight)]
    # some bytes over the size are nearer than twice over the quality
    assert asked == [0.75, 0.6]
    assert "expected for the file" in tight.reasons[-1]


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


def test_each_proposal_says_what_it_gives_and_what_it_costs_with_a_range() -> None:
    mild, *others = advised(replace(BASE, workshop=MACHINE)).proposals
    assert set(mild.figures) == {"size", "latency_p50", "memory", "energy", "drop", "work"}
    assert 3 < mild.gains["size"] < 4
    for proposal in (mild, *others):
        for guess in proposal.figures.values():
            assert guess.low <= guess.value <= guess.high
            assert guess.source
    # more leaves: more is gained, more may be lost, and training takes longer than calibrating
    narrower = others[-1]
    assert narrower.gains["latency_p50"] > 2 * mild.gains["latency_p50"]
    assert narrower.figures["drop"].high > mild.figures["drop"].high
    assert narrower.figures["work"].value > mild.figures["work"].value


def test_what_was_measured_of_the_original_corrects_what_is_expected_of_the_rest() -> None:
    guessed = advised(BASE).proposals[0]
    seconds = 2 * BASE.needed("latency_p50")
    slower = advised(replace(BASE, measured={"latency_p50": seconds})).proposals[0]
    assert slower.seconds == pytest.approx(2 * guessed.seconds)
    assert slower.gains["latency_p50"] == pytest.approx(guessed.gains["latency_p50"])


def test_where_kernels_skip_zeros_they_are_proposed_in_that_pattern() -> None:
    pairs = advised(on(sparse=("2:4",))).proposals[1]
    assert pairs.recipe.to_toml().count('pattern = "2:4"') == 1
    free = advised(on(sparse=("free",))).proposals[1]
    assert [p.name for p in free.recipe] == ["prune.weights", "quantize.static"]
    assert free.gains["latency_p50"] > advised(BASE).proposals[0].gains["latency_p50"]
    assert all(p.recipe.to_toml().count("prune.weights") == 0 for p in advised(BASE).proposals)


def test_where_memory_is_waited_for_weights_of_four_bits_are_proposed() -> None:
    starved = replace(on(bandwidth=1e6, formats={**MACHINE.formats, "int4": 8e9}), layers=(WIDE,))
    found = advised(starved)
    assert names(found)[1] == ("quantize.weights",)
    assert 'scheme = "int4g64"' in found.proposals[1].recipe.to_toml()
    # without kernels for them they are decoded in every call
    decoded = replace(on(bandwidth=1e6), layers=(WIDE,))
    assert ("quantize.weights",) not in names(advised(decoded))


def test_for_a_battery_channels_leave_first_and_otherwise_what_loses_least() -> None:
    assert names(advised(BASE, Use(application=application("wearables"))))[0][0] == "prune.channels"
    assert names(advised(replace(BASE, gap=0.2)))[0] == ("quantize.static",)
    assert names(advised(BASE, Use(application=application("vision"))))[0] == ("quantize.static",)


@pytest.mark.parametrize("limits", [{"memory": 2e9}, {"size": 2e9}])
def test_a_limit_above_what_the_device_has_contradicts_it(limits: dict[str, float]) -> None:
    with pytest.raises(NetsukeError, match="contradicts the device, machine has 1 GB; leave"):
        advised(limited(**limits))


def test_a_limit_on_energy_rules_out_what_is_expected_to_take_more() -> None:
    most = 0.9 * advised(BASE).proposals[0].figures["energy"].value
    advice = advised(limited(energy=most))
    assert names(advice)[0][0] == "prune.channels"
    assert "expected for an inference" in advice.ruled_out[0]


def test_on_this_machine_the_slowest_calls_of_the_original_say_how_slow_others_will_be() -> None:
    here = replace(on(measured=True), measured={"latency_p50": 1e-3, "latency_p95": 2e-3})
    alone = advised(here).proposals[0]

    def first(limit: float) -> str:
        budget = Budget(latency_p95=limit)
        return names(advised(replace(here, goal=replace(here.goal, budget=budget))))[0][0]

    # as much later than the median as the original's, and some headroom
    assert first(1.15 * alone.seconds + 1e-3) == "quantize.static"
    assert first(1.05 * alone.seconds + 1e-3) == "prune.channels"


def test_few_samples_are_seen_more_often() -> None:
    def epochs(samples: int) -> int:
        data = (np.zeros((samples, 4), np.float32), np.zeros(samples, np.int64))
        goal = replace(BASE.goal, data=ready(Task(train=data, validate=data)))
        pruned = advised(replace(BASE, goal=goal)).proposals[1]
        return int(next(iter(pruned.recipe)).settings()["epochs"])

    assert epochs(100) == 15
    assert epochs(48_000) == 12
    assert epochs(200_000) == 6
