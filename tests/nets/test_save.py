import json
from pathlib import Path

import pytest
import torch
from torch import fx, nn

from models import NAMES, captured, example
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model, Step
from netsuke.nets.capture import capture
from netsuke.nets.graph import tensors, where
from netsuke.nets.save import load, save


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(captured("mlp"), tmp_path)
    return tmp_path


def edit(folder: Path, change) -> None:
    path = folder / "network.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_is_exact(name: str, tmp_path: Path) -> None:
    module, inputs = example(name)
    model = captured(name)
    save(model, tmp_path)
    back = load(tmp_path)
    assert torch.equal(back.network(*inputs), module(*inputs))
    assert str(back.network.graph) == str(model.network.graph)
    nodes, others = model.network.graph.nodes, back.network.graph.nodes
    assert list(map(where, nodes)) == list(map(where, others))
    state, other = dict(tensors(model.network)), dict(tensors(back.network))
    assert state.keys() == other.keys()
    assert all(torch.equal(state[k], other[k]) for k in state)
    assert back.network.state_dict().keys() == module.state_dict().keys()
    assert {k for k, v in state.items() if isinstance(v, nn.Parameter)} == dict(
        back.network.named_parameters()
    ).keys()
    assert torch.equal(back.example[0], model.example[0])
    assert back.name == name


def test_the_switch_still_works(tmp_path: Path) -> None:
    model = capture(*example("encoder"))
    save(model, tmp_path)
    back = load(tmp_path)
    outputs = []
    for network in (model.network, back.network):
        torch.manual_seed(0)
        outputs.append(network.train()(*model.example))
    assert torch.equal(*outputs)
    assert not torch.equal(outputs[0], model.network.eval()(*model.example))


def test_lineage_mode_and_quantizers(tmp_path: Path) -> None:
    from netsuke.nets.quantizers.quantizer import QUANTIZE

    model = capture(*example("mlp"))
    network = model.network.train()
    network.register_buffer("scale", torch.tensor(0.1))
    network.register_buffer("zero", torch.tensor(3, dtype=torch.int32))
    last = next(reversed(network.graph.find_nodes(op="output")))
    with network.graph.inserting_before(last):
        scale, zero = (network.graph.create_node("get_attr", n) for n in ("scale", "zero"))
        value = network.graph.call_function(QUANTIZE, (last.args[0], scale, zero, 0, 255, -1))
    last.args = (value,)
    network.recompile()
    step = Step(name="quantize.static", settings={"bits": 8}, summary="INT8", notes=("one", "two"))
    save(model.then(network, step), tmp_path)
    back = load(tmp_path)
    assert back.lineage == (step,)
    assert back.network.training
    x = model.example
    assert torch.equal(back.network.eval()(*x), network.eval()(*x))
    assert len(torch.unique(back.network(*x))) < 8


def test_saving_again_replaces(saved: Path) -> None:
    module, inputs = example("mlp")
    nn.init.ones_(module.layers[0].weight)
    save(capture(module, inputs), saved)
    assert len(list(saved.iterdir())) == 2
    assert torch.equal(load(saved).network(*inputs), module(*inputs))


def test_refuses_to_save_unknown_operations(saved: Path) -> None:
    before = sorted(p.name for p in saved.iterdir())
    graph = fx.Graph()
    graph.output(graph.call_function(torch.special.expit, (graph.placeholder("x"),)))
    model = Model(network=fx.GraphModule(nn.Module(), graph), example=(torch.ones(2),))
    with pytest.raises(NetsukeError, match="cannot save the operation"):
        save(model, saved)
    assert sorted(p.name for p in saved.iterdir()) == before


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "operator.attrgetter",
        "prims::add.default",
        "aten::save.default",
        "aten::from_file.default",
        "aten::no_such.default",
        "aten::add",
    ],
)
def test_refuses_to_load_what_is_not_allowed(saved: Path, target: str) -> None:
    def change(data) -> None:
        next(n for n in data["nodes"] if n["op"] == "call_function")["target"] = target

    edit(saved, change)
    with pytest.raises(
        NetsukeError, match=f"network.json: the operation '{target}' is not allowed"
    ):
        load(saved)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", 'a"] + __import__("os").getcwd()["'),
        ("target", "forward.__globals__"),
        ("op", "call_method"),
        ("op", "call_module"),
        ("name", "x; import os"),
    ],
)
def test_names_cannot_become_code(saved: Path, field: str, value: str) -> None:
    def change(data) -> None:
        next(n for n in data["nodes"] if n["op"] == "get_attr")[field] = value

    edit(saved, change)
    with pytest.raises(NetsukeError, match="network.json: is damaged"):
        load(saved)


def test_refuses_tensor_names_that_are_no_names(saved: Path) -> None:
    def change(data) -> None:
        data["tensors"]['a"b'] = next(iter(data["tensors"].values()))

    edit(saved, change)
    with pytest.raises(NetsukeError, match="network.json: is damaged"):
        load(saved)


def test_a_newer_format_is_named(saved: Path) -> None:
    edit(saved, lambda data: data.update(format=2))
    with pytest.raises(NetsukeError, match=r"network.json: has format 2, .* reads up to 1"):
        load(saved)


def test_missing_and_truncated_files_are_named(saved: Path) -> None:
    (weights,) = saved.glob("*.safetensors")
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(NetsukeError, match=rf"{weights.name}: is damaged"):
        load(saved)
    weights.unlink()
    with pytest.raises(NetsukeError, match=rf"{weights.name}: cannot be read"):
        load(saved)
    graph = saved / "network.json"
    graph.write_text(graph.read_text()[:500])
    with pytest.raises(NetsukeError, match="network.json: is damaged"):
        load(saved)
    graph.write_text("[]")
    with pytest.raises(NetsukeError, match="network.json: is no saved model"):
        load(saved)
    graph.unlink()
    with pytest.raises(NetsukeError, match="network.json: there is no saved model"):
        load(saved)
