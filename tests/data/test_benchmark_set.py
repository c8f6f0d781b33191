"""synth-v1: its strata, its hash, and that another set is told from it."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
import torch
from drawn_source import DrawnSource

from amvur.data.synthetic import benchmark_set
from amvur.data.synthetic.benchmark_set import (
    COUNT,
    OCCLUSION_EDGES,
    BenchmarkSet,
    check_benchmark,
    describe,
    load_membership,
    tone_third,
    write_membership,
)
from amvur.data.synthetic.shard_reader import read_shards
from amvur.data.synthetic.shards import ShardPlan, write_shards
from amvur.errors import InputError

chosen = pytest.mark.skipif(
    not benchmark_set._ASSET.is_file(),
    reason="synth-v1 is not chosen yet: python benchmarks/synthetic.py select (a quarter of an hour)",
)


@chosen
def test_all_strata_are_equally_large():
    membership = load_membership()
    assert len(membership.samples) == COUNT == len(np.unique(membership.samples[:, 1]))
    cells = Counter(map(tuple, membership.samples[:, [0, 2, 3]].tolist()))
    assert len(cells) == 4 * 2 * 3
    assert set(cells.values()) == {83, 84}
    low = np.take(OCCLUSION_EDGES, membership.samples[:, 0])
    assert ((membership.occlusion >= low) & (membership.occlusion <= low + 0.2)).all()


@chosen
def test_its_samples_are_those_that_were_chosen():
    benchmark, wanted = BenchmarkSet(), load_membership()
    places = [3, 1999, 0, 12]
    batch, kinds = benchmark.named_samples(places)
    found = describe([batch], wanted.hand_model_sha256)
    np.testing.assert_array_equal(found.samples, wanted.samples[places])
    np.testing.assert_allclose(found.centers_px, wanted.centers_px[places], atol=0.05)
    np.testing.assert_allclose(found.occlusion, wanted.occlusion[places], atol=0.02)
    assert len(kinds) == 4
    assert benchmark.identity()["labels_sha256"] == wanted.sha256()


def test_another_name():
    with pytest.raises(InputError, match="There is no benchmark set 'synth-v9'"):
        BenchmarkSet("synth-v9")


def test_tones():
    tones = torch.tensor([0.0, 0.2, 0.34, 0.66, 0.67, 1.0])
    assert tone_third(tones).tolist() == [0, 0, 1, 1, 2, 2]


class SmallBenchmark(DrawnSource):
    """A drawn set that says it is synth-v1."""

    def identity(self):
        return {**super().identity(), "benchmark": "synth-v1"}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with a set of six and the file that says what belongs to it."""
    write_shards(SmallBenchmark(), tmp_path / "set", ShardPlan(6, 4, "png"))
    path = tmp_path / "membership.json"
    write_membership(describe(read_shards(tmp_path / "set"), "0" * 64), path)
    monkeypatch.setattr(benchmark_set, "_ASSET", path)
    return tmp_path / "set"


def test_a_set_is_verified(small):
    assert "6 samples verified" in check_benchmark(small)


def test_another_set_is_told_from_it(small, tmp_path):
    membership, path = load_membership(), tmp_path / "membership.json"
    for change, message in [
        ({"samples": np.add(membership.samples, [0, 0, 1, 0])}, "labels [0-9a-f]{12}, wanted"),
        ({"centers_px": membership.centers_px + 0.2}, "joints .px. differ by 0.2"),
        ({"occlusion": membership.occlusion + 0.1}, "occlusion differ by 0.1"),
        ({"color_mean": (0.0, 0.0, 0.0)}, "mean color differ"),
    ]:
        write_membership(dataclasses.replace(membership, **change), path)
        with pytest.raises(InputError, match=message):
            check_benchmark(small)


def test_noise_of_rounding_does_not_matter(small, tmp_path):
    membership = load_membership()
    noisy = dataclasses.replace(
        membership, centers_px=membership.centers_px + 0.02, occlusion=membership.occlusion - 0.005
    )
    write_membership(noisy, tmp_path / "membership.json")
    check_benchmark(small)


def test_a_changed_file_or_another_folder(small, tmp_path):
    write_shards(DrawnSource(), tmp_path / "other", ShardPlan(2))
    with pytest.raises(InputError, match="holds no synth-v1"):
        check_benchmark(tmp_path / "other")
    content = json.loads((tmp_path / "membership.json").read_text())
    content["samples"][0][1] += 1
    (tmp_path / "membership.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="does not have the hash"):
        check_benchmark(small)
