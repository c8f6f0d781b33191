"""`amvur evaluate`: a network on a data set in two loops, or the official scores of a prediction file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amvur.cli.checks import check_output, check_output_file
from amvur.cli.options import Evaluate
from amvur.cli.terminal import progress, say, tell
from amvur.errors import InputError
from amvur.seals import is_sealed, sealed_json

if TYPE_CHECKING:
    from amvur.evaluation.export import Subject
    from amvur.evaluation.pictures import PictureSource
    from amvur.evaluation.prediction_files import PredictionFolder

RESULTS = "results.json"
SYNTH = "synth-v1"

_OF_FILES = ("protocol", "predictions", "ground_truth")
_SHARED = (*_OF_FILES, "output")


def run_evaluate(options: Evaluate) -> int:
    """Score a network or a prediction file, print the result and return 0.

    Raises `InputError` for files and options that cannot be used, `ModelFileError` for a checkpoint that
    cannot, and `OutputError` if something cannot be written or belongs to another configuration.
    """
    return _run_files(options) if options.protocol is not None else _run_network(options)


def _run_files(options: Evaluate) -> int:
    """Print the official scores as one JSON object; likely mistakes in the file go to stderr."""
    predictions, ground_truth = _check_files(options)
    from amvur.evaluation.hints import find_hints
    from amvur.evaluation.official import evaluate_hands, read_files

    assert options.protocol is not None
    hands = read_files(predictions, ground_truth)
    for hint in find_hints(*hands, options.protocol):
        say(f"{predictions}: {hint}")
    scores = evaluate_hands(*hands, options.protocol)
    text = json.dumps(scores, indent=1, allow_nan=False)
    if options.output is not None:
        from amvur.whole_files import write_file

        write_file(options.output, sealed_json(scores))
    tell(*text.splitlines())
    return 0


def _run_network(options: Evaluate) -> int:
    """Export predictions, write a submission where asked to, score and print."""
    output = _check_network(options)
    from amvur.evaluation.export import ExportSettings, export_predictions

    subject = _load_subject(options)
    source = _open_source(options)
    if options.submission is not None:
        _check_submission(subject, source)
    settings = ExportSettings(options.limit, options.batch_size, not options.joints_only)
    total = min(len(source), options.limit or len(source))
    with progress(total=total, unit="picture") as bar:
        folder = export_predictions(subject, source, output, settings, bar.update)
    if options.submission is not None:
        from amvur.evaluation.submission import submit_predictions

        submit_predictions(options.submission, folder, source)
    results = _score(folder, output / RESULTS)
    if options.json:
        tell(*json.dumps(results, indent=1, allow_nan=False).splitlines())
    else:
        from amvur.evaluation.table import table_of

        tell(*table_of(results).splitlines(), f"results in {output / RESULTS}")
    return 0


def _score(folder: PredictionFolder, path: Path) -> dict[str, Any]:
    """Score exported predictions and write the results."""
    from amvur.evaluation.results import results_of
    from amvur.evaluation.scoring import gather_errors
    from amvur.whole_files import write_file

    results = results_of(gather_errors(folder.read()), folder.configuration)
    write_file(path, sealed_json(results))
    return results


def _load_subject(options: Evaluate) -> Subject:
    """Load what is scored (seconds)."""
    if options.reconstruct:
        return _load_reconstruction(options)
    from amvur.evaluation.subjects import load_subject
    from amvur.pretrained import choose_torch_device

    return load_subject(_checkpoint_of(options), choose_torch_device(options.device), options.hand_model)


def _load_reconstruction(options: Evaluate) -> Subject:
    """Load all of `amvur reconstruct`, with an identity of all that its hands follow from."""
    from amvur.checkpoint_folder import read_config, shipped
    from amvur.detect.networks import shipped_hashes
    from amvur.evaluation.subjects import ReconstructionSubject, identity_of
    from amvur.inference.reconstructor import Reconstructor

    folder = None if options.checkpoint == "none" else _checkpoint_of(options)
    reconstruct = Reconstructor(
        hand_model=options.hand_model or "open",
        checkpoint="none" if folder is None else folder,
        device=options.device,
        texture="sampled",
    )
    identity: dict[str, Any] = {"reconstruct": True, "detector": shipped_hashes(), "network": None}
    if folder is not None:
        config, segmentation = read_config(folder), shipped("segmentation")
        identity["network"] = identity_of(config)
        identity |= {name: config.get(name) for name in ("fusion", "calibration")}
        identity["segmentation"] = None if segmentation is None else identity_of(read_config(segmentation))
    identity["estimator"] = asdict(reconstruct.estimator.config)
    identity["hand_model_sha256"] = reconstruct.arrays.sha256
    return ReconstructionSubject(reconstruct, identity, len(reconstruct.arrays.v_template))


def _checkpoint_of(options: Evaluate) -> Path:
    """Return the checkpoint's folder."""
    from amvur.checkpoint_folder import default_checkpoint

    assert options.checkpoint is not None
    folder = default_checkpoint() if options.checkpoint == "default" else Path(options.checkpoint)
    if folder is None:
        raise InputError(
            "No checkpoint ships with this version of amvur. Give a folder that `amvur train` wrote: "
            "--checkpoint DIR/last."
        )
    return folder


