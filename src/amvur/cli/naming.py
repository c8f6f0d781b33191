"""Names of result files: one stem per photograph, never two photographs with the same one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path


def output_stems(paths: Sequence[Path]) -> tuple[dict[Path, str], list[str]]:
    """Return a distinct stem for every photograph and a note on each that is not simply its name.

    `a/x.jpg` and `b/x.jpg` become `a_x` and `b_x`; `x.jpg` and `x.png` become `x_jpg` and `x_png`. Names
    that differ in case only count as the same, because some disks think so. A photograph that is
    listed twice is kept once.
    """
    distinct = list({path.resolve(): path for path in reversed(paths)}.values())[::-1]
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in distinct:
        groups[path.stem.casefold()].append(path)
    stems: dict[Path, str] = {}
    taken = {key for key, group in groups.items() if len(group) == 1}
    for group in groups.values():
        for path, name in zip(group, _distinct_names(group), strict=True):
            stems[path] = name if len(group) == 1 else _unused(name, taken)
    notes = [
        f"{path}: another photograph has the same name, so its results are called {stems[path]}."
        for path in distinct
        if stems[path] != path.stem
    ]
    return {path: stems[path] for path in distinct}, notes


def _distinct_names(group: Sequence[Path]) -> list[str]:
    """Return the shortest names that tell photographs of the same stem apart."""
    if len(group) == 1:
        return [group[0].stem]
    names = [path.stem for path in group]
    for depth in range(max(len(path.resolve().parts) for path in group)):
        folders = [path.resolve().parts[1:-1] for path in group]
        prefixes = ["_".join(parts[len(parts) - depth :]) if depth else "" for parts in folders]
        plain = [f"{prefix}_{p.stem}".lstrip("_") for prefix, p in zip(prefixes, group, strict=True)]
        typed = [f"{name}_{path.suffix.lstrip('.')}" for name, path in zip(plain, group, strict=True)]
        for names in (plain, typed):
            if len({name.casefold() for name in names}) == len(group):
                return names
    return names


def _unused(name: str, taken: set[str]) -> str:
    """Return `name`, or with a number behind it if it is taken, and take it."""
    candidate, number = name, 2
    while candidate.casefold() in taken:
        candidate, number = f"{name}-{number}", number + 1
    taken.add(candidate.casefold())
    return candidate
