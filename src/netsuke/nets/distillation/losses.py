"""What training minimizes: the task's loss, and how far the student is from its teacher."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from netsuke.core.errors import NetsukeError
from netsuke.core.task import Splits

Loss = Callable[[Any, Any], Tensor]
Answering = Literal["auto", "classes", "tokens", "values"]


def hard_loss(splits: Splits) -> Loss:
    """The task's own loss, else its metric's: cross-entropy over classes, or squared error."""
    if splits.loss is not None:
        return splits.loss
    return _cross_entropy if splits.metric.loss == "cross_entropy" else _squared


def soft_loss(splits: Splits, temperature: float, answers: Answering = "auto") -> Loss:
    """Distance of outputs to the teacher's (Hinton et al., 2015).

    answers: what outputs say: scores of "classes", which come right behind the samples; of "tokens", which
    come last; or "values". By "auto" fractions of 1 (accuracy, F1, AUC) are of classes, all else of values.
    """
    if answers == "auto":
        answers = "classes" if splits.metric.unit == "%" else "values"
    return distance(answers, temperature)


def distance(answers: Answering, temperature: float) -> Loss:
    """T² times the KL divergence of distributions softened by T, the temperature; of values the mean squared
    difference."""
    if answers == "values":
        return _squared
    axis = 1 if answers == "classes" else -1

    def divergence(student: Any, teacher: Any) -> Tensor:
        student, teacher = _one(student), _one(teacher)
        if student.ndim < 2 or student.shape[axis] == 1:
            soft = torch.sigmoid(teacher / temperature)
            return F.binary_cross_entropy_with_logits(student / temperature, soft) * temperature**2
        mine = F.log_softmax(student / temperature, axis).movedim(axis, -1).flatten(0, -2)
        theirs = F.log_softmax(teacher / temperature, axis).movedim(axis, -1).flatten(0, -2)
        return F.kl_div(mine, theirs, reduction="batchmean", log_target=True) * temperature**2

    return divergence


def _cross_entropy(output: Any, target: Tensor) -> Tensor:
    """One logit is the log-odds of class 1."""
    output = _one(output)
    if output.ndim > 1 and output.shape[1] > 1:
        return F.cross_entropy(output, target.long())
    return F.binary_cross_entropy_with_logits(output.reshape(-1), target.reshape(-1).float())


def _squared(output: Any, target: Any) -> Tensor:
    if isinstance(output, Tensor):
        return F.mse_loss(output, target.reshape(output.shape).float())
    return torch.stack([_squared(o, t) for o, t in zip(output, target, strict=True)]).sum()


def _one(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    raise NetsukeError(
        "task: a network with several outputs needs a loss of its own (Task(loss=…))"
    )
