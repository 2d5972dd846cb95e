"""What arrives of what was sent."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Generator, Tensor

from netsuke.nets.compressors.compressor import Compressor
from netsuke.nets.compressors.full import Full
from netsuke.nets.compressors.levels import joined, split
from netsuke.nets.compressors.memory import Corrected, Feedback
from netsuke.nets.compressors.natural import Natural
from netsuke.nets.compressors.places import packed_places, places_bytes, unpacked_places
from netsuke.nets.compressors.sign import Sign
from netsuke.nets.compressors.stochastic import Bits, Stochastic
from netsuke.nets.compressors.ternary import Ternary
from netsuke.nets.compressors.topk import OPENING, TopK

EVERY: tuple[Compressor, ...] = (
    Stochastic(bits=8), Stochastic(bits=4), Stochastic(bits=2), Natural(), Ternary(), Sign(), TopK(share=0.01),
    TopK(share=0.01, by=Sign()),
)  # fmt: skip
UNBIASED = {
    Stochastic(bits=8): 127,
    Stochastic(bits=4): 7,
    Stochastic(bits=2): 1,
    Ternary(): 1,
    Natural(): 64,
}
"""With how many times the least above nothing goes into the largest."""


def told(one: Compressor, values: Tensor, seed: int = 0) -> Tensor:
    return one.unpack(one.pack(values, Generator().manual_seed(seed)), len(values))


def values(count: int = 1300) -> Tensor:
    """Of different size from place to place, the last bucket not full."""
    return torch.randn(count, generator=Generator().manual_seed(1)) * torch.logspace(-3, 1, count)


def test_these_and_no_others_claim_to_be_unbiased():
    assert {one for one in EVERY if one.unbiased} == set(UNBIASED)


@pytest.mark.parametrize("one", UNBIASED, ids=str)
def test_the_mean_of_many_is_what_was_sent(one: Compressor):
    sent, many = values(512), 20_000
    heard = told(one, sent.repeat(many)).view(many, 512).double()
    error = heard.mean(0) - sent
    # A level that is seldom drawn may come a few times more or less than the deviation of so many draws says.
    seldom = 4 * sent.abs().max() / UNBIASED[one] / many
    assert (error.abs() <= 4.5 * heard.std(0) / math.sqrt(many) + seldom).all()
    assert error.sum().abs() <= 4.5 * heard.var(0).sum().sqrt() / math.sqrt(many)


@pytest.mark.parametrize(
    "one", [Sign(), TopK(share=0.01, momentum=0), TopK(share=0.01, by=Sign(), momentum=0)], ids=str
)
def test_what_is_biased_arrives_in_time_by_feedback(one: Compressor):
    sent, memory, heard, draw = values(600), one.memory(), torch.zeros(600), Generator()
    assert isinstance(memory, Feedback)
    for step in range(1, 3001):
        wanted = memory.with_kept("all", sent)
        given = one.unpack(one.pack(wanted, draw), len(wanted))
        memory.sent("all", wanted, given)
        heard += given
        if step in (300, 3000):
            apart = float((heard / step - sent).norm() / sent.norm())
            assert apart < 60 / step


@pytest.mark.parametrize("one", EVERY, ids=str)
@pytest.mark.parametrize("count", [1, 7, 512, 513, 5000])
def test_any_number_of_values(one: Compressor, count: int):
    heard = told(one, values(count))
    assert heard.shape == (count,)
    assert heard.dtype == torch.float32
    assert heard.isfinite().all()
    sizes = {one.pack(draw, Generator()).numel() for draw in (values(count), torch.zeros(count))}
    assert len(sizes) == 1


@pytest.mark.parametrize("one", EVERY, ids=str)
def test_nothing_is_told_as_nothing(one: Compressor):
    assert (told(one, torch.zeros(700)) == 0).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("one", EVERY, ids=str)
def test_what_is_not_finite_is_told_as_such_and_not_kept(one: Compressor, bad: float):
    sent = values(700)
    sent[100] = bad
    memory = one.memory()
    wanted = memory.with_kept("all", sent)
    heard = told(one, wanted)
    assert not heard.isfinite().all()
    memory.sent("all", wanted, heard)
    assert memory.with_kept("all", values(700)).isfinite().all()


@pytest.mark.parametrize(
    ("one", "times"),
    [(Stochastic(bits=8), 3.87), (Stochastic(bits=4), 7.5), (Stochastic(bits=2), 14.2), (Natural(), 7.9), (Ternary(), 17),
     (Sign(), 31), (TopK(share=0.001), 720), (TopK(share=0.03, by=Sign()), 128)],
    ids=str,
)  # fmt: skip
def test_times_fewer_bytes(one: Compressor, times: float):
    count = 512 * 1000
    assert 4 * count / one.pack(values(count), Generator()).numel() > times


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_levels_are_kept_exactly(bits: Bits):
    most = 2 ** (bits - 1) - 1
    levels = torch.arange(-most, most + 1).repeat(63).float() / most
    sent = torch.cat([torch.ones(2 * most + 1, 1), levels.view(-1, 63)], 1).flatten()
    assert torch.allclose(told(Stochastic(bits=bits), sent), sent, atol=1e-6)


@pytest.mark.parametrize(("one", "error"), [(Stochastic(bits=4), 0.025), (Ternary(), 1.2)], ids=str)
def test_the_squared_error_by_chance(one: Compressor, error: float):
    sent = torch.randn(64_000, generator=Generator().manual_seed(4))
    assert ((told(one, sent) - sent) ** 2).mean() < error


def test_a_power_of_two_is_told_as_it_is_and_others_are_off_by_half_at_most():
    powers = torch.cat([2.0 ** torch.arange(-6, 1), -(2.0 ** torch.arange(-6, 1)), torch.zeros(1)])
    assert torch.equal(told(Natural(), powers), powers)
    mixed = torch.randperm(51_100, generator=Generator().manual_seed(3))
    sent = torch.linspace(2.0**-6, 1, 511).repeat(100)[mixed]
    heard = told(Natural(), torch.cat([sent, torch.ones(1)]))[:-1]
    assert ((heard - sent).abs() <= sent).all()
    assert float(((heard - sent) ** 2).mean() / (sent**2).mean()) < 1 / 8  # the paper's bound
    even = told(Stochastic(bits=4), torch.cat([sent, torch.ones(1)]))[:-1]
    small = sent < 1 / 8
    assert ((heard - sent)[small] ** 2).mean() < ((even - sent)[small] ** 2).mean() / 5


@pytest.mark.parametrize("base", [2, 3, 4, 16, 256])
def test_small_numbers_fill_a_byte(base: int):
    numbers = torch.randint(0, base, (1003,), generator=Generator().manual_seed(0)).to(torch.uint8)
    packed = joined(numbers, base)
    assert len(packed) == math.ceil(1003 / int(math.log(256, base) + 1e-9))
    assert torch.equal(split(packed, base, 1003), numbers)


def test_the_largest_arrive_whole():
    sent = values()
    heard = told(TopK(share=0.01), sent)
    places = sent.abs().topk(13).indices
    assert torch.equal(heard.nonzero().flatten(), places.sort().values)
    assert torch.equal(heard[places], sent[places])


def test_the_share_goes_down_to_its_own():
    one = TopK(share=0.001, warmup=100)
    shares = [one.at(step).share for step in range(0, 121, 20)]
    assert shares[0] == OPENING
    assert shares[-2:] == [0.001, 0.001]
    ratios = [after / before for before, after in pairwise(shares[:6])]
    assert max(ratios) - min(ratios) < 1e-9


def gathered(steps: int, sent_at: set[int]) -> list[float]:
    """Of a gradient of 1 at every step: what is to be sent of it at each."""
    memory, found = Corrected(0.9), []
    for step in range(1, steps + 1):
        wanted = memory.with_kept("all", torch.ones(1)).clone()
        found.append(float(wanted))
        memory.sent("all", wanted, wanted if step in sent_at else torch.zeros(1))
    return found


def test_sent_at_every_step_it_is_momentum():
    assert gathered(3, {1, 2, 3}) == pytest.approx([1, 1.9, 2.71])


def test_not_sent_it_gathers():
    """Lin et al., 2018, equation 5."""
    assert gathered(4, {3}) == pytest.approx([1, 2.9, 5.61, 3.439])


def test_what_waited_long_begins_anew():
    found = gathered(12, {11})
    assert found[10] == pytest.approx(sum(10 * (1 - 0.9**n) for n in range(1, 12)), rel=1e-5)
    assert found[11] == pytest.approx(1)


@pytest.mark.parametrize("share", [1e-6, 0.001, 0.03, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 2, 700, 65_537])
def test_places_are_told_in_two_bits_more_than_they_could_be(count: int, share: float):
    many = max(1, math.ceil(share * count))
    places = torch.randperm(count, generator=Generator().manual_seed(2))[:many].sort().values
    packed = packed_places(places, count)
    assert len(packed) == places_bytes(many, count)
    assert torch.equal(unpacked_places(packed, many, count), places)
    assert 8 * len(packed) <= many * (2 + math.log2(count / many)) + 16


def test_of_the_largest_the_signs():
    sent = torch.randn(5000, generator=Generator().manual_seed(2))
    signs, exact = (told(TopK(share=0.02, by=by, momentum=0), sent) for by in (Sign(), Full()))
    assert torch.equal(signs.sign(), exact.sign())
    sizes = signs[signs != 0].abs().unique().tolist()
    assert sizes == pytest.approx([float(exact[exact != 0].abs().mean())], rel=2**-8)


def test_what_a_sign_leaves_out_goes_later_with_momentum_too():
    memory, sent = Corrected(0.5), torch.tensor([1.0, 0.5])
    wanted = memory.with_kept("all", sent).clone()
    memory.sent("all", wanted, torch.tensor([0.75, 0.75]))
    assert memory.with_kept("all", torch.zeros(2)).tolist() == pytest.approx([0.75, 0.0])


def test_places_beyond_the_end_are_an_error():
    one = TopK(share=0.02, momentum=0)
    packed = one.pack(torch.randn(1000), Generator())
    spoilt = packed.clone()
    spoilt[:6] = 0  # fewer of them than there are to be
    with pytest.raises((RuntimeError, IndexError)):
        one.unpack(spoilt, 1000)
    spoilt = packed.clone()
    spoilt[: places_bytes(20, 1000)] = 255
    with pytest.raises((RuntimeError, IndexError)):
        one.unpack(spoilt, 1000)
