"""What every pass must hold to."""

import tomllib
from dataclasses import FrozenInstanceError, fields

import pytest
import tomli_w

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.testing import samples


class PassConformance:
    """Give the fixture ``plugin``: a pass. Give ``model`` and ``goal`` too where the small network
    and its images are nothing the pass can help."""

    @pytest.fixture
    def plugin(self) -> Pass:
        raise NotImplementedError("give the fixture plugin: the pass to test")

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Model:
        return samples.network()

    @pytest.fixture(scope="class")
    @classmethod
    def goal(cls) -> Goal:
        return samples.goal("pi4")

    @pytest.fixture
    def carved(self, plugin: Pass, model: Model, goal: Goal) -> Model:
        return plugin.apply(model, goal)

    def test_its_name_has_a_technique_and_a_method(self, plugin: Pass) -> None:
        technique, dot, method = plugin.name.partition(".")
        assert technique
        assert dot
        assert method

    def test_it_is_frozen(self, plugin: Pass) -> None:
        for field in fields(plugin):
            with pytest.raises(FrozenInstanceError):
                setattr(plugin, field.name, getattr(plugin, field.name))

    def test_its_settings_round_trip_through_toml(self, plugin: Pass) -> None:
        given = {k: v for k, v in plugin.settings().items() if v is not None}
        read = tomllib.loads(tomli_w.dumps(given))
        made = {k: tuple(v) if isinstance(v, list) else v for k, v in read.items()}
        assert type(plugin)(**made) == plugin

    def test_its_remedies_are_other_passes(self, plugin: Pass) -> None:
        remedies = plugin.remedies()
        assert all(isinstance(r, Pass) for r in remedies)
        assert plugin not in remedies

    def test_it_can_help_here(self, plugin: Pass, model: Model, goal: Goal) -> None:
        assert plugin.refuse(model, goal) is None

    def test_it_leaves_the_model_untouched(self, plugin: Pass, model: Model, goal: Goal) -> None:
        before = _state(model)
        carved = plugin.apply(model, goal)
        assert carved.network is not model.network
        assert not _differences(before, _state(model))

    def test_it_adds_one_step_with_its_settings(
        self, plugin: Pass, model: Model, carved: Model
    ) -> None:
        assert carved.lineage[:-1] == model.lineage
        assert carved.lineage[-1].name == plugin.name
        assert dict(carved.lineage[-1].settings) == plugin.settings()
        assert "\n" not in carved.lineage[-1].summary

    def test_the_carved_network_runs_and_keeps_its_outputs_shape(
        self, model: Model, carved: Model
    ) -> None:
        import torch

        with torch.no_grad():
            expected = model.network.eval()(*model.example)
            given = carved.network.eval()(*carved.example)
        assert given.shape == expected.shape
        assert torch.isfinite(given).all()

    def test_the_same_seed_gives_the_same_model(
        self, plugin: Pass, model: Model, goal: Goal, carved: Model
    ) -> None:
        again = plugin.apply(model, goal)
        assert not _differences(_state(carved), _state(again))


def _state(model: Model) -> dict[str, object]:
    """The network's tensors by name, and its code."""
    tensors = {k: v.detach().clone() for k, v in model.network.state_dict().items()}
    return {**tensors, "code": model.network.code}


def _differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """Names of what differs between two states."""
    import torch

    def same(a: object, b: object) -> bool:
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
            return a.shape == b.shape and bool(torch.equal(a, b))
        return bool(a == b)

    return [k for k in {*one, *other} if not same(one.get(k), other.get(k))]
