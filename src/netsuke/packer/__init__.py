"""The stored form of a model, ``model.nsk``: an ONNX file packed without loss.

``model.onnx`` is what a stock runtime runs fast, and it holds 3-bit weights in 8-bit integers.
``model.nsk`` holds what the values are worth, and expands to the same bytes on the device.
Nothing here knows of schemes, of torch or of onnx: numpy and the standard library only.
"""

from netsuke.packer.base import model_of
from netsuke.packer.packing import Packed, pack, packed
from netsuke.packer.unpacking import unpack, unpack_stream

__all__ = ["Packed", "model_of", "pack", "packed", "unpack", "unpack_stream"]
