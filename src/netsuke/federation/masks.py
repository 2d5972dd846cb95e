"""What Flower's secure aggregation (``SecAgg+``: Bell et al., 2020, "Secure single-server aggregation with (poly)logarithmic
overhead", after Bonawitz et al., 2017) hides vectors under, and a client's side of it.

Flower's own masks come of a generator with a seed of 32 bits, which whoever holds a masked vector can try out; here they are
the key stream of AES in counter mode (NIST SP 800-38A), under all 256 bits that two clients agreed on.
"""

import hashlib
from importlib import import_module
from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from flwr.app import Context, Message
from flwr.client.mod import secaggplus_mod
from flwr.clientapp.typing import ClientAppCallable
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS
from flwr.compat.common.recorddict_compat import fitres_to_recorddict
from numpy.typing import NDArray

from netsuke.core.errors import NetsukeError
from netsuke.federation.letter import UPDATE, arrays_in, figure_in

MODULUS = 2**32
"""Of the sums: what a place of a mask is drawn from."""
FIGURES = ("loss", "seconds")
"""What a client says in the open, beside how many samples it has."""


def masks(seed: bytes, modulus: int, shapes: list[tuple[int, ...]]) -> list[NDArray[np.int64]]:
    """As Flower's ``pseudo_rand_gen``: whole numbers below MODULUS, the same for the same seed. seed: of one round alone."""
    assert modulus == MODULUS
    stream = Cipher(algorithms.AES(hashlib.sha256(seed).digest()), modes.CTR(bytes(16))).encryptor()
    return [
        np.frombuffer(stream.update(bytes(4 * int(np.prod(shape)))), "<u4")
        .reshape(shape)
        .astype(np.int64)
        for shape in shapes
    ]


SIDES = (
    "flwr.client.mod.secure_aggregation.secaggplus_mod",
    "flwr.server.workflow.secure_aggregation.secaggplus_workflow",
)
for _side in SIDES:
    vars(import_module(_side))["pseudo_rand_gen"] = masks


def under_masks(message: Message) -> bool:
    """Whether a server asks for a step of the protocol."""
    return RECORD_KEY_CONFIGS in message.content.config_records


def masked(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """A mod of a ClientApp's: answers as its server asks, in the open or a step of the protocol."""
    if not under_masks(message):
        return call_next(message, context)

    def trained(message: Message, context: Context) -> Message:
        return _as_fitted(call_next(message, context), message)

    return secaggplus_mod(message, context, trained)


def _as_fitted(reply: Message, asked: Message) -> Message:
    """What the protocol takes for a client's result. Raises NetsukeError for values that are no numbers: of a masked sum nobody
    can tell any more."""
    # Whole numbers of 28 bits are to be made of it: in doubles.
    vector = arrays_in(reply)[UPDATE].view(torch.float32).double().numpy()
    if not np.isfinite(vector).all():
        raise NetsukeError("its update has values that are no numbers")
    told: dict[str, Any] = {name: figure_in(reply, name) for name in FIGURES}
    samples = int(figure_in(reply, "num-examples"))
    result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([vector]), samples, told)
    return Message(fitres_to_recorddict(result, keep_input=False), reply_to=asked)
