"""A network spread over devices: planned by what was measured, shipped in parts, served front to back."""

from netsuke.serving.network import Exits, Spread
from netsuke.serving.spread import serve, stop

__all__ = ["Exits", "Spread", "serve", "stop"]
