"""`amvur reconstruct`: photographs in, reports, overlays and meshes out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from amvur.cli.checks import check_options, check_output
from amvur.cli.naming import output_stems
from amvur.cli.options import Reconstruct
from amvur.cli.terminal import progress, say, tell
from amvur.errors import AmvurError, InputError, OutputError
from amvur.export import (
    ImageRecord,
    glb_bytes,
    merge_meshes,
    obj_bytes,
    ply_bytes,
    read_report,
    report,
    report_bytes,
    scene_mesh,
    write_files,
)
from amvur.export.ownership import Earlier, check_replaceable, earlier_results, overlay_bytes, remove_stale
from amvur.structures import HandReconstruction, RgbImage
from amvur.whole_files import remove_leftovers

NO_HAND = (
    "No hand was found. If there is one, say where: --box X0 Y0 X1 Y1 (pixels), "
    "or take a picture with the whole hand in it."
)


class Engine(Protocol):
    """What reconstructs: `amvur.Reconstructor`, or something like it in tests."""

    def __call__(
        self, image: RgbImage, *, intrinsics: Any, fov_deg: float | None, boxes: Any, side: Any
    ) -> list[HandReconstruction]:
        """Return the hands of an image."""
        ...


@dataclass
class Tally:
    """What happened so far."""

    photographs: int = 0
    hands: int = 0
    without_hand: int = 0
    failed: int = 0
    started: float = field(default_factory=time.monotonic)

    def summary(self, output: Path) -> str:
        """Return the line that ends a run."""
        done = self.photographs - self.failed
        seconds = time.monotonic() - self.started
        return (
            f"{done} of {self.photographs} photographs processed, {self.hands} hands found "
            f"({self.without_hand} photographs without a hand), {self.failed} failed; "
            f"results in {output} ({seconds:.1f} s)"
        )


def run_reconstruct(options: Reconstruct, reconstructor: Engine | None = None) -> int:
    """Reconstruct all photographs; return 0 if all were processed and 1 if some failed.

    Raises an `AmvurError` when nothing can be processed at all: wrong usage, an unusable hand model,
    detector or device, an output folder that cannot be written to.
    """
    check_options(options)
    tally = Tally()
    paths = list(_find(options.paths, tally))
    if paths:
        check_output(options.output)
        remove_leftovers(options.output)
        stems, notes = output_stems(paths)
        for note in notes:
            say(note)
        _drop_unwritable(stems, options, tally)
        if not stems:
            tell(tally.summary(options.output))
            return 1
        engine = reconstructor if reconstructor is not None else _make_engine(options)
        _process_all(stems, options, engine, tally)
    tell(tally.summary(options.output))
    return 1 if tally.failed else 0


def _drop_unwritable(stems: dict[Path, str], options: Reconstruct, tally: Tally) -> None:
    """Tell and leave out photographs whose results cannot be put where they belong."""
    for path, stem in list(stems.items()):
        try:
            _check_place(stem, options)
        except OutputError as error:
            tally.photographs += 1
            _fail(path, str(error), tally)
            del stems[path]


def _check_place(stem: str, options: Reconstruct) -> Earlier:
    """Return what an earlier run left of a photograph; raises `OutputError` for files of somebody else's.

    Meshes beyond that of the first hand are only looked at once it is known how many there are.
    """
    earlier = earlier_results(options.output, stem)
    first = [f"{stem}_overlay.png", *(f"{stem}_0.{kind}" for kind in options.format)]
    check_replaceable(options.output / name for name in first)
    return earlier


def _process_all(stems: dict[Path, str], options: Reconstruct, engine: Engine, tally: Tally) -> None:
    """Process every photograph; a failure is told and does not stop the others."""
    for path, stem in progress(stems.items(), unit="photo"):
        tally.photographs += 1
        try:
            hands = _process(path, stem, options, engine)
        except AmvurError as error:
            _fail(path, str(error), tally)
        except Exception as error:
            if os.environ.get("AMVUR_DEBUG"):
                raise
            kind = f"{type(error).__name__}: {' '.join(str(error).split())}"
            _fail(path, f"{kind}. This is a bug: please report it (AMVUR_DEBUG=1 tells more).", tally)
        else:
            tally.hands += hands
            tally.without_hand += hands == 0


def _process(path: Path, stem: str, options: Reconstruct, engine: Engine) -> int:
    """Reconstruct one photograph, write its results and return the number of hands."""
    from amvur.image import load_image

    earlier = _check_place(stem, options)
    loaded = load_image(path)
    intrinsics = None if options.intrinsics is None else _matrix(options.intrinsics)
    boxes = None if options.box is None else np.array([options.box], dtype=np.float64)
    hands = engine(loaded.pixels, intrinsics=intrinsics, fov_deg=options.fov, boxes=boxes, side=options.side)
    warnings = [*loaded.warnings, *([] if hands else [NO_HAND])]
    contents = _results(path, stem, options, loaded.pixels, hands, warnings)
    check_replaceable(contents)
    write_files(contents)
    remove_stale(earlier.files, contents)
    old = earlier.photograph
    if old is not None and Path(old).resolve() != path.resolve():
        say(f"{path}: its results replace those of {old}, which had the same name.")
    own = [f"hand {index}: {text}" for index, hand in enumerate(hands) for text in hand.warnings]
    for warning in [*warnings, *own]:
        say(_about(path, warning))
    return len(hands)


def _results(
    path: Path,
    stem: str,
    options: Reconstruct,
    image: RgbImage,
    hands: Sequence[HandReconstruction],
    warnings: Sequence[str],
) -> dict[Path, bytes]:
    """Return the result files of one photograph, the report last, because it names the others."""
    from amvur.viewer import draw_overlay

    height, width = image.shape[:2]
    formats = list(dict.fromkeys(options.format))
    contents: dict[Path, bytes] = {}
    for index, hand in enumerate(hands):
        for kind in formats:
            contents[options.output / f"{stem}_{index}.{kind}"] = _mesh_bytes(hand, kind)
    contents[options.output / f"{stem}_overlay.png"] = overlay_bytes(draw_overlay(image, hands))
    if hands:
        camera = hands[0].camera
    else:
        from amvur.inference.camera import make_camera

        intrinsics = None if options.intrinsics is None else _matrix(options.intrinsics)
        camera = make_camera(width, height, intrinsics, options.fov)
    meshes = [f"{stem}_{index}.{formats[0]}" for index in range(len(hands))]
    record, files = ImageRecord(str(path), width, height), [file.name for file in contents]
    content = report(record, camera, hands, meshes, warnings, files)
    contents[options.output / f"{stem}.json"] = report_bytes(content)
    return contents


def _mesh_bytes(hand: HandReconstruction, kind: str) -> bytes:
    """Return a hand as a mesh file of a kind."""
    if kind == "glb":
        return glb_bytes([hand])
    mesh = merge_meshes([scene_mesh(hand)])
    return obj_bytes(mesh) if kind == "obj" else ply_bytes(mesh)


def _matrix(intrinsics: tuple[float, float, float, float]) -> NDArray[Any]:
    """Return FX FY CX CY as a 3×3 matrix."""
    fx, fy, cx, cy = intrinsics
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _find(paths: Iterable[Path], tally: Tally) -> Iterable[Path]:
    """Yield the photographs behind files and folders; what is not there counts as failed."""
    from amvur.image import check_file, find_images

    for path in paths:
        try:
            if not path.is_dir():
                check_file(path)  # what cannot be a picture fails before the engine is loaded in vain
            # an earlier run's overlays beside the photographs are not photographs
            yield from (image for image in find_images([path]) if image == path or not _is_overlay(image))
        except AmvurError as error:
            tally.photographs += 1
            _fail(path, str(error), tally)


def _is_overlay(path: Path) -> bool:
    """Say whether a picture is the overlay that belongs to a report beside it."""
    if not path.name.endswith("_overlay.png"):
        return False
    try:
        read_report(path.with_name(path.name.removesuffix("_overlay.png") + ".json"))
    except InputError:
        return False
    return True


def _make_engine(options: Reconstruct) -> Engine:
    """Load the reconstructor (seconds: torch, the hand model, the detector)."""
    from amvur.inference.reconstructor import Reconstructor

    return Reconstructor(
        hand_model=options.hand_model,
        detector=options.detector,
        checkpoint=options.checkpoint,
        device=options.device,
        texture=options.texture,
        uv_texture_px=options.uv_texture,
    )


def _fail(path: Path, reason: str, tally: Tally) -> None:
    """Count a failure and tell it in one line that names the file."""
    tally.failed += 1
    say(f"FAILED {_about(path, reason)}")


def _about(path: Path, text: str) -> str:
    """Return a text that names the file, once."""
    return text if str(path) in text else f"{path}: {text}"
