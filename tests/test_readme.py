"""What the README says is what was measured."""

from bench._readme import README, filled


def test_the_table_of_figures_is_made_from_the_results() -> None:
    text = README.read_text("utf8")
    assert "<!-- figures -->" in text
    assert filled(text) == text, "run python -m bench._readme"
