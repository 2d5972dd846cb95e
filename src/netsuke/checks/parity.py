"""Whether what runs is what was simulated."""

from typing import ClassVar

from netsuke.core.budget import Budget
from netsuke.core.check import Check
from netsuke.core.evidence import Evidence, find
from netsuke.core.quantity import show
from netsuke.core.verdict import Verdict

AGREEMENT = 0.999
# From so many samples on, one that differs is no sign of less than 99.9 %: such a model would show
# one with a chance of 5 % (1 - 0.999 ** 52).
ONE_ALLOWED_FROM = 52


class Parity(Check):
    """Passes where 99.9 % of the predictions agree; on fewer than 1,000 samples, one may differ
    (none below 52). Judges the simulation against the runtime on this machine, whatever the device."""

    name: ClassVar[str] = "parity"

    def judge(
        self, evidence: tuple[Evidence, ...], budget: Budget, device: str
    ) -> tuple[Verdict, ...]:
        found = find(evidence, "agreement", device) or find(evidence, "agreement", "local")
        if found is None:
            reason = "parity: the runtime was not compared with a simulation"
            return (Verdict(outcome="unknown", check=self.name, reason=reason),)
        differ = round((1 - found.value) * found.samples)
        allowed = int((1 - AGREEMENT) * found.samples + 1e-9)
        if found.samples >= ONE_ALLOWED_FROM:
            allowed = max(1, allowed)
        reason = (
            f"parity: {differ:,} of {found.samples:,} predictions differ between simulation and "
            f"runtime ({show(found.value, '%')} agree, {allowed:,} may differ)"
        )
        outcome = "pass" if differ <= allowed else "fail"
        return (Verdict(outcome=outcome, check=self.name, reason=reason, evidence=(found,)),)  # type: ignore[arg-type]
