"""Clients on paired devices: their agents start them on data that their owners named."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside
from netsuke.federation.hall import Link
from netsuke.links.book import entry
from netsuke.links.remote import Remote
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.wire.caller import UnreachableError

LOOPBACK = "127."


@contextmanager
def joined(link: Link, names: Sequence[str], folder: Path) -> Iterator[None]:
    """Every device takes part until the end of the block, with a key that it made itself. folder: for their public keys.

    Raises NetsukeError where one is not paired, does not answer, or does not take part, and where none could reach the server.
    """
    for name in names:
        if link.address.startswith(LOOPBACK) and f"//{LOOPBACK}" not in entry(name).address:
            raise NetsukeError(
                f"federate: {name} cannot reach {link.address}; give an address of this machine that it can (--host)"
            )
    with ExitStack() as stack:
        remotes = [stack.enter_context(Remote(name, OnnxRuntime())) for name in names]
        for remote in remotes:
            remote.join(link.address, link.authority.decode("ascii"))
            stack.callback(_left, remote)
        for remote in remotes:
            public = folder / f"{remote.name}.pub"
            with beside(public) as draft:
                draft.write_text(remote.joined(), encoding="ascii")
            link.admit(public, remote.name)
        yield


def _left(remote: Remote) -> None:
    """A device that is gone notices by itself."""
    with suppress(UnreachableError):
        remote.leave()
