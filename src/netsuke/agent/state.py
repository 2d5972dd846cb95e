"""Where an agent keeps what it must not forget: one folder.

keys.toml          its own keys, for its owner alone
known/NAME.key     whose calls it answers
artifacts/SHA256   files that were shipped to it; SHA256.part one that is on its way
jobs/ID/           what it was asked to measure (job.json, sample.npz) and what came of it (result.json)
parts/NAME.json    what it serves, so that it serves it again after a restart
federation/        its key as a client of a federation, and what that one's server is known by
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netsuke.wire.keys import Keys, Known, own_keys


@dataclass(frozen=True)
class State:
    """An agent's folder."""

    folder: Path

    @property
    def keys(self) -> Keys:
        """Raises NetsukeError where others may read them."""
        return own_keys(self.folder / "keys.toml")

    @property
    def known(self) -> Known:
        return Known(self.folder / "known")

    @property
    def artifacts(self) -> Path:
        return self._made("artifacts")

    @property
    def jobs(self) -> Path:
        return self._made("jobs")

    @property
    def parts(self) -> Path:
        return self._made("parts")

    @property
    def federation(self) -> Path:
        return self._made("federation")

    def _made(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path
