"""Recipes round-trip to TOML."""

from collections.abc import Iterator

import pytest

from netsuke.core.errors import NetsukeError
from netsuke.core.recipe import Recipe, make_pass, read_recipe
from third_party import CODE, installed


@pytest.fixture(autouse=True)
def shaver(tmp_path, monkeypatch) -> Iterator[None]:
    points = "[netsuke.passes]\nshave = shaver_r:Shave\n"
    with installed(tmp_path, monkeypatch, "shaver_r", CODE, points):
        yield


def test_a_recipe_reads_back_as_it_was_written():
    recipe = Recipe(
        make_pass("test.shave", {"ratio": 0.5, "keep": ["head", "tail"], "quick": True}),
        make_pass("test.shave", {"limit": 0.25}),
    )
    assert read_recipe(recipe.to_toml()) == recipe
    assert [p.ratio for p in recipe] == [0.5, 0.3]
    assert len(recipe) == 2


def test_what_is_not_set_is_left_out_of_the_file():
    assert "limit" not in Recipe(make_pass("test.shave", {})).to_toml()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no \\[\\[pass\\]\\] table"),
        ("pass = 3", "no \\[\\[pass\\]\\] table"),
        ("pass = [3]", "a \\[\\[pass\\]\\] needs use"),
        ("[[pass]", "not valid TOML"),
        ("[[pass]]\nratio = 0.3", "needs use"),
        ('[[pass]]\nuse = "test.shavv"', "no 'test.shavv'; did you mean test.shave"),
        ('[[pass]]\nuse = "test.shave"\nratoi = 0.3', "no setting ratoi; there are: ratio"),
        ('[[pass]]\nuse = "test.shave"\nratio = 0.95', "test.shave.ratio: 0.95 is outside"),
        (
            '[[pass]]\nuse = "test.shave"\nratio = "lots"',
            "test.shave.ratio: 'lots' is not a number",
        ),
    ],
)
def test_a_wrong_recipe_is_one_line_that_names_the_file(text, message):
    with pytest.raises(NetsukeError, match=message) as error:
        read_recipe(text, "mine.toml")
    assert str(error.value).startswith("mine.toml: ")
    assert "\n" not in str(error.value)
