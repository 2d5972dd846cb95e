"""Netsuke carves trained neural networks until they fit edge devices, and proves they still work.

The names below are imported when first used, so ``import netsuke`` is light and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Budget": "core.budget",
    "Evidence": "core.evidence",
    "Metric": "core.metric",
    "NetsukeError": "core.errors",
    "Recipe": "core.recipe",
    "Task": "core.task",
    "Verdict": "core.verdict",
    "advise": "flow",
    "convert": "training",
    "distill": "lesson",
    "fit": "flow",
    "fit_each": "flow",
    "inspect": "flow",
    "judge": "flow",
    "load": "flow",
    "measure": "flow",
    "prepare": "training",
    "sparsify": "sparsifier",
    "walk": "flow",
    "weights": "intake",
}
_FOLDERS = ("gradients",)
"""Of names, as ``netsuke.gradients.compress``."""
__all__ = sorted([*_HOME, *_FOLDERS, "__version__"])

if TYPE_CHECKING:
    from netsuke import gradients as gradients
    from netsuke.core.budget import Budget as Budget
    from netsuke.core.errors import NetsukeError as NetsukeError
    from netsuke.core.evidence import Evidence as Evidence
    from netsuke.core.metric import Metric as Metric
    from netsuke.core.recipe import Recipe as Recipe
    from netsuke.core.task import Task as Task
    from netsuke.core.verdict import Verdict as Verdict
    from netsuke.flow import advise as advise
    from netsuke.flow import fit as fit
    from netsuke.flow import fit_each as fit_each
    from netsuke.flow import inspect as inspect
    from netsuke.flow import judge as judge
    from netsuke.flow import load as load
    from netsuke.flow import measure as measure
    from netsuke.flow import walk as walk
    from netsuke.intake import weights as weights
    from netsuke.lesson import distill as distill
    from netsuke.sparsifier import sparsify as sparsify
    from netsuke.training import convert as convert
    from netsuke.training import prepare as prepare


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return import_module(f"netsuke.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'netsuke' has no attribute {name!r}")
    return getattr(import_module(f"netsuke.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
