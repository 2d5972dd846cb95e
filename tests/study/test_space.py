"""Recipes with choices in them."""

import random
from typing import Any

import pytest

from netsuke.core.errors import NetsukeError
from netsuke.core.recipe import Recipe, make_pass
from netsuke.study.space import NOTHING, read_space

TEXT = """
[[slot]]
optional = true
[[slot.pass]]
use = "prune.channels"
ratio = { low = 0.1, high = 0.7 }
criterion = ["taylor", "l1"]
epochs = 0
[[slot]]
[[slot.pass]]
use = "quantize.static"
weights = [8, 4]
samples = { low = 10, high = 20 }
[[slot.pass]]
use = "quantize.weights"
"""


class Dice:
    """Chooses by chance, and remembers."""

    def __init__(self, seed: int) -> None:
        self.random, self.made = random.Random(seed), {}

    def one_of(self, name: str, options: tuple[Any, ...]) -> Any:
        self.made[name] = self.random.choice(options)
        return self.made[name]

    def number(self, name: str, low: float, high: float) -> float:
        draw = self.random.randint if isinstance(low, int) else self.random.uniform
        self.made[name] = draw(low, high)
        return self.made[name]


def test_recipes_stay_within_the_space_and_all_of_it_is_reached() -> None:
    space, seen = read_space(TEXT), set()
    for seed in range(200):
        recipe = space.recipe(Dice(seed))
        names = tuple(p.name for p in recipe)
        seen.add(names)
        for one in recipe:
            settings = one.settings()
            if one.name == "prune.channels":
                assert 0.1 <= settings["ratio"] <= 0.7
                assert settings["criterion"] in ("taylor", "l1")
                assert settings["epochs"] == 0
            if one.name == "quantize.static":
                assert settings["weights"] in (8, 4)
                assert settings["samples"] in range(10, 21)
    ends = ("quantize.static", "quantize.weights")
    assert seen == {(e,) for e in ends} | {("prune.channels", e) for e in ends}


@pytest.mark.parametrize("seed", range(20))
def test_choices_lead_back_to_the_recipe(seed: int) -> None:
    space, dice = read_space(TEXT), Dice(seed)
    assert space.choices(space.recipe(dice)) == dice.made


def test_what_a_recipe_has_and_the_space_has_not_is_taken_to_the_nearest() -> None:
    space = read_space(TEXT)
    recipe = Recipe(make_pass("prune.channels", {"ratio": 0.9, "criterion": "l2"}),
                    make_pass("quantize.static", {"weights": 5}))  # fmt: skip
    found = space.choices(recipe)
    assert found is not None
    assert found["0 prune.channels ratio"] == 0.7
    assert found["0 prune.channels criterion"] == "taylor"
    assert found["1 quantize.static weights"] == 4
    assert space.choices(Recipe(make_pass("quantize.weights", {}))) == {
        "0": NOTHING, "1": "quantize.weights",
    }  # fmt: skip
    assert space.choices(Recipe(make_pass("prune.channels", {}))) is None
    assert space.choices(Recipe(make_pass("quantize.float", {}))) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("ratio = {", "ration = {"), "no setting ration"),
        (("high = 0.7", "high = 7.0"), r"prune.channels.ratio: 7.0 is outside"),
        (("high = 0.7", "high = 0.05"), "low below high"),
        (("[8, 4]", "[]"), "weights: there is nothing to choose from"),
        (("prune.channels", "prune.chanels"), "did you mean prune.channels"),
        (("optional", "optinal"), "a \\[\\[slot\\]\\] has no field optinal"),
        (('"quantize.weights"', '"quantize.static"'), "names quantize.static twice"),
        (("[[slot]]", "[slot"), "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(change: tuple[str, str], message: str) -> None:
    with pytest.raises(NetsukeError, match=message):
        read_space(TEXT.replace(*change), "mine.toml")
