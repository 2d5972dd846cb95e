"""The runtime that runs nothing."""

import pytest

from netsuke.core.runtime import Runtime
from netsuke.runtimes.null import NullRuntime
from netsuke.testing.runtimes import RuntimeConformance


class TestNull(RuntimeConformance):
    exact = False

    @pytest.fixture
    def plugin(self) -> Runtime:
        return NullRuntime()
