"""Conformance suites: what every plugin must hold to, got by one fixture.

    from netsuke.testing.passes import PassConformance

    class TestMine(PassConformance):
        @pytest.fixture
        def plugin(self) -> Pass:
            return Mine(strength=0.5)

There is one suite for passes, runtimes, probes and checks each. Needs pytest and the ``fit`` extra.
"""
