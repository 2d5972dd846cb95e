"""How to train."""

from dataclasses import dataclass, field
from typing import Literal

from netsuke.nets.distillation.logits import Logits
from netsuke.nets.distillation.losses import Answering
from netsuke.nets.distillation.method import Method

Optimizer = Literal["sgd", "adamw"]


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """How to train: a short warm-up, then cosine to zero.

    lr: the highest learning rate. optimizer: SGD with Nesterov momentum 0.9, or AdamW (Loshchilov and
    Hutter, 2019). temperature, soft: of distillation, and its share of the loss.
    answers: how outputs are compared, as in ``soft_loss``. method, pairs: what is imitated beside
    outputs, and in which modules where shapes do not say it.
    limit: samples an epoch, None for all. precision: "auto" computes in bfloat16 where the processor
    has instructions for it (weights stay float32).
    """

    epochs: int = 3
    lr: float = 0.02
    batch: int = 128
    optimizer: Optimizer = "sgd"
    temperature: float = 4.0
    soft: float = 0.9
    answers: Answering = "auto"
    method: Method = field(default_factory=Logits)
    pairs: tuple[str, ...] = ()
    weight_decay: float = 5e-4
    limit: int | None = None
    precision: str = "auto"
