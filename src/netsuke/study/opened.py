"""A laboratory opened: the original measured, and all that trials share made ready."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.fitting import Options, original_state, workbench
from netsuke.journal import fingerprint
from netsuke.study.laboratory import Laboratory
from netsuke.study.prefixes import Prefixes


@dataclass(frozen=True, kw_only=True)
class Opening:
    """out: the study's folder, where what passes made is kept. drafts: where files are made that are measured, for
    this process alone. proxy: by its name, "" for none."""

    out: Path
    drafts: Path
    objectives: tuple[str, ...]
    proxy: str = ""
    seed: int = 0
    observer: Observer = field(default_factory=Observer)


@contextmanager
def opened(model: Model, goal: Goal, how: Opening) -> Iterator[Laboratory]:
    """Raises NetsukeError where there is no such proxy, or the original cannot be measured."""
    from netsuke.nets.proxies.proxy import proxy

    sorter = proxy(how.proxy) if how.proxy else None
    options = Options(out=how.out, seed=how.seed, observer=how.observer)
    with workbench(goal, options, how.drafts) as bench:
        prefixes = Prefixes(how.out / "models", fingerprint(model, goal, None))
        original = original_state(bench, model)
        yield Laboratory(bench, original, prefixes, how.objectives, sorter)
