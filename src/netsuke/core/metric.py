"""How good outputs are: one figure, and where it exists one figure a sample."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netsuke.core.errors import NetsukeError

Array = NDArray[Any]
Loss = Literal["cross_entropy", "mse"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A quality figure.

    score: (outputs, targets) → float over all samples. each: the same per sample, so that its mean
    is the score; None where the score is no mean (F1, AUC, RMSE). higher: True where more is
    better. unit: "%" for fractions of 1, "" for the data's own unit. loss: what training minimizes
    when the task gives no loss.
    """

    name: str
    score: Callable[[Array, Array], float]
    each: Callable[[Array, Array], Array] | None = None
    higher: bool = True
    unit: str = "%"
    loss: Loss = "cross_entropy"

    def drop(self, before: float, after: float) -> float:
        """How much worse ``after`` is: positive is a loss. A fraction of ``before`` for metrics in
        the data's own unit (MAE, RMSE), the plain difference for those in fractions of 1."""
        loss = before - after if self.higher else after - before
        return loss if self.unit == "%" else loss / max(abs(before), 1e-12)


def metric(given: str | Callable[..., float] | Metric) -> Metric:
    """The metric of that name ("accuracy", "top5", "f1", "mae", "rmse", "auc"), or a user's own
    function of (outputs, targets), higher is better. Raises NetsukeError for an unknown name."""
    if isinstance(given, Metric):
        return given
    if callable(given):
        return Metric(name=getattr(given, "__name__", "metric"), score=given, unit="")
    if given.startswith("top") and given[3:].isdigit() and int(given[3:]) > 0:
        k = int(given[3:])
        return _mean(given, lambda o, t: _top_k(o, t, k))
    if given not in METRICS:
        raise NetsukeError(
            f"metric: no {given!r}; there are {', '.join(METRICS)}, topK, or a function"
        )
    return METRICS[given]


def _mean(name: str, each: Callable[[Array, Array], Array], **rest: Any) -> Metric:
    return Metric(name=name, each=each, score=lambda o, t: float(np.mean(each(o, t))), **rest)


def _classes(outputs: Array) -> Array:
    """Predicted class: argmax over the class axis (1), or a threshold at 0 for one logit."""
    return (
        outputs.argmax(1)
        if outputs.ndim > 1 and outputs.shape[1] > 1
        else (outputs.reshape(-1) > 0).astype(int)
    )


def _hits(outputs: Array, targets: Array) -> Array:
    hits = (_classes(outputs) == targets.reshape(_classes(outputs).shape)).astype(float)
    each: Array = hits.reshape(len(hits), -1).mean(1)
    return each


def _top_k(outputs: Array, targets: Array, k: int) -> Array:
    best = np.argpartition(-outputs, min(k, outputs.shape[1]) - 1, axis=1)[:, :k]
    each: Array = (best == targets.reshape(-1, 1)).any(1).astype(float)
    return each


def _absolute(outputs: Array, targets: Array) -> Array:
    apart = np.abs(outputs.reshape(len(targets), -1) - targets.reshape(len(targets), -1))
    each: Array = apart.mean(1)
    return each


def _rmse(outputs: Array, targets: Array) -> float:
    return float(np.sqrt(np.mean((outputs.reshape(-1) - targets.reshape(-1)) ** 2)))


def _f1(outputs: Array, targets: Array) -> float:
    """Macro F1 over the classes that occur."""
    predicted, true = _classes(outputs).reshape(-1), targets.reshape(-1)
    scores = []
    for c in np.union1d(predicted, true):
        both = np.sum((predicted == c) & (true == c))
        scores.append(2 * both / (np.sum(predicted == c) + np.sum(true == c)))
    return float(np.mean(scores))


def _auc(outputs: Array, targets: Array) -> float:
    """Area under the ROC curve of two classes, by ranks (ties count half)."""
    score = (
        outputs[:, 1] - outputs[:, 0]
        if outputs.ndim > 1 and outputs.shape[1] == 2
        else outputs.reshape(-1)
    )
    true = targets.reshape(-1).astype(bool)
    positives, negatives = int(true.sum()), int((~true).sum())
    if not positives or not negatives:
        raise NetsukeError("metric auc: targets hold one class only")
    _, rank, count = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - (count - 1) / 2
    return float(
        (middle[rank][true].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    )


METRICS: dict[str, Metric] = {
    "accuracy": _mean("accuracy", _hits),
    "f1": Metric(name="f1", score=_f1),
    "auc": Metric(name="auc", score=_auc),
    "mae": _mean("mae", _absolute, higher=False, unit="", loss="mse"),
    "rmse": Metric(name="rmse", score=_rmse, higher=False, unit="", loss="mse"),
}
