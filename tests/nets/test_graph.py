import pytest
import torch
from torch import Tensor, nn

from models import ResNet, captured, example, line_of
from netsuke.nets.capture import capture
from netsuke.nets.graph import (
    aliases,
    argument,
    clone,
    drop_unused,
    inference,
    module_name,
    op,
    rebuilt,
    set_tensor,
    shapes,
    shared,
    source,
    tensor_of,
    tensors,
    values,
    where,
)


def network(name: str):
    return clone(captured(name).network)


def named(net, operation: str):
    return next(n for n in net.graph.nodes if op(n) == operation)


def test_a_clone_shares_nothing() -> None:
    first = network("mlp")
    second = clone(first)
    with torch.no_grad():
        second.get_parameter("layers.0.weight").zero_()
    second.graph.erase_node(next(reversed(second.graph.find_nodes(op="output"))))
    assert first.get_parameter("layers.0.weight").abs().sum() > 0
    assert first(torch.ones(1, 16)).shape == (1, 4)


def test_shapes_and_values_by_running() -> None:
    net = network("resnet").train()
    found = shapes(net, (torch.zeros(3, 3, 32, 32),))
    assert found["conv2d"] == (3, 16, 32, 32)
    assert found["linear"] == (3, 10)
    assert found["conv1_weight"] == (16, 3, 3, 3)
    assert net.training
    net.eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(values(net, (x,))["linear"], net(x))


def test_arguments_by_name() -> None:
    net = network("shuffle")
    convolutions = [n for n in net.graph.nodes if op(n) == "conv2d"]
    assert [argument(n, "groups") for n in convolutions] == [1, 3, 24, 3]
    assert argument(convolutions[1], "bias") is None
    assert argument(convolutions[0], "no such", "default") == "default"


def test_places() -> None:
    conv = named(network("resnet"), "conv2d")
    line = f"models.py:{line_of('self.conv1(x)', ResNet)}"
    assert (module_name(conv), source(conv)) == ("conv1", line)
    assert where(conv) == f"conv1 ({line})"
    assert where(named(network("resnet"), "relu")) == f"relu ({line})"


def test_set_tensor_keeps_kind_and_ties() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
            self.head.weight = self.table.weight
            self.head.weight.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.table(x))

    net = capture(Tied(), torch.tensor([[1], [2]])).network
    assert sorted(aliases(net, net.get_parameter("head.weight"))) == ["head.weight", "table.weight"]
    set_tensor(net, "table.weight", torch.zeros(6, 4))
    held = net.get_parameter("head.weight")
    assert held is net.get_parameter("table.weight")
    assert held.abs().sum() == 0
    assert not held.requires_grad
    assert net(torch.tensor([[1]])).abs().sum() == 0


def test_tensor_of_reads_only_tensors() -> None:
    net = network("mlp")
    linear = named(net, "linear")
    weight = tensor_of(net, linear.args[1])
    assert weight is net.get_parameter("layers.0.weight")
    assert tensor_of(net, linear.args[0]) is None
    assert tensor_of(net, "training") is None
    assert tensor_of(net, None) is None


def test_rebuilt_drops_what_is_dead() -> None:
    net = network("mlp")
    last = next(reversed(net.graph.find_nodes(op="output")))
    last.args = (named(net, "linear"),)
    rebuilt(net)
    drop_unused(net)
    assert set(net.state_dict()) == {"layers.0.weight", "layers.0.bias"}
    assert net(torch.ones(1, 16)).shape == (1, 32)


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "mlp", "encoder"])
def test_inference_cannot_train(name: str) -> None:
    module, inputs = example(name)
    net = capture(module.train(), inputs).network
    frozen = inference(net)
    found = {op(n) for n in frozen.graph.nodes}
    assert {"dropout", "operator.mul"}.isdisjoint(found)
    assert not any(n.target == "training" for n in frozen.graph.nodes)
    assert torch.equal(frozen.train()(*inputs), module.eval()(*inputs))
    assert net.training


def test_a_shared_copy_has_its_own_graph_and_the_same_tensors() -> None:
    net = captured("mlp").network
    other = shared(net)
    assert {n: t.data_ptr() for n, t in tensors(other)} == {
        n: t.data_ptr() for n, t in tensors(net)
    }
    name = next(n for n, _ in net.named_parameters())
    before = tensor_of(net, name)
    set_tensor(other, name, torch.zeros_like(before))
    assert tensor_of(net, name) is before
    assert before.abs().sum() > 0
    assert other.graph is not net.graph
    assert other.training == net.training
