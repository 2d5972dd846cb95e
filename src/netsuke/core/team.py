"""Several processes that carve one model together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Team:
    """Each walks the same walk, and trains on its part of every batch. rank: which of them this one is; the first
    leads: it measures, writes and speaks."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This one's of so many samples; of fewer than two each everybody takes all, for BatchNorm cannot learn from
        one."""
        if count < 2 * self.size:
            return slice(0, count)
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def share(self, count: int) -> float:
        """What this one's mean is worth in the mean over so many samples."""
        part = self.part(count)
        mine = part.stop - part.start
        return 1 / self.size if mine == count else mine / count


ALONE = Team()
