"""Where a study remembers its trials: a journal file in its folder, or a PostgreSQL database."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsuke.core.errors import NetsukeError
from netsuke.core.secrets import without_passwords

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

SCHEMES = ("postgresql", "postgres")
PATIENCE = 600.0
"""Seconds for which a database that went away is waited for."""
POLL = 1.0
"""Seconds between two attempts to reach it."""
ANSWERS = 10
"""Seconds in which it must answer."""
LOCK = "select pg_try_advisory_lock(hashtextextended(%s, 0))"


@dataclass(frozen=True)
class Storage:
    """Where a study is, and its name there."""

    backend: "BaseStorage"
    name: str


@contextmanager
def remembered(folder: Path, address: str, note: Callable[[str], None]) -> Iterator[Storage]:
    """A journal file in the folder, or what is at ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE``, by the folder's
    name.

    note: told where a database is waited for. Raises NetsukeError where it is none, refuses, is in use by another
    process for this study, or stays away.
    """
    if not address:
        yield Storage(_journal(folder / "journal.log"), "netsuke")
        return
    name = folder.absolute().name
    with _database(Connecting(address, name, note)) as backend:
        yield Storage(backend, name)


class Connecting:
    """Connects to a database, and waits for one that was there and went away.

    As long as this process is connected it alone works on the study of this name, by a lock of the database's own.
    """

    def __init__(self, address: str, name: str, note: Callable[[str], None]) -> None:
        self.address, self.where = address, _without_password(address)
        self._name, self._note = name, note
        self._lock: Any = None

    def __call__(self) -> Any:
        """A connection, the lock held. Raises NetsukeError where there is none, or another process has the lock."""
        made = self._connected()
        if self._lock is None or not _lives(self._lock):
            self._lock = self._locked(self._connected())
        return made

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _connected(self) -> Any:
        import psycopg

        end, told = time.monotonic() + PATIENCE, False
        while True:
            try:
                return psycopg.connect(self.address, connect_timeout=ANSWERS)
            except psycopg.OperationalError as error:
                if self._lock is None or time.monotonic() > end:
                    raise NetsukeError(self._unreachable(error)) from error
            if not told:
                self._note(f"the database is away: waiting up to {PATIENCE / 60:g} min for it")
            told = True
            time.sleep(POLL)

    def _locked(self, made: Any) -> Any:
        """It is asked for a while: the lock of a connection that was lost outlives it a little."""
        made.autocommit = True
        end = time.monotonic() + ANSWERS
        while not made.execute(LOCK, (f"netsuke {self._name}",)).fetchone()[0]:
            if time.monotonic() > end:
                made.close()
                raise NetsukeError(
                    f"{self.where}: another process works on the study {self._name!r}; wait, or give another --out"
                )
            time.sleep(POLL)
        return made

    def _unreachable(self, error: Exception) -> str:
        if self._lock is not None:
            return f"{self.where}: away for {PATIENCE / 60:g} min; nothing is lost, give the same command again when it is back"
        return f"{self.where}: {' '.join(str(error).split())}"


def _journal(file: Path) -> "BaseStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(file)))


@contextmanager
def _database(connecting: Connecting) -> Iterator["BaseStorage"]:
    """Every connection is tried before its use, and made again where it was lost."""
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    engine = {"creator": connecting, "pool_pre_ping": True}
    try:
        storage = RDBStorage("postgresql+psycopg://", engine_kwargs=engine)
        try:
            yield storage
        finally:
            storage.engine.dispose()
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = " ".join(str(error.__cause__ or error).split("[SQL")[0].split())
        raise NetsukeError(
            f"{connecting.where}: {cause}; nothing but the trial under way is lost, give the same command again"
        ) from error
    finally:
        connecting.close()


def _lives(connection: Any) -> bool:
    import psycopg

    try:
        connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def _without_password(address: str) -> str:
    """The address as it may be shown. Raises NetsukeError where it is none."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise NetsukeError(
            'study: --storage needs a driver: pip install "netsuke[postgres]"'
        ) from error
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except ArgumentError:
        url = None
    if url is None or url.drivername not in SCHEMES:
        raise NetsukeError(
            "study: --storage is no address; give postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    return without_passwords(address)
