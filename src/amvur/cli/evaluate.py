"""`amvur evaluate`: the official scores of a prediction file."""

from __future__ import annotations

import json
from pathlib import Path

from amvur.cli.options import Evaluate
from amvur.errors import InputError


def run_evaluate(options: Evaluate) -> int:
    """Print the scores as one JSON object, write them where asked to, and return 0.

    Raises `InputError` for files that cannot be scored and `OutputError` if the scores cannot be written.
    """
    if not options.ground_truth.is_dir():
        raise InputError(
            f"--ground-truth wants a folder with evaluation_xyz.json and evaluation_verts.json, found no "
            f"folder at {options.ground_truth}. Check the path."
        )
    if options.output is not None:
        _check_file(options.output)
    from amvur.evaluation.official import evaluate_files

    scores = evaluate_files(options.predictions, options.ground_truth, options.protocol)
    text = json.dumps(scores, indent=1, allow_nan=False)
    if options.output is not None:
        from amvur.export.files import write_file

        write_file(options.output, f"{text}\n".encode())
    print(text)
    return 0


def _check_file(path: Path) -> None:
    """Raise an error at once, not after the work, if the scores cannot be written."""
    from amvur.cli.checks import check_output

    if path.is_dir():
        raise InputError(f"--output wants a file for the scores, found the folder {path}. Name a file in it.")
    check_output(path.parent)
