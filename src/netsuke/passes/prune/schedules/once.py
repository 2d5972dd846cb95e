"""At once, after training."""

from typing import ClassVar

from netsuke.nets.sparse.schedule import Job, Pruned, Schedule, said


class Once(Schedule):
    """Everything leaves in one go, the rest makes up for it on calibration data, without labels; then
    it is retrained where there is training data."""

    name: ClassVar[str] = "once"
    trains: ClassVar[bool] = False

    def prune(self, job: Job) -> Pruned:
        network, rebuilt = job.at_once(job.network)
        if not job.trains:
            return Pruned(network, (rebuilt, "not retrained"))
        made = job.trained(network)
        return Pruned(made.network, (rebuilt, *said(job, made)))
