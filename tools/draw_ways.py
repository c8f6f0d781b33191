"""Draw which modules a photograph, a training batch and an evaluation go through, by watching the code run.

    python tools/draw_ways.py [photograph] [training_batch] [evaluation]

writes docs/images/way_of_a*.svg (all three by default; all but the photograph's need `pip install
'amvur[train]'`). A line is a module, in the order in which a function of it is first called; its dot stands
in the column of its layer (the import contract in pyproject.toml). Compiled inner loops (`_…_numba`) are left
out, and what modules do when they are imported does not count.
"""

from __future__ import annotations

import ast
import contextlib
import re
import sys
import tempfile
import threading
import tomllib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "amvur"
IMAGES = ROOT / "docs" / "images"
EXAMPLE = ROOT / "examples" / "open_palm.jpg"


class Watch:
    """Notes the modules of amvur whose functions are called, in any thread, in the order of their first call.

    With `within` (names as "training.loop._step") only what these functions call counts, themselves included.
    """

    def __init__(self, within: Collection[str] = ()) -> None:
        self.modules: list[str] = []
        self._within, self._depth = set(within), 0 if within else 1
        self._importing: dict[int, int] = {}

    def __enter__(self) -> Watch:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        step, code, thread = 1 if event == "call" else -1, frame.f_code, threading.get_ident()
        if code.co_name == "<module>":
            self._importing[thread] = max(0, self._importing.get(thread, 0) + step)
            return
        module = module_of(code.co_filename)
        if module is None or self._importing.get(thread):
            return
        if f"{module}.{code.co_name}" in self._within:
            self._depth += step
        if event == "call" and self._depth and module not in self.modules:
            self.modules.append(module)


def module_of(filename: str) -> str | None:
    """Return the module of a file by its name below amvur, None for other files and for compiled loops."""
    if not filename.startswith(f"{SOURCE}/") or not filename.endswith(".py"):
        return None
    name = filename[len(str(SOURCE)) + 1 : -3].replace("/", ".").removesuffix("__init__").rstrip(".")
    return None if not name or name.endswith("_numba") or name == "compiled" else name


def photograph() -> list[str]:
    """Return the modules between a photograph's file and its results; nothing here needs torch."""
    import numpy as np

    from amvur import Reconstructor, draw_overlay, load_image, write_glb, write_json
    from amvur.export import ImageRecord
    from amvur.structures import Camera

    def go(reconstruct: Reconstructor, folder: Path) -> None:
        image = load_image(EXAMPLE).pixels
        hands = reconstruct(image)
        draw_overlay(image, hands)
        write_glb(folder / "hand.glb", hands)
        record = ImageRecord(EXAMPLE.name, image.shape[1], image.shape[0])
        write_json(folder / "hand.json", record, Camera(np.eye(3), "given", 4, 3), hands)

    with tempfile.TemporaryDirectory() as name, Reconstructor() as reconstruct:
        go(reconstruct, Path(name))  # what is loaded or compiled once is no part of the way
        with Watch() as watch:
            go(reconstruct, Path(name))
    return watch.modules


def training_batch() -> list[str]:
    """Return the modules that make the pictures of a step and the step, of a small `amvur train`."""
    within = ("training.loop._prepare", "training.loop._step")
    options = "--preset tiny --steps 1 --batch-size 2 --pool-size 2 --held-out 0 --device cpu"
    with tempfile.TemporaryDirectory() as name, Watch(within) as watch:
        _amvur("train", "--output", f"{name}/run", *options.split())
    return watch.modules


def evaluation() -> list[str]:
    """Return the modules of `amvur evaluate` on a few synthetic hands, by the network that ships."""
    within = ("evaluation.export.export_predictions", "cli.evaluate._score", "evaluation.table.table_of")
    with tempfile.TemporaryDirectory() as name:
        _amvur("synthesize", "--count", "2", "--size", "224", "--output", f"{name}/hands")
        with Watch(within) as watch:
            _amvur(
                *("evaluate", "--checkpoint", "default", "--device", "cpu"),
                *("--data", f"{name}/hands", "--output", f"{name}/run"),
            )
    return watch.modules


def _amvur(*arguments: str) -> None:
    """Run a command; raises `SystemExit` if it fails."""
    from amvur.cli import main

    with contextlib.redirect_stdout(sys.stderr):
        try:
            main(arguments)
        except SystemExit as end:
            if end.code:
                raise


WAYS: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "photograph": (
        "The way of a photograph: from a file to hands, an overlay, a GLB and a report",
        photograph,
    ),
    "training_batch": (
        "The way of a training batch: pictures made, shown, compared; one step",
        training_batch,
    ),
    "evaluation": ("The way of an evaluation: predictions exported, then scored", evaluation),
}


