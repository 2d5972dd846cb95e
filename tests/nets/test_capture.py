import copy
import operator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import NAMES, Block, EncoderLayer, ResNet, captured, example, line_of, lively
from netsuke.core.errors import NetsukeError
from netsuke.nets.capture import EVAL_ONLY, capture
from netsuke.nets.graph import clone, is_training, op, tensors, where


def bert() -> tuple[nn.Module, tuple[Tensor, ...]]:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32,
    )  # fmt: skip
    mask = torch.tensor([[1] * 16, [1] * 10 + [0] * 6])
    return BertForSequenceClassification(config), (torch.randint(0, 100, (2, 16)), mask)


def vit() -> tuple[nn.Module, tuple[Tensor, ...]]:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        image_size=32, patch_size=8,
    )  # fmt: skip
    return ViTForImageClassification(config), (torch.randn(2, 3, 32, 32),)


def llama() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Grouped-query attention, tied embeddings, rotary positions under no_grad."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=64, max_position_embeddings=64, use_cache=False,
        tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config), (torch.randint(0, 100, (2, 16)),)


@pytest.mark.parametrize("name", NAMES)
def test_computes_exactly_what_the_module_does(name: str) -> None:
    module, inputs = example(name)
    model = captured(name)
    for count in (1, 2, 5):
        batch = tuple(torch.cat([t] * 3)[:count] for t in inputs)
        assert torch.equal(model.network(*batch), module(*batch))
    assert model.network.state_dict().keys() == module.state_dict().keys()
    assert clone(model.network).state_dict().keys() == module.state_dict().keys()
    assert not model.network.training
    assert model.lineage == ()


@pytest.mark.parametrize("build", [bert, vit, llama])
def test_transformers(build) -> None:
    torch.manual_seed(0)
    module, inputs = build()
    module.eval()
    model = capture(module, inputs)
    with torch.no_grad():
        assert torch.equal(model.network(*inputs), module(*inputs).logits)
    assert clone(model.network).state_dict().keys() == module.state_dict().keys()
    assert not any("wrap_with" in str(n.target) for n in model.network.graph.nodes)
    assert not any("_assert" in str(n.target) for n in model.network.graph.nodes)


def test_tied_weights_stay_one_parameter() -> None:
    module, inputs = llama()
    copied = clone(capture(module, inputs).network)
    held = dict(tensors(copied))
    assert held["lm_head.weight"] is held["model.embed_tokens.weight"]


def test_operations_stay_whole_and_know_their_place() -> None:
    nodes = list(captured("resnet").network.graph.nodes)
    found = {op(n) for n in nodes if n.op == "call_function"}
    assert found == {"conv2d", "batch_norm", "relu", "add", "pad", "slice", "mean", "linear"}
    assert [where(n) for n in nodes if op(n) == "conv2d"][:2] == [
        f"conv1 (models.py:{line_of('self.conv1(x)', ResNet)})",
        f"layer1.0.conv1 (models.py:{line_of('self.conv1(x)', Block)})",
    ]


def test_trains_as_the_module_does() -> None:
    """Eight steps of SGD leave weights and running statistics equal to the module's, to the bit."""
    module, _ = example("resnet")
    network = clone(captured("resnet").network)
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    losses = []
    for net in (module.train(), network.train()):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
        for _ in range(8):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[:8] == losses[8:]
    assert losses[7] < 0.7 * losses[0]
    state = network.state_dict()
    for key, value in module.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("copied", [lambda n: n, clone, copy.deepcopy])
def test_modes_follow_the_switch(copied) -> None:
    module, inputs = example("encoder")
    network = copied(clone(captured("encoder").network))
    attention = next(n for n in network.graph.nodes if op(n) == "scaled_dot_product_attention")
    assert attention.args[4].target is operator.mul
    assert torch.equal(network(*inputs), network(*inputs))
    network.train()
    assert not torch.equal(network(*inputs), network(*inputs))  # dropout inside attention
    network.eval()
    assert torch.equal(network(*inputs), module(*inputs))


def test_batchnorm_follows_the_switch_unless_frozen() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.free, self.frozen = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
            self.always = nn.BatchNorm1d(4, track_running_stats=False)

        def train(self, mode: bool = True) -> nn.Module:
            super().train(mode)
            self.frozen.eval()
            return self

        def forward(self, x: Tensor) -> Tensor:
            return self.always(self.frozen(self.free(x)))

    network = capture(Net(), torch.randn(2, 4, 3)).network
    free, frozen, always = (n for n in network.graph.nodes if op(n) == "batch_norm")
    assert is_training(free.args[5])
    assert frozen.args[5] is False
    assert always.args[5] is True
    before = clone(network).state_dict()
    network.train()(torch.randn(8, 4, 3))
    assert not torch.equal(before["free.running_mean"], network.state_dict()["free.running_mean"])
    assert torch.equal(before["frozen.running_mean"], network.state_dict()["frozen.running_mean"])


