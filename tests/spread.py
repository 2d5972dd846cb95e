"""What tests of networks on devices share."""

import numpy as np
import psutil

from netsuke.core.partition import Route
from netsuke.testing.agents import Running

NEAR = (Route(bandwidth=1e12),)
X = np.random.default_rng(0).standard_normal((8, 1, 3, 32, 32)).astype(np.float32)


def parts_of(running: Running) -> list[psutil.Process]:
    return [
        p
        for p in psutil.Process(running.process.pid).children()
        if "netsuke.agent.part" in p.cmdline()
    ]
