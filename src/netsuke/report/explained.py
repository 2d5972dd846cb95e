"""An explanation in words: a layer's cells, and what a remedy gave back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netsuke.core.quantity import show

COLUMNS = ("bits", "share of harm", "SQNR", "alone", "range", "encoded", "outlier", "beyond")
"""What ``explained_cells`` gives. SQNR: of all error so far, dB; alone: of the layer's own. outlier: largest
magnitude over the 99.9th percentile. beyond: share of values outside the encoded range."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """An explanation ready for print. rows: (layer, cells)."""

    says: str
    samples: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    findings: tuple[str, ...]
    recovered: tuple[str, ...]


def explained(explanation: Mapping[str, Any] | None) -> Explained | None:
    """The words of ``explanation.json``; None where the run was not explained."""
    if explanation is None:
        return None
    lines = (*explanation.get("relief", ()), *explanation.get("tried", ()))
    return Explained(
        says=explanation["says"],
        samples=explanation.get("samples", 0),
        columns=COLUMNS,
        rows=tuple((row["name"], explained_cells(row)) for row in explanation["layers"]),
        findings=tuple(finding(found) for found in explanation["findings"]),
        recovered=tuple(recovery(line) for line in lines),
    )


def finding(found: Mapping[str, Any]) -> str:
    """One finding in a sentence, and its remedy in another."""
    return f"{found['layer']}: {found['cause']}: {found['says']}. Remedy: {found['remedy']}."


def explained_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The figures of one layer, under ``COLUMNS``."""
    span = row["encoded"]
    return (
        f"w{row['weight_bits']} a{row['activation_bits']}".replace("w32 ", "").replace(" a32", ""),
        f"{row['share']:.0%}",
        _decibels(row["sqnr"]),
        _decibels(row["own_sqnr"]),
        _span(row["low"], row["high"]),
        _span(*span) if span else "–",
        f"{row['outlier']:.3g}×" if row["outlier"] is not None else "∞",
        _percent(row["saturated"]),
    )


def recovery(line: Mapping[str, Any]) -> str:
    """What a layer left in float, or a recipe tried, gave back; or why it was refused."""
    what = f"{line['layer']} left in float" if "layer" in line else named(line["recipe"])
    if "refused" in line:
        return f"{what}: not tried: {line['refused']}"
    unit = "pt" if line["unit"] == "%" else "%"
    gained = f"{100 * line['recovered']:+.1f} {unit}".replace("-", "−")
    return f"{what}: {gained}, quality {show(line['quality'], line['unit'])} (simulated)"


def named(recipe: Sequence[Mapping[str, Any]]) -> str:
    """``quantize.equalize → quantize.static (estimator mse, …)``; only settings that are short."""
    return " → ".join(
        f"{step['use']}"
        + (
            f" ({', '.join(f'{k} {v}' for k, v in step.items() if k != 'use')})"
            if len(step) > 1
            else ""
        )
        for step in recipe
    )


def _percent(share: float) -> str:
    return "0" if share == 0 else f"{share:.2%}" if share >= 1e-4 else "<0.01%"


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}".replace("-", "−")


def _span(low: float, high: float) -> str:
    return f"{low:.3g} … {high:.3g}".replace("-", "−")
