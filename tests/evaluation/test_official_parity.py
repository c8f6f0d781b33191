"""The generator of official cases from the command line: its files, scored, against the scripts' figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from official_cases import loop_scores
from test_official import FIGURES, KEYS, PARITY

from amvur.cli import main
from amvur.evaluation.files import read_predictions, read_truth

pytestmark = pytest.mark.skipif(
    not PARITY.exists(), reason=f"the generator of the official figures' cases is not at {PARITY}"
)


def make(folder, case, count, seed):
    command = [
        sys.executable,
        str(PARITY),
        str(folder),
        "--case",
        case,
        "--n",
        str(count),
        "--seed",
        str(seed),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return {
        "freihand": (folder / "freihand" / "res", folder / "freihand"),
        "ho3d": (folder / "ho3d" / "pred.json", folder / "ho3d"),
    }


def score(protocol, predictions, truth, capsys):
    arguments = ["--protocol", protocol, "--predictions", str(predictions), "--ground-truth", str(truth)]
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", *arguments])
    told = capsys.readouterr()
    return exit_.value.code, told


@pytest.mark.parametrize("case", list(FIGURES))
def test_figures_of_the_unmodified_scripts(case, tmp_path, capsys):
    wanted = dict(zip(KEYS["ho3d"].split(), FIGURES[case], strict=True))
    for protocol, (predictions, truth) in make(tmp_path, case, 64, 7).items():
        code, told = score(protocol, predictions, truth, capsys)
        assert code == 0, told.err
        scores = json.loads(told.out)
        assert list(scores) == KEYS[protocol].split()
        for key, value in scores.items():
            official = key if protocol == "ho3d" else key.replace("xyz_al", "xyz_procrustes_al")
            assert value == pytest.approx(wanted[official], abs=1e-6), (protocol, key)


@pytest.mark.parametrize(
    ("case", "count", "seed"),
    [("noise", 5, 1), ("noise_big", 6, 2), ("mirror", 4, 3), ("scale_only", 7, 4), ("zeros", 3, 5)],
)
def test_other_cases_against_a_plain_loop(case, count, seed, tmp_path, capsys):
    for protocol, (predictions, truth) in make(tmp_path, case, count, seed).items():
        code, told = score(protocol, predictions, truth, capsys)
        assert code == 0, told.err
        hands = read_predictions(predictions, count), read_truth(truth)
        wanted = loop_scores(*hands, protocol)
        for key, value in json.loads(told.out).items():
            assert value == pytest.approx(wanted[key], abs=1e-6), (protocol, key)


def test_meshes_of_500_vertices_are_refused(tmp_path, capsys):
    for protocol, (predictions, truth) in make(tmp_path, "verts500", 2, 7).items():
        code, told = score(protocol, predictions, truth, capsys)
        assert code == 2
        assert "should be 778 × 3 numbers, found 500 × 3" in told.err
