"""A network spread over devices: planned by what was measured, shipped in parts, served front to back, and moved as links
and devices change."""

from netsuke.serving.network import Exits, Spread
from netsuke.serving.spread import keeping, serve, stop

__all__ = ["Exits", "Spread", "keeping", "serve", "stop"]
