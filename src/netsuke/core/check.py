"""A check: Evidence → Verdict."""

from abc import ABC, abstractmethod
from typing import ClassVar

from netsuke.core.budget import Budget
from netsuke.core.evidence import Evidence
from netsuke.core.verdict import Verdict


class Check(ABC):
    """Judges evidence against limits. Pure: the same evidence gives the same verdict."""

    name: ClassVar[str]

    @abstractmethod
    def judge(
        self, evidence: tuple[Evidence, ...], budget: Budget, device: str
    ) -> tuple[Verdict, ...]:
        """One verdict per limit this check knows; an empty tuple where it has nothing to say."""
