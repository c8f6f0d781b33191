"""Makes docs/results.md from the files in results/: published rows and measured ones, in tables of their own.

    python scripts/make_tables.py [--check]

`--check` writes nothing and fails if the page is not what the files give.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "results.md"
DATASETS = {
    "ho3d_v2": "HO3D v2 (the paper's Table 1)",
    "ho3d_v3": "HO3D v3 (the paper's Table 2)",
    "freihand": "FreiHAND",
    "synth-v1": "synth-v1",
}
HEAD = """# Results

Made by `scripts/make_tables.py` from the files in `results/`; not to be edited. Published figures are copied
from where their table says. Measured ones come from results files that `amvur evaluate` wrote on the data
named, and a table is there only where such a file is. See [evaluation](evaluation.md) for how to make one.

Errors are means over the set in mm after Procrustes alignment (HO3D, FreiHAND: the official one, which may
mirror); AUC is up to 50 mm; F5 and F15 are F-scores at 5 and 15 mm.

Elsewhere: joints on [labelled photographs](network.md#the-network-that-ships),
[textures](texture.md#how-good-it-is).
"""
SYNTH_HEAD = """`shipped` is the network that ships by itself, `shipped_reconstruct` all of
`amvur reconstruct` (detector, network and fit), the hand's box given.
"""
EXPERIMENTS = {
    "six_settings_": """### An experiment

[Six settings at equal steps](experiments/six_settings.md), supervised and from 2D joints alone.
"""
}
"""Rows of `synth-v1` that are no shipped network, by how their names begin, with what stands above them."""
NOTHING = "Nothing measured yet."
FIGURES = ("AUC joints", "joints mm", "AUC vertices", "vertices mm", "F5", "F15")


def page(results: Path) -> str:
    """Return the text of the page."""
    found = {path.name for path in (results / "measured").iterdir() if path.is_dir()}
    if unknown := found - set(DATASETS):
        raise SystemExit(f"{results / 'measured'}: folders of no known dataset: {', '.join(sorted(unknown))}")
    parts = [HEAD]
    for name, title in DATASETS.items():
        parts.append(f"## {title}\n")
        path = results / "published" / f"{name}.json"
        if path.is_file():
            parts += ["### Published\n", published(json.loads(path.read_text(encoding="utf-8")))]
        parts += ["### Measured\n", measured(name, sorted((results / "measured" / name).glob("*.json")))]
    parts += [
        "## The field\n",
        field(json.loads((results / "published" / "field.json").read_text(encoding="utf-8"))),
    ]
    return "\n".join(parts)


def published(content) -> str:
    rows = [("scheme", "method", "category", *FIGURES)]
    for row in content["rows"]:
        figures = (row["auc_j"], row["mpjpe_mm"], row["auc_v"], row["mpvpe_mm"], row["f_5"], row["f_15"])
        rows.append((row["scheme"], row["method"], row["category"], *_numbers(figures)))
    return f"Source: {content['source']}. {content['note']}\n\n{table(rows)}"


def field(content) -> str:
    names = ("freihand", "ho3d_v2", "ho3d_v3")
    rows = [("method", "FreiHAND", "HO3D v2", "HO3D v3", "source")]
    for row in content["rows"]:
        pairs = (" / ".join("–" if x is None else str(x) for x in row[n] or [None, None]) for n in names)
        rows.append((row["method"], *pairs, row["source"]))
    return f"{content['note']}\n\n{table(rows)}"


def measured(name: str, paths: list[Path]) -> str:
    if not paths:
        return f"{NOTHING}\n"
    contents = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    try:
        if name == "synth-v1":
            return synthetic_tables(contents)
        return official_table(contents)
    except (KeyError, TypeError) as error:
        raise SystemExit(f"results/measured/{name}: not what `amvur evaluate` writes ({error!r})") from error


def synthetic_tables(contents) -> str:
    """Two tables of what ships, then two of each experiment."""
    rest = {name: x for name, x in contents.items() if not name.startswith(tuple(EXPERIMENTS))}
    parts = [SYNTH_HEAD, official_table(rest), strata_table(rest)] if rest else []
    for start, head in EXPERIMENTS.items():
        own = {name: x for name, x in contents.items() if name.startswith(start)}
        parts += [head, official_table(own), strata_table(own)] if own else []
    return "\n".join(parts)


def official_table(contents) -> str:
    """Rows of networks, and of files scored by --protocol (figures in cm there)."""
    rows = [("method", "samples", *FIGURES)]
    for name, content in contents.items():
        if content.get("schema") == "amvur-results/1":
            joints, vertices = content["joints"]["procrustes"], content["vertices"]["procrustes"] or {}
            figures = (
                joints["auc"],
                joints["mean_mm"],
                *map(vertices.get, ("auc", "mean_mm", "f_score_5", "f_score_15")),
            )
            rows.append((name, str(content["scored"]), *_numbers(figures)))
        else:
            key = "xyz_procrustes_al" if "xyz_procrustes_al_mean3d" in content else "xyz_al"
            names = (
                f"{key}_auc3d",
                f"{key}_mean3d",
                "mesh_al_auc3d",
                "mesh_al_mean3d",
                "f_al_score_5",
                "f_al_score_15",
            )
            figures = [content[n] * (10 if n.endswith("mean3d") else 1) for n in names]
            rows.append((name, "all", *_numbers(figures)))
    return table(rows)


def strata_table(contents) -> str:
    """Rows of networks with their errors by occlusion; proper rotations only, and the intervals' coverage."""
    bins: list[str] = []
    for content in contents.values():
        names = (n for n in content["strata"]["procrustes_strict"] if n.startswith("occlusion"))
        bins += [n for n in names if n not in bins]
    rows = [
        (
            "network",
            "samples",
            "joints mm",
            "95 %",
            *bins,
            "vertices mm",
            "wrist on wrist mm",
            "90 % intervals hold",
            "AUSE",
        )
    ]
    for name, content in contents.items():
        joints, vertices = content["joints"]["procrustes_strict"], content["vertices"]["procrustes_strict"]
        strata = content["strata"]["procrustes_strict"]
        stated = content["uncertainty"]["procrustes_strict"]["joints"]
        low, high = joints["mean_mm_interval_95"]
        figures = [strata.get(n, {}).get("mean_mm") for n in bins] + [(vertices or {}).get("mean_mm")]
        row = (name, str(content["scored"]), f"{joints['mean_mm']:.2f}", f"{low:.2f}–{high:.2f}")
        row += tuple("–" if x is None else f"{x:.2f}" for x in figures)
        row += (f"{content['joints']['root_relative']['mean_mm']:.2f}",)
        rows.append((*row, f"{stated['coverage_90']:.1%}", f"{stated['ause']:.3f}"))
    note = (
        "Procrustes alignment by proper rotations; occlusion is the share of the hand that does not show.\n\n"
    )
    return note + table(rows)


def table(rows) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:], ""])


def _numbers(figures) -> tuple[str, ...]:
    """AUC, mm, AUC, mm, F, F as text."""
    digits = (3, 1, 3, 1, 3, 3)
    return tuple("–" if x is None else f"{x:.{d}f}" for x, d in zip(figures, digits, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    text = page(ROOT / "results")
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE} is not what results/ gives. Run: python scripts/make_tables.py")


if __name__ == "__main__":
    main()
