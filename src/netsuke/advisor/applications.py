"""Kinds of use, and what they ask for where nobody says it."""

from dataclasses import dataclass

from netsuke.core.errors import NetsukeError
from netsuke.core.registry import nearest


@dataclass(frozen=True, kw_only=True)
class Application:
    """realtime: an answer that comes late is of no use. battery: what an inference takes decides how long
    it runs. drop: points of quality that are usually given up for it. why: what makes it so."""

    name: str
    realtime: bool
    battery: bool
    drop: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Use:
    """What the model is for, and how long the work may take; None where nobody said. hours: of work."""

    application: Application | None = None
    hours: float | None = None


APPLICATIONS = {
    one.name: one
    for one in (
        Application(
            name="maintenance", realtime=False, battery=True, drop=0.02,
            why="vibration is judged every few minutes, for years, on one battery",
        ),
        Application(
            name="vision", realtime=True, battery=False, drop=0.01,
            why="a frame must be judged before the next one comes",
        ),
        Application(
            name="wearables", realtime=False, battery=True, drop=0.01,
            why="it listens to its sensors all day from a battery of some hundred milliwatt hours",
        ),
        Application(
            name="speech", realtime=True, battery=True, drop=0.01,
            why="people notice an answer that is late by some tenths of a second, and it always listens",
        ),
    )
}  # fmt: skip


def application(name: str) -> Application:
    """The one of that name. Raises NetsukeError listing near names."""
    if name not in APPLICATIONS:
        raise NetsukeError(f"application: no {name!r}; {nearest(name, list(APPLICATIONS))}")
    return APPLICATIONS[name]