def test_leaves_the_module_as_it_was() -> None:
    module, inputs = example("resnet")
    module.train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    model = capture(module, inputs)
    assert module.training
    assert model.network.training
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    with torch.no_grad():
        model.network.get_parameter("conv1.weight").zero_()
    assert torch.equal(before["conv1.weight"], module.conv1.weight)


def test_one_sample_and_views_are_fine() -> None:
    base = torch.randn(1, 4, 3, 16, 16)
    model = capture(example("densenet")[0], base[:, 0])
    assert model.example[0].shape == (2, 3, 16, 16)
    assert model.example[0].untyped_storage().nbytes() == 2 * 3 * 16 * 16 * 4


def test_inplace_operations_become_plain_ones() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            y += 1
            F.relu_(y)
            z = y.view(-1, 2, 2)
            z[:, 0] = 5.0
            return y

    module, x = Net(), torch.randn(2, 4)
    network = capture(module, x).network
    found = [op(n) for n in network.graph.nodes if n.op == "call_function"]
    assert {"add", "relu"} <= set(found)
    assert {"add_", "relu_"}.isdisjoint(found)
    assert torch.equal(network(x), module(x))


def test_several_inputs_and_outputs() -> None:
    class Net(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
            return {"sum": a + b, "difference": a - b}

    a, b = torch.randn(2, 3), torch.randn(2, 3)
    total, difference = capture(Net(), (a, b)).network(a, b)
    assert torch.equal(total, a + b)
    assert torch.equal(difference, a - b)


def test_constants_and_unused_parameters() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(2, 2)
            self.register_buffer("shift", torch.ones(1), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return x * torch.tensor([2.0]) + self.shift

    module = Net()
    network = clone(capture(module, torch.randn(2, 3)).network)
    assert network.state_dict().keys() == module.state_dict().keys()
    assert torch.equal(network(torch.ones(1, 3)), torch.full((1, 3), 3.0))


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main, self.side = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.main(x)
        return (y, self.side(y)) if self.training else y


class StochasticDepth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if self.training:
            y = y * torch.bernoulli(torch.full((x.shape[0], 1), 0.9))
        return x + y


class LayerDrop(nn.Module):
    """A layer that is skipped at random, by an ``if`` (Fan et al., 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.training and torch.rand([]) < 0.1 else x + self.linear(x)


@pytest.mark.parametrize("kind", [Auxiliary, StochasticDepth, LayerDrop])
def test_what_only_training_does_is_left_out_and_said(kind: type[nn.Module]) -> None:
    module = kind().eval()
    x = torch.randn(2, 4)
    model = capture(module, x)
    assert torch.equal(model.network(x), module(x))
    assert model.lineage[0].notes == (EVAL_ONLY,)


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


class Foreign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy() + 1)


class FixedBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.view(x.shape[0], 2, 2)
        return y.view(2, -1)


class Restless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


def broken() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.weight.data[1, 1] = float("nan")
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    ("module", "inputs", "parts"),
    [
        (Branch(), torch.randn(2, 4), ["data's values", "test_capture.py:", "`if x.sum() > 0:`"]),
        (Foreign(), torch.randn(2, 4), ["does not trace", ".numpy()", "test_capture.py:"]),
        (FixedBatch(), torch.randn(2, 4), ["fixes the batch size at test_capture.py:"]),
        (Restless(), torch.randn(2, 4), ["each time it runs in eval mode"]),
        (broken(), torch.randn(2, 4), ["parameter 0.weight holds NaN"]),
        (nn.Linear(4, 4), torch.randn(2, 3), ["refuses an input of shape (2, 3) float32", "2x3"]),
        (nn.Linear(4, 4), torch.ones(2, 4).long(), ["shape (2, 4) int64", "dtype"]),
        (nn.Linear(4, 4), torch.tensor(1.0), ["samples first"]),
        (nn.Bilinear(4, 4, 4), (torch.ones(2, 4), torch.ones(3, 4)), ["batches of [2, 3]"]),
    ],
)
def test_refusals_are_one_line_that_names_the_place(module, inputs, parts, capfd) -> None:
    with pytest.raises(NetsukeError) as caught:
        capture(module, inputs, "net")
    message = str(caught.value)
    assert message.startswith("net: ")
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert capfd.readouterr() == ("", "")


def test_recurrent_networks() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 8, 2, batch_first=True, dropout=0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(x)[0]

    module, x = Net().eval(), torch.randn(2, 5, 8)
    network = capture(module, x).network
    assert torch.equal(network(x), module(x))
    network.train()
    assert not torch.equal(network(x), network(x))


def test_torch_encoder_layer_keeps_its_dropout() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True).eval()
    x = torch.randn(2, 4, 8)
    network = capture(module, x).network
    torch.testing.assert_close(network(x), module(x), rtol=1e-5, atol=1e-6)
    assert sum(op(n) == "dropout" for n in network.graph.nodes) == 3


def test_encoder_layer_of_the_tests_has_no_state_between_modes() -> None:
    layer = lively(EncoderLayer(8, 2, 16, 0.0))
    x = torch.randn(2, 4, 8)
    network = capture(layer, x).network
    assert torch.equal(network.train()(x), network.eval()(x))
