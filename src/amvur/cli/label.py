"""`amvur label`: the detector's 2D joints of a folder of photographs, to train on."""

from __future__ import annotations

import os

from amvur.cli.checks import check_output_file
from amvur.cli.options import Label
from amvur.cli.terminal import say, tell
from amvur.errors import InputError


def run_label(options: Label) -> int:
    """Label all photographs of a folder; returns 0 if all were read and 1 if some were not.

    Raises `InputError` for a folder that is none or has no photographs, and what the detector and the
    writing of the file raise.
    """
    from amvur.data.real.labelling import label_photographs
    from amvur.data.real.photographs import LABELS
    from amvur.detect.base import make_detector
    from amvur.image import check_file, find_images

    if os.path.isfile(options.folder):
        check_file(options.folder)  # a clip is told what to do with it
    if not os.path.isdir(options.folder):
        raise InputError(
            f"amvur label wants a folder of photographs, found none at {options.folder}. Check the path."
        )
    if options.detector == "none":
        raise InputError("--detector none finds no joints. Leave it out or name a hand_landmarker.task file.")
    output = options.output or options.folder / LABELS
    check_output_file(output, "--output wants a file")
    paths = find_images([options.folder])
    tally = label_photographs(paths, output, make_detector(options.detector), say)
    tell(
        f"{len(paths)} photographs: {tally.labelled} labelled, {tally.kept} labelled before, "
        f"{len(tally.failed)} unreadable; {tally.hands} hands ({tally.without_hand} photographs without one)"
        f". Labels: {output}"
    )
    return 1 if tally.failed else 0