def _open_source(options: Evaluate) -> PictureSource:
    """Open the data set; the cache of synth-v1 is rendered here where it is missing."""
    from amvur.evaluation.synthetic_sources import ShardSource, open_benchmark

    assert options.data is not None
    if options.data == SYNTH:
        return open_benchmark(options.cache, options.workers)
    path = Path(options.data)
    if not os.path.exists(path):
        raise InputError(
            f"--data wants {SYNTH} or the folder of a data set, found nothing at {path}. Check the path."
        )
    if (path / "manifest.json").is_file():
        return ShardSource(path)
    from amvur.data.real import open_dataset
    from amvur.evaluation.real_sources import RealSource

    dataset = open_dataset(path, options.split)
    if not len(dataset):
        raise InputError(f"{path} has no labelled hand to evaluate on. Label some first: amvur label.")
    return RealSource(dataset, path)


def _check_submission(subject: Subject, source: PictureSource) -> None:
    """Raise `InputError` before the work if no online evaluation would take its result."""
    from amvur.evaluation.submission import check_mano

    if source.protocol not in ("freihand", "ho3d"):
        raise InputError(
            "--submission wants a data set with an online evaluation (FreiHAND or HO3D), found "
            f"{source.name}."
        )
    check_mano(subject.num_vertices)


def _check_files(options: Evaluate) -> tuple[Path, Path]:
    """Return predictions and ground truth; raises `InputError` for options that do not go together."""
    missing = [name for name in _OF_FILES if getattr(options, name) is None]
    default = {field.name: field.default for field in fields(Evaluate)}
    wrong = [
        name for name, value in default.items() if name not in _SHARED and getattr(options, name) != value
    ]
    if missing or wrong:
        told = [f"{_flags(missing)} missing"] * bool(missing) + [f"{_flags(wrong)} of no use"] * bool(wrong)
        raise InputError(
            f"To score a file: --protocol, --predictions and --ground-truth; {', '.join(told)}. "
            "To score a network: --checkpoint, --data and --output."
        )
    assert options.predictions is not None
    assert options.ground_truth is not None
    if not os.path.isdir(options.ground_truth):
        raise InputError(
            f"--ground-truth wants a folder with evaluation_xyz.json and evaluation_verts.json, found no "
            f"folder at {options.ground_truth}. Check the path."
        )
    if options.output is not None:
        check_output_file(options.output, "--output wants a file for the scores", _is_scores)
    return options.predictions, options.ground_truth


def _check_network(options: Evaluate) -> Path:
    """Return the output folder; raises `InputError` for options that cannot work."""
    missing = [name for name in ("checkpoint", "data", "output") if getattr(options, name) is None]
    wrong = [name for name in _OF_FILES if getattr(options, name) is not None]
    if missing or wrong:
        told = [f"{_flags(missing)} missing"] * bool(missing) + [f"{_flags(wrong)} of no use"] * bool(wrong)
        raise InputError(
            f"To score a network: --checkpoint, --data and --output; {', '.join(told)}. "
            "To score a file: --protocol, --predictions and --ground-truth."
        )
    if options.checkpoint == "none" and not options.reconstruct:
        raise InputError(
            "Without a network there is only --reconstruct to score: add it, or name a checkpoint."
        )
    for name, low in (("limit", 1), ("batch_size", 1), ("workers", 0)):
        value = getattr(options, name)
        if value is not None and value < low:
            raise InputError(f"--{name.replace('_', '-')} wants at least {low}, found {value}.")
    if options.cache is not None and options.data != SYNTH:
        raise InputError(f"--cache is for --data {SYNTH} only, found --data {options.data}. Leave it out.")
    if options.submission is not None:
        if options.joints_only or options.limit is not None:
            raise InputError("--submission needs all samples with vertices: no --joints-only, no --limit.")
        check_output_file(options.submission, "--submission wants the name of a zip", _is_submission)
    assert options.output is not None
    check_output(options.output)
    check_output_file(
        options.output / RESULTS, "--output wants a folder without one of the results' name", _is_results
    )
    return options.output


def _is_scores(path: Path) -> bool:
    """Whether a file holds official scores as they were written."""
    return is_sealed(path, b"{", b'"xyz_mean3d": ')


def _is_results(path: Path) -> bool:
    """Whether a file holds results of a network as they were written."""
    from amvur.evaluation.results import SCHEMA

    return is_sealed(path, b"{", f'"schema": "{SCHEMA}"'.encode())


def _is_submission(path: Path) -> bool:
    """Whether a file is a submission as it was written."""
    from amvur.evaluation.submission import is_submission

    return is_submission(path)


def _flags(names: list[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)
