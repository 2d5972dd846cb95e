import pytest

from netsuke.federation.crew import balanced


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_trainers_have_about_as_much_to_do(groups: int):
    loads = [1193, 1063, 379, 1006, 782, 1085, 811, 913, 1144, 1624]
    found = balanced(loads, groups)
    assert sorted(n for group in found for n in group) == list(range(10))
    sums = [sum(loads[n] for n in group) for group in found]
    assert max(sums) < 1.05 * sum(loads) / groups


def test_none_is_without_a_client():
    assert sorted(map(len, balanced([0, 0, 0], 3))) == [1, 1, 1]
    assert balanced([5], 1) == [[0]]
