import pytest
import torch
from torch import Generator, nn

from netsuke import NetsukeError
from netsuke.federation.job import Asked, asked, compressor
from netsuke.federation.update import applied, changed


def networks():
    torch.manual_seed(0)
    before = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(64, 10))
    after = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(64, 10))
    after[1].running_mean += 3
    return before.state_dict(), after.state_dict()


def told(text: str, before, after, memory=None):
    by = compressor(text)
    kept = memory or by.memory()
    return applied(before, changed(before, after, by, kept, Generator().manual_seed(0)), by)


def test_in_full_it_is_what_it_was():
    before, after = networks()
    found = told("full", before, after)
    assert set(found) == {n for n in after if not n.endswith("num_batches_tracked")}
    for name, tensor in found.items():
        assert torch.allclose(tensor, after[name], atol=1e-6), name


@pytest.mark.parametrize(
    ("text", "error"), [("int8", 0.02), ("int4", 0.2), ("ternary", 1.5), ("sign", 0.8)]
)
def test_few_bits_are_near_and_statistics_are_exact(text: str, error: float):
    before, after = networks()
    found = told(text, before, after)
    assert torch.allclose(found["1.running_mean"], after["1.running_mean"])
    change, meant = (
        torch.cat([(s[n] - before[n]).flatten() for n in ("0.weight", "3.weight")])
        for s in (found, after)
    )
    assert 0 < float((change - meant).norm() / meant.norm()) < error


def test_what_was_not_sent_goes_later():
    before, after = networks()
    by = compressor("topk:0.05")
    memory, now = by.memory(), dict(before)
    for turn in range(60):
        goal = after if turn == 0 else now  # nothing more is learned: only what is left is sent
        now = now | told("topk:0.05", now, goal, memory)
    for name in ("0.weight", "3.weight"):
        assert torch.allclose(now[name], after[name], atol=1e-5), name


def test_bytes_are_counted():
    before, after = networks()
    by = compressor("int4")
    found = changed(before, after, by, by.memory(), Generator().manual_seed(0))
    weights, rest = 3 * 16 * 9 + 640, 16 * 5 + 10
    assert found.numel() == -(-weights // 2) + 2 * -(-weights // 64) + 4 * rest


@pytest.mark.parametrize("text", ["full", "int8", "topk:0.1"])
def test_of_another_network(text: str):
    before, after = networks()
    by = compressor(text)
    update = changed(before, after, by, by.memory(), Generator().manual_seed(0))
    other = {n: t for n, t in before.items() if n != "3.weight"}
    with pytest.raises(NetsukeError, match="another network"):
        applied(other, update, by)
    with pytest.raises(NetsukeError, match="another network"):
        applied(before, update[:-3], by)


@pytest.mark.parametrize("text", ["int3", "topk:x", "topk:2", ""])
def test_a_compressor_that_is_none(text: str):
    with pytest.raises(NetsukeError):
        compressor(text)


def test_a_server_of_another_version():
    text = Asked(round=1, epochs=1, lr=0.1, batch=8, version="0.0.9").to_json()
    with pytest.raises(NetsukeError, match=r"the server runs netsuke 0\.0\.9, this client "):
        asked(text)
    here = Asked(round=1, epochs=1, lr=0.1, batch=8, shape={"1": [0, 2]})
    assert asked(here.to_json()) == here
