"""Errors a user can mend: one line that names the place and the mend."""


class NetsukeError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what to do. The CLI exits 2."""


class NewerRunError(NetsukeError):
    """A run folder was written by a newer version than this one can read."""
