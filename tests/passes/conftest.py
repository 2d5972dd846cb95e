"""What the passes are tried on: a small trained classifier, and the goal of a small computer."""

import pytest

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.testing import samples


@pytest.fixture(scope="module")
def model() -> Model:
    return samples.network()


@pytest.fixture(scope="module")
def goal() -> Goal:
    return samples.goal("pi4")
