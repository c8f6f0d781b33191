"""Results as a short table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TITLES = {
    "unaligned": "unaligned",
    "root_relative": "wrist on wrist",
    "scale_translation": "scale, translation",
    "procrustes": "Procrustes, official",
    "procrustes_strict": "Procrustes, no mirror",
}
_HEAD = ("", "joints mm", "95 %", "AUC", "vertices mm", "95 %", "AUC", "F5", "F15")


def table_of(results: Mapping[str, Any]) -> str:
    """Return the main figures of `amvur.evaluation.results.results_of` as lines of text."""
    if not results["scored"]:
        if "joints_2d" in results:
            return f"{results['samples']} samples were predicted\n{_flat(results['joints_2d'])}"
        return (
            f"{results['samples']} samples were predicted; none has labels in this data set, so that nothing "
            "can be scored here."
        )
    rows = [_HEAD]
    for name, title in TITLES.items():
        joints, vertices = results["joints"][name], results["vertices"][name]
        if joints is not None:
            rows.append((title, *_errors(joints), *_errors(vertices), *_f(vertices)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(_pad(cell, width, i) for i, (cell, width) in enumerate(zip(r, widths, strict=True)))
             for r in rows]  # fmt: skip
    return "\n".join(
        [f"{results['scored']} of {results['samples']} samples scored", *lines, *_notes(results)]
    )


def _flat(described: Mapping[str, Any]) -> str:
    """Return the line on errors in the picture."""
    low, high = described["mean_px_interval_95"]
    by_size = "labels that coincide tell no size"
    if described["sized"]:
        by_size = (
            f"{described['mean_percent_of_size']:.1f} % of the hand's size; within 5 % "
            f"{described['pck_5_percent']:.1%}, within 10 % {described['pck_10_percent']:.1%}"
        )
    return (
        f"2D joints of {described['count']} hands: {described['mean_px']:.2f} px off on average "
        f"({low:.2f}-{high:.2f}), {by_size}; stated 50 % and "
        f"90 % discs hold {described['coverage_50']:.1%} and {described['coverage_90']:.1%}"
    )


def _errors(described: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if described is None:
        return "-", "-", "-"
    low, high = described["mean_mm_interval_95"]
    return f"{described['mean_mm']:.2f}", f"{low:.2f}-{high:.2f}", f"{described['auc']:.3f}"


def _f(described: Mapping[str, Any] | None) -> tuple[str, str]:
    first, second = (None if described is None else described.get(key) for key in ("f_score_5", "f_score_15"))
    return ("-" if first is None else f"{first:.3f}"), ("-" if second is None else f"{second:.3f}")


def _notes(results: Mapping[str, Any]) -> list[str]:
    """Return lines on uncertainty, place, strata and what is missing."""
    lines = []
    for name, described in results["uncertainty"].items():
        if isinstance(described, dict):
            joints = described["joints"]
            lines.append(
                f"stated intervals of joints ({TITLES[name]}): 50 % hold {joints['coverage_50']:.1%}, "
                f"90 % hold {joints['coverage_90']:.1%}; AUSE {joints['ause']:.3f}"
            )
    place = results["camera_space"]
    if place is not None:
        lines.append(
            f"wrist before the camera: {place['root']['mean_mm']:.1f} mm off, "
            f"{place['root_lateral']['mean_mm']:.1f} across and {place['root_depth']['mean_mm']:.1f} along "
            "the line of sight"
        )
    strata = results["strata"]["procrustes_strict"]
    for group in ("occlusion", "skin", "hands"):
        shown = [f"{n} {s['mean_mm']:.2f}" for n, s in strata.items() if group in n and s["count"]]
        if shown:
            lines.append(f"joints mm ({TITLES['procrustes_strict']}): {', '.join(shown)}")
    if results["vertices"]["procrustes"] is None:
        lines.append(
            "vertices: not scored (not wanted, not labelled, or of another hand model than the labels)"
        )
    return lines


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)
