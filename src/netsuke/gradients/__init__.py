"""Gradients that take fewer bytes between the processes of torch's DistributedDataParallel, in a loop of one's own:

    ddp = DistributedDataParallel(network)
    traffic = netsuke.gradients.compress(ddp, bits=4)

``compress`` sends what a compressor makes of them (``Stochastic``, ``Natural``, ``Ternary``, ``Sign``, ``TopK``); ``powersgd`` and ``fp16`` are
torch's own hooks, counted alike.
"""

from netsuke.gradients.gathered import compress
from netsuke.gradients.reduced import fp16, powersgd
from netsuke.gradients.traffic import Traffic
from netsuke.nets.compressors.natural import Natural
from netsuke.nets.compressors.sign import Sign
from netsuke.nets.compressors.stochastic import Stochastic
from netsuke.nets.compressors.ternary import Ternary
from netsuke.nets.compressors.topk import TopK

__all__ = [
    "Natural",
    "Sign",
    "Stochastic",
    "Ternary",
    "TopK",
    "Traffic",
    "compress",
    "fp16",
    "powersgd",
]
