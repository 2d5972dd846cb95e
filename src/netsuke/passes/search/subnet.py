"""The part of a supernet that a device wants."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from netsuke.core.passes import Range
from netsuke.passes.prune.channels import Channels, Scope


@dataclass(frozen=True, kw_only=True)
class Subnet(Channels):
    """Take the part out of what ``search.supernet`` trained that costs no more than is allowed and moves the
    outputs least: by evolution over widths and branches, priced by the device's kernels, checked by its clock
    (Cai et al., 2020). BatchNorm statistics are estimated anew; nothing is trained.

    The settings are those of ``prune.channels``, which this is, with the last units of each group leaving
    first.
    """

    name: ClassVar[str] = "search.subnet"
    ratio: Annotated[float, Range(0.05, 0.95)] = 0.5
    scope: Scope = "evolved"
    criterion: str = "order"
    reconstruct: bool = False
    epochs: Annotated[int, Range(0, 1000)] = 0
