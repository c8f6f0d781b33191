"""Written synthetic sets to train on: any sample by its place, mixed with others, wrong sets refused."""

import json
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "data"))
import small_cli
from drawn_source import DrawnSource, drawn_sample
from tiny_photos import write_photos

from amvur.checkpoint import load_checkpoint
from amvur.cli import main
from amvur.data.synthetic.generator import SyntheticHands
from amvur.data.synthetic.shard_index import IndexedShards
from amvur.data.synthetic.shards import ShardPlan, write_shards
from amvur.errors import InputError
from amvur.training.mixture import Mixture
from amvur.training.pool import PoolConfig, SamplePool
from amvur.training.presets import PRESETS
from amvur.training.stored_hands import StoredHands
from amvur.training.targets import LabelledImages, as_right_hands

SHA = "0" * 64


@pytest.fixture
def folder(tmp_path):
    write_shards(DrawnSource(), tmp_path / "set", ShardPlan(13, 5, "png"))
    return tmp_path / "set"


def assert_same(found, wanted):
    for field in fields(LabelledImages):
        torch.testing.assert_close(getattr(found, field.name), getattr(wanted, field.name), rtol=0, atol=0)


def test_any_sample_by_its_place(folder):
    shards = IndexedShards(folder)
    assert len(shards) == 13
    for place in (12, 0, 4, 5, 7, 12):
        assert_same(as_right_hands(shards[place]), as_right_hands(drawn_sample(0, place, 32)))
    with pytest.raises(IndexError):
        shards[13]


def test_every_sample_once_in_every_round_with_workers_too(folder):
    made = [Mixture([StoredHands("s", folder, 32, SHA, seed=2)], [1.0]) for _ in range(2)]
    pools = [SamplePool(m, PoolConfig(26, 32, chunk=3, workers=n)) for m, n in zip(made, (0, 1), strict=True)]
    for pool in pools:
        pool.fill(26)
    one, two = (pool.take(torch.arange(26)) for pool in pools)
    assert_same(one, two)
    wanted = {float(drawn_sample(0, i, 32).betas[0, 0]) for i in range(13)}
    for part in (one[:13], one[13:]):
        assert set(part.betas[:, 0].tolist()) == wanted
    assert not torch.equal(one.betas[:13], one.betas[13:]), "another order"
    for pool in pools:
        pool.close()


def test_a_damaged_sample_is_skipped_and_told(folder):
    shard = folder / "shard-000001.tar"
    data = bytearray(shard.read_bytes())
    place = data.index(b"000000006.json") + 512
    data[place : place + 4] = b"junk"
    shard.write_bytes(data)
    found = [StoredHands("s", folder, 32, SHA).picture(number) for number in range(13)]
    skipped = {s for delivery in found for s in delivery.skipped}
    assert [(s.dataset, s.index) for s in skipped] == [("s", 6)]
    assert f"{shard}:000000006" in next(iter(skipped)).reason


@pytest.mark.parametrize("end", [b"000000006.json", b"000000007.png"], ids=["in a sample", "between samples"])
def test_a_cut_off_shard_is_named(folder, end):
    shard = folder / "shard-000001.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[: data.index(end) + (700 if end.endswith(b"json") else 0)])
    with pytest.raises(InputError, match=r"shard-000001\.tar .*delete it and run the command"):
        IndexedShards(folder)[5]


@pytest.mark.parametrize(
    ("px", "sha", "changes", "message"),
    [
        (64, SHA, {}, "pictures of 32 px, the network wants 64.*--size 64"),
        (32, "1" * 64, {}, "--hand-model"),
        (32, SHA, {"benchmark": "synth-v1"}, "never trained on"),
        (32, SHA, {"seed": 20_230_622}, "never trained on"),
    ],
)
def test_sets_that_do_not_fit_are_refused(folder, px, sha, changes, message):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["configuration"] |= changes
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=message):
        StoredHands("s", folder, px, sha)


def test_an_unfinished_set_is_refused(folder):
    (folder / "shard-000002.tar").unlink()
    with pytest.raises(InputError, match=r"shard-000002\.tar is missing"):
        StoredHands("s", folder, 32, SHA)


@pytest.mark.parametrize("preset", ["tiny", "weak"])
def test_written_hands_and_photographs_train_from_the_command_line(tmp_path, monkeypatch, preset):
    write_shards(SyntheticHands(7, size_px=128), tmp_path / "stored", ShardPlan(4))
    photos = write_photos(tmp_path / "photos", 4, size=64)
    monkeypatch.setitem(PRESETS, "small", replace(small_cli.SMALL, objective=PRESETS[preset].objective))
    command = ["train", "--preset", "small", "--device", "cpu", "--steps", 2, "--output", tmp_path / "run"]
    command += ["--data", f"{tmp_path / 'stored'}=3", "--data", photos]
    with pytest.raises(SystemExit) as exit_:
        main([str(word) for word in command])
    assert exit_.value.code == 0
    data = load_checkpoint(tmp_path / "run" / "last").config["card"]["data"]
    assert data["shares"] == [0.75, 0.25]
    assert data["mixture"][0]["seed"] == 7
