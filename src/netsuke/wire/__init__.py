"""What machines say to each other: ZeroMQ with CURVE (RFC 26/ZMTP 3.1), keys of both sides known, nothing unpickled.

A message is a header in JSON and arrays or bytes behind it (``message``). Both ends have keys (``keys``) that they
exchanged once (``pairing``); who has none is never answered (``sockets``). Whoever asks may ask again under the same
id, and gets the same answer (``caller``, ``service``).
"""
