"""The pictures in docs/architecture.md show the modules that the code goes through."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw_ways = _load(ROOT / "tools" / "draw_ways.py")


def test_the_picture_of_a_photographs_way_is_current():
    redraw = "run: python tools/draw_ways.py photograph"
    assert draw_ways.drawn("photograph") == draw_ways.photograph(), redraw


@pytest.mark.parametrize("name", list(draw_ways.WAYS))
def test_modules_in_the_pictures_exist(name):
    modules = draw_ways.drawn(name)
    assert len(modules) > 20
    for module in modules:
        place = draw_ways.SOURCE.joinpath(*module.split("."))
        assert place.with_suffix(".py").is_file() or place.is_dir(), f"run: python tools/draw_ways.py {name}"


def test_only_what_is_called_within_counts():
    with draw_ways.Watch(("hand.joints.nothing",)) as watch:
        draw_ways.summary("hand.joints")
    assert watch.modules == []


def test_a_module_without_a_layer_is_told():
    with pytest.raises(ValueError, match=r"amvur\.elsewhere\.x is in no layer"):
        draw_ways.layer_of("elsewhere.x", draw_ways.layers())
