"""Synthetic hands to evaluate on: the cache holds what rendering gives, and nothing else passes for it."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "data"))
from drawn_source import DrawnSource

from amvur.data.synthetic.benchmark_set import describe
from amvur.data.synthetic.labels import mirror_some
from amvur.data.synthetic.shard_reader import read_shards
from amvur.data.synthetic.shards import ShardPlan, write_shards
from amvur.errors import InputError
from amvur.evaluation import synthetic_sources
from amvur.evaluation.pictures import pictures_of
from amvur.evaluation.synthetic_sources import BenchmarkSource, ShardSource, open_benchmark

HASH = "0" * 64


class SmallBenchmark(DrawnSource):
    """Six drawn samples that say they are synth-v1."""

    def __len__(self):
        return 6

    def identity(self):
        labels = {} if self.seed else {"labels_sha256": members().sha256()}
        return {**super().identity(), "benchmark": "synth-v1", **labels}


def members():
    return describe([DrawnSource().named_samples(range(6))[0]], HASH)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(synthetic_sources, "BenchmarkSet", SmallBenchmark)
    monkeypatch.setattr(synthetic_sources, "load_membership", members)
    monkeypatch.setattr(synthetic_sources, "check_benchmark", lambda folder: "")


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        for field in dataclasses.fields(a):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


@pytest.mark.usefixtures("small")
def test_the_cache_holds_what_rendering_gives(tmp_path):
    rendered = open_benchmark(None)
    cached = open_benchmark(tmp_path / "cache")
    assert isinstance(rendered, BenchmarkSource)
    assert isinstance(cached, ShardSource)
    assert (cached.name, len(cached)) == (rendered.name, len(rendered)) == ("synth-v1", 6)
    assert cached.identity() == rendered.identity()
    wanted = list(rendered.pictures(0, 6, 32))
    assert_same([*cached.pictures(0, 4, 32), *cached.pictures(4, 6, 32)], wanted)
    assert_same(list(cached.pictures(1, 3, 32)), wanted[1:3])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    open_benchmark(tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == before


@pytest.mark.usefixtures("small")
def test_another_set_does_not_pass_for_it(tmp_path, monkeypatch):
    write_shards(SmallBenchmark(1), tmp_path / "a", ShardPlan(6, 6, "png"))
    with pytest.raises(InputError, match=r"is not synth-v1: 6 samples with labels None"):
        ShardSource(tmp_path / "a")
    monkeypatch.setattr(
        SmallBenchmark, "identity", lambda _: {"benchmark": "synth-v1", "labels_sha256": members().sha256()}
    )
    write_shards(SmallBenchmark(1), tmp_path / "b", ShardPlan(6, 6, "png"))
    with pytest.raises(InputError, match=r"is not synth-v1: its sample 0 is number 0"):
        list(ShardSource(tmp_path / "b").pictures(0, 6, 32))


def test_a_set_of_ones_own_is_told_by_all_it_depends_on(tmp_path):
    for name, seed, kind in (("a", 1, "png"), ("b", 2, "png"), ("c", 1, "jpg")):
        write_shards(DrawnSource(seed), tmp_path / name, ShardPlan(3, 2, kind))
    first, other, lossy = (ShardSource(tmp_path / name).identity() for name in "abc")
    assert first != other
    assert first != lossy
    assert first["count"] == 3


def test_left_hands_are_mirrored_as_in_training(tmp_path):
    write_shards(DrawnSource(4), tmp_path, ShardPlan(8, 8, "png"))
    (batch,) = read_shards(tmp_path)
    right = mirror_some(batch, batch.is_left)
    assert 0 < int(batch.is_left.sum()) < 8
    for place, picture in enumerate(pictures_of(batch, 32)):
        np.testing.assert_array_equal(picture.pixels, right.images[place].numpy())
        seen = picture.joints @ picture.R_crop_camera.T
        np.testing.assert_allclose(seen, right.joints[place].numpy(), atol=1e-6)
