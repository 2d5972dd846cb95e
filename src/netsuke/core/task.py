"""Data, loss and metric of the job the network does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsuke.core.data import Array, Stream, stream
from netsuke.core.errors import NetsukeError
from netsuke.core.metric import Metric, metric

VALIDATE_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the network is for.

    train, validate, test: (inputs, targets) as arrays or tensors, a dataset, or a loader of
    batches; calibrate: inputs alone will do. Several inputs are a tuple of arrays. metric: a name
    ("accuracy", "top5", "f1", "mae", "rmse", "auc") or a function ``(outputs, targets) -> float``,
    higher is better. loss: None takes the metric's own; or a torch function ``(output, target)``.
    augment: a function of one batch of torch inputs, called on training batches only. teachers: what
    distillation imitates instead of the network itself; student: an architecture of one's own that it
    trains. Both are modules or ``.onnx`` files, and take the network's inputs; a student may also be a
    function of choices that gives a module (``core/choices.py``), which a study then makes. owners: whose each training
    sample is (a speaker, a camera), by which a federation can share them out.

    Every choice is made on ``validate``; ``test`` is read once, for the final evidence.
    """

    train: Any = None
    calibrate: Any = None
    validate: Any = None
    test: Any = None
    metric: str | Callable[..., float] | Metric = "accuracy"
    loss: Callable[..., Any] | None = None
    augment: Callable[..., Any] | None = None
    teachers: tuple[Any, ...] = ()
    student: Any = None
    owners: Any = None


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A task's streams made ready, with notes on what had to be split off where."""

    train: Stream | None
    calibrate: Stream
    validate: Stream
    test: Stream | None
    metric: Metric
    loss: Callable[..., Any] | None = None
    augment: Callable[..., Any] | None = None
    notes: tuple[str, ...] = ()
    teachers: tuple[Any, ...] = ()
    student: Any = None
    owners: Array | None = None


def ready(task: Task, seed: int = 0) -> Splits:
    """Turn a task into streams, splitting off what is not given.

    validate: a tenth of train, else half of test. calibrate: 500 samples of train, else of
    validate. Raises NetsukeError where there is nothing to judge on, a stream is empty, or samples have no owner.
    """
    train = stream(task.train, "train")
    validate, test = stream(task.validate, "validate"), stream(task.test, "test")
    calibrate = stream(task.calibrate, "calibrate", labelled=False)
    owners = None if task.owners is None else _owners(task.owners, train)
    notes = []
    if validate is None and train is not None:
        train, validate = train.split(VALIDATE_SHARE, seed)
        notes.append(f"validate: {len(validate)} samples split off train")
    elif validate is None and test is not None:
        test, validate = test.split(0.5, seed)
        notes.append(f"validate: {len(validate)} samples split off test")
    if validate is None:
        raise NetsukeError("task: give validate, test or train, else nothing can be judged")
    if test is None:
        notes.append("test: none given; the final quality is unknown")
    if calibrate is None:
        source = train if train is not None else validate
        calibrate = source.head(500, seed)
        notes.append(f"calibrate: {len(calibrate)} samples of {source.field}")
    return Splits(
        train=train, calibrate=calibrate, validate=validate, test=test, metric=metric(task.metric),
        loss=task.loss, augment=task.augment, notes=tuple(notes), teachers=task.teachers,
        student=task.student, owners=owners,
    )  # fmt: skip


def _owners(given: Any, train: Stream | None) -> Array:
    owners, count = np.asarray(given), 0 if train is None else len(train)
    if owners.shape != (count,):
        raise NetsukeError(
            f"owners: {owners.shape} of them for {count} training samples; give one for each"
        )
    return owners
