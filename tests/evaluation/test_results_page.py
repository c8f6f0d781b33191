"""docs/results.md is what results/ gives; published and measured figures stay apart."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_tables = _load("make_tables")


@pytest.fixture
def results(tmp_path):
    shutil.copytree(ROOT / "results" / "published", tmp_path / "published")
    (tmp_path / "measured").mkdir()
    return tmp_path


def put(results, dataset, name, content):
    folder = results / "measured" / dataset
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content))


def network():
    joints = {"mean_mm": 7.25, "mean_mm_interval_95": [7.0, 7.5], "auc": 0.855}
    vertices = {"mean_mm": 8.5, "auc": 0.831, "f_score_5": 0.5, "f_score_15": 0.9}
    strata = {"occlusion 0.00-0.20": {"count": 3, "mean_mm": 5.5}, "occlusion 0.20-0.40": {"count": 0}}
    return {
        "schema": "amvur-results/1",
        "scored": 2000,
        "joints": {"procrustes": joints, "procrustes_strict": joints, "root_relative": joints},
        "vertices": {"procrustes": vertices, "procrustes_strict": None},
        "uncertainty": {"procrustes_strict": {"joints": {"coverage_90": 0.876, "ause": 0.2}}},
        "strata": {"procrustes_strict": strata},
    }


def section(page, title):
    return page.split(f"## {title}")[1].split("\n## ")[0]


def test_the_page_is_up_to_date():
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert page == make_tables.page(ROOT / "results"), "run: python scripts/make_tables.py"


def test_the_papers_rows_are_there(results):
    page = make_tables.page(results)
    first, second = section(page, "HO3D v2"), section(page, "HO3D v3")
    assert "| AMVUR paper, final | probabilistic | 0.835 | 8.3 | 0.836 | 8.2 | 0.608 | 0.965 |" in first
    assert "| AMVUR paper, final | probabilistic | 0.789 | 10.5 | 0.785 | 10.7 | 0.475 | 0.944 |" in second
    assert first.count("\n| supervised") == 14
    assert first.count("\n| 2D joints only") == 4
    assert second.count("\n| supervised") == 5
    assert "| WiLoR | 5.5 / 5.1 | 7.5 / 7.7 | 7.2 / 7.1 |" in page
    assert page.count(make_tables.NOTHING) == 4, "nothing is measured that no file holds"


def test_measured_rows_appear_in_their_own_tables(results):
    official = {
        "xyz_procrustes_al_mean3d": 1.234, "xyz_procrustes_al_auc3d": 0.75, "mesh_al_mean3d": 1.1,
        "mesh_al_auc3d": 0.78, "f_al_score_5": 0.45, "f_al_score_15": 0.93,
    }  # fmt: skip
    put(results, "ho3d_v2", "mine", official)
    put(results, "ho3d_v2", "network", network())
    put(results, "synth-v1", "small", network())
    page = make_tables.page(results)
    published, measured = section(page, "HO3D v2").split("### Measured")
    assert "| mine | all | 0.750 | 12.3 | 0.780 | 11.0 | 0.450 | 0.930 |" in measured
    assert "| network | 2000 | 0.855 | 7.2 | 0.831 | 8.5 | 0.500 | 0.900 |" in measured
    assert "mine" not in published
    assert "paper" not in measured
    row = "| small | 2000 | 7.25 | 7.00–7.50 | 5.50 | – | – | 7.25 | 87.6% | 0.200 |"
    assert row in section(page, "synth-v1")


def test_files_of_another_kind_are_refused(results):
    put(results, "ho3d_v9", "mine", {})
    with pytest.raises(SystemExit, match="no known dataset: ho3d_v9"):
        make_tables.page(results)
    shutil.rmtree(results / "measured" / "ho3d_v9")
    put(results, "freihand", "mine", {"error": 3})
    with pytest.raises(SystemExit, match="measured/freihand: not what"):
        make_tables.page(results)
