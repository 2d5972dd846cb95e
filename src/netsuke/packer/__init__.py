"""The stored form of a model, ``model.nsk``: an ONNX file packed without loss.

``model.onnx`` is what a stock runtime runs fast, and it holds 3-bit weights in 8-bit integers.
``model.nsk`` holds the bits the values really need, and expands to the same bytes on the device.
Nothing here knows of schemes, of torch or of onnx: numpy and the standard library only.
"""

from netsuke.packer.container import Packed, pack, packed, unpack

__all__ = ["Packed", "pack", "packed", "unpack"]