ROW, TOP, LEFT, LANE, WIDTH = 21, 132, 18, 25, 940
COLORS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#2a9d9d", "#9c755f", "#7f7f7f")


def layers() -> list[list[str]]:
    """Return the layers of the import contract, the highest first."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    rows = contract["contracts"][0]["layers"]
    return [[name.removeprefix("amvur.") for name in re.split(r"\s*\|\s*", row)] for row in rows]


def layer_of(module: str, rows: list[list[str]]) -> int:
    """Return the number of a module's layer; raises `ValueError` for a module that is in none."""
    for number, names in enumerate(rows):
        if module.split(".")[0] in names or module.strip("_").split("_")[0] in names:  # _raster_torch: raster
            return number
    raise ValueError(f"amvur.{module} is in no layer of pyproject.toml: add it to [tool.importlinter].")


def svg(title: str, modules: list[str]) -> str:
    """Return the picture of a way."""
    rows = layers()
    numbers = [layer_of(module, rows) for module in modules]
    used = sorted(set(numbers))
    lane = {number: LEFT + place * LANE + LANE / 2 for place, number in enumerate(used)}
    text = LEFT + len(used) * LANE + 16
    height = TOP + ROW * len(modules) + 14
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" font-family="system-ui, Helvetica, Arial, sans-serif">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="{WIDTH - 14}" y="24" font-size="15" text-anchor="end" fill="#222">',
            f"{escape(title)}</text>",
            *_lanes(used, rows, modules, lane, height),
            *_path([lane[number] for number in numbers]),
            *_lines(
                modules,
                [lane[n] for n in numbers],
                [COLORS[used.index(n) % len(COLORS)] for n in numbers],
                text,
            ),
            "</svg>",
            "",
        ]
    )


def _lanes(
    used: list[int], rows: list[list[str]], modules: list[str], lane: dict[int, float], height: int
) -> Iterator[str]:
    """Draw a column a layer, headed by the packages of it that are met."""
    met = {module.split(".")[0] for module in modules}
    for place, number in enumerate(used):
        x, names = lane[number], [name for name in rows[number] if name in met]
        head = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        color = COLORS[place % len(COLORS)]
        yield f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{height - 10}" stroke="#e4e4e4"/>'
        yield (
            f'<text x="{x}" y="{TOP - 14}" font-size="12" fill="{color}" '
            f'transform="rotate(-38 {x} {TOP - 14})">{escape(head)}</text>'
        )


def _path(xs: list[float]) -> Iterator[str]:
    """Draw the way from dot to dot."""
    points = " ".join(f"{x:g},{_y(row):g}" for row, x in enumerate(xs))
    yield f'<polyline points="{points}" fill="none" stroke="#b5b5b5" stroke-width="1.5"/>'


def _lines(modules: list[str], xs: list[float], colors: list[str], text: int) -> Iterator[str]:
    """Draw dots, names and what the modules say of themselves."""
    for row, (module, x, color) in enumerate(zip(modules, xs, colors, strict=True)):
        y, said = _y(row), escape(summary(module))
        yield f'<circle cx="{x:g}" cy="{y:g}" r="5" fill="{color}"/>'
        yield (
            f'<text x="{text}" y="{y + 4:g}" font-size="11" fill="#999" text-anchor="end">{row + 1}</text>'
            f'<text class="module" x="{text + 10}" y="{y + 4:g}" font-size="12.5" fill="#111" '
            f'font-family="ui-monospace, Menlo, Consolas, monospace">{module}</text>'
            f'<text x="{text + 262}" y="{y + 4:g}" font-size="12" fill="#666">{said}</text>'
        )


def _y(row: int) -> float:
    return TOP + ROW * (row + 0.5)


def summary(module: str, longest: int = 62) -> str:
    """Return the first sentence of a module's docstring, as short as a line of the picture."""
    path = SOURCE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    said = " ".join(
        (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split()
    )
    said = re.split(r"(?<!eqs)\. ", said)[0].rstrip(".").replace("`", "")
    return said if len(said) <= longest else said[:longest].rsplit(" ", 1)[0].rstrip(",;:") + " …"


def picture(name: str) -> Path:
    """Return the file of a way's picture."""
    return IMAGES / f"way_of_{'an' if name[0] in 'aeiou' else 'a'}_{name}.svg"


def drawn(name: str) -> list[str]:
    """Return the modules in a picture that was drawn before."""
    text = picture(name).read_text(encoding="utf-8")
    return re.findall(r'<text class="module"[^>]*>([\w.]+)</text>', text)


def main() -> None:
    names = sys.argv[1:] or list(WAYS)
    if unknown := set(names) - set(WAYS):
        raise SystemExit(f"Wanted some of {', '.join(WAYS)}, found {', '.join(sorted(unknown))}.")
    for name in names:
        title, way = WAYS[name]
        path = picture(name)
        path.write_text(svg(title, way()), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
