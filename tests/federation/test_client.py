"""A client's rounds, asked without a network between."""

from pathlib import Path

import pytest
import torch
from flwr.app import Context, Message, MessageType, RecordDict
from torch import Tensor

from netsuke import NetsukeError
from netsuke.federation.client import Client
from netsuke.federation.job import Asked, Job, compressor
from netsuke.federation.letter import UPDATE, arrays_in, letter, packed
from netsuke.federation.update import State, applied, learned
from netsuke.nets.channels.surgery import cut

WORKLOAD = Path(__file__).parents[1] / "workload_tiny.py"
SHAPE = {0: [0, 1, 2, 5, 8, 9, 10, 15], 1: [*range(20), 30]}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("client") / "fresh.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(WORKLOAD.parent)!r})\nfrom workload_tiny import Tiny as model, task\n"
    )
    return path


def client(path: Path, secure: bool = False) -> Client:
    torch.manual_seed(0)  # the network as it comes is new
    return Client(Job(workload=str(path), secure=secure), 0)


def trained(one: Client, state: State, task: Asked) -> dict[str, Tensor]:
    """What a client changed in a round, as its server hears it."""
    content = letter(packed(state), asked=task.to_json())
    reply = one.train(Message(content, 1, MessageType.TRAIN), Context(1, 1, {}, RecordDict({}), {}))
    after = applied(state, arrays_in(reply)[UPDATE], compressor(task.by))
    return {name: after[name] - state[name] for name in after if state[name].ndim > 1}


def test_what_was_not_sent_goes_later_though_channels_have_left(given: Path):
    whole, few = client(given), client(given)
    state = learned(few._model.network.state_dict())
    learning = {"round": 1, "epochs": 1, "lr": 0.05, "batch": 32}
    in_full = trained(whole, state, Asked(**learning))
    sent = trained(few, state, Asked(**learning, by="topk:0.1:int8"))
    left = {name: in_full[name] - sent[name] for name in sent}
    assert all(int((t != 0).sum()) > 0.5 * t.numel() for t in left.values())

    narrow = cut(few._model, SHAPE)
    idle = {"round": 2, "epochs": 1, "lr": 1e-12, "batch": 32, "by": "topk:1"}
    shape = {str(group): units for group, units in SHAPE.items()}
    later = trained(few, learned(narrow.state_dict()), Asked(**idle, shape=shape))
    wanted = left["conv2.weight"][SHAPE[1]][:, SHAPE[0]]
    assert torch.allclose(later["conv2.weight"], wanted, atol=1e-6)
    assert torch.allclose(later["linear.weight"], left["linear.weight"][:, SHAPE[1]], atol=1e-6)
    # All of it went; nothing is left, of what left nothing either.
    again = trained(few, state, Asked(**idle))
    assert all(float(t.abs().max()) < 1e-6 for t in again.values())


@pytest.mark.parametrize("lost", [{"client": 1}, {"client": 7}, {"other": 1}, {}])
def test_what_came_too_late_goes_again(given: Path, lost: dict[str, int]):
    whole, few = client(given), client(given)
    state = learned(few._model.network.state_dict())
    learning = {"round": 1, "epochs": 1, "lr": 0.05, "batch": 32}
    in_full = trained(whole, state, Asked(**learning))
    sent = trained(few, state, Asked(**learning, by="topk:0.1"))
    idle = {"round": 2, "epochs": 1, "lr": 1e-12, "batch": 32, "by": "topk:1"}
    later = trained(few, state, Asked(**idle, lost=lost))
    for name, tensor in later.items():
        wanted = in_full[name] if lost == {"client": 1} else in_full[name] - sent[name]
        assert torch.allclose(tensor, wanted, atol=1e-6), name


def test_one_that_answers_under_masks_alone_says_nothing_in_the_open(given: Path):
    one = client(given, secure=True)
    state = learned(one._model.network.state_dict())
    with pytest.raises(NetsukeError, match="under masks alone; give netsuke federate --secure"):
        trained(one, state, Asked(round=1, epochs=1, lr=0.05, batch=32))
    with pytest.raises(NetsukeError, match="under masks alone"):
        one.worth(Message(letter(), 1, MessageType.QUERY), Context(1, 1, {}, RecordDict({}), {}))
