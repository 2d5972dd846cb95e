"""Why a model cannot be quantized: what several passes refuse, in one wording each."""

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.quantizers.place import is_quantized
from netsuke.nets.quantizers.roles import rounds


def quantized(model: Model) -> str | None:
    """Where it is done already."""
    return "the model is quantized already" if is_quantized(model.network) else None


def no_kernel(model: Model) -> str | None:
    """Where nothing multiplies that integers could."""
    if any(map(rounds, model.network.graph.nodes)):
        return None
    return "no operation has an integer kernel (convolution, linear or matrix product)"


def no_arithmetic(goal: Goal) -> str | None:
    """Where the device computes no integers."""
    return None if "int8" in goal.device.formats else f"{goal.device.title} has no INT8 arithmetic"
