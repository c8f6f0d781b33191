"""Checkpoint folders: what comes back, what is never written, and an error for every kind of damage."""

import json

import pytest
import torch
from leftovers import leave_behind
from limits import refused
from torch import nn

from amvur.building import described
from amvur.checkpoint import SHARD_BYTES, load_checkpoint, load_weights, save_checkpoint
from amvur.errors import ModelFileError, OutputError

NETWORK = {"backbone": "tiny", "image_px": 32, "prior_net": {"hidden": 4}}


def network(width=7):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(width, 5), nn.BatchNorm1d(5))
    net.register_buffer("hand", torch.ones(9), persistent=False)
    return net


def save(folder, net=None, **options):
    net = net or network()
    save_checkpoint(folder, NETWORK, net.state_dict(), hand_model="open", hand_model_sha256="ab", **options)
    return net.state_dict()


def test_what_was_saved_comes_back(tmp_path):
    state = save(tmp_path / "w", card={"licence": "CC0"}, calibration={"scale": 1.5})
    found = load_checkpoint(tmp_path / "w")
    assert found.network == NETWORK
    assert found.config["card"] == {"licence": "CC0"}
    assert found.config["calibration"] == {"scale": 1.5}
    assert found.config["hand_model"] == {"name": "open", "sha256": "ab"}
    assert set(found.state) == set(state)
    assert "hand" not in found.state, "hand-model arrays are no weights"
    for name, value in state.items():
        assert torch.equal(found.state[name], value)


@pytest.mark.parametrize("limit", [None, 64, 40])
def test_half_precision_in_shards(tmp_path, limit):
    state = network().state_dict()
    state["1.running_var"][0] = 1e6  # beyond float16
    state["0.weight"][0, 0] = 1e5
    save_checkpoint(tmp_path / "w", NETWORK, state, hand_model="open", dtype="float16", shard_bytes=limit)
    found = load_checkpoint(tmp_path / "w")
    files = found.config["weights"]["files"]
    assert sorted(files) == sorted(p.name for p in (tmp_path / "w").glob("*.safetensors"))
    assert (limit is None) == (list(files) == ["model.safetensors"])
    for name, value in state.items():
        assert torch.equal(found.state[name], value), "here everything overflows or is a vector"
    state = save(tmp_path / "w", dtype="float16", shard_bytes=limit)
    found = load_checkpoint(tmp_path / "w").state["0.weight"]
    assert found.dtype == torch.float32
    assert torch.equal(found, state["0.weight"].half().float())


def test_a_shard_stays_below_its_limit(tmp_path):
    state = {"a": torch.zeros(3000, 3000), "b": torch.zeros(10)}
    save_checkpoint(tmp_path / "w", NETWORK, state, hand_model="open", shard_bytes=SHARD_BYTES)
    sizes = [p.stat().st_size for p in (tmp_path / "w").glob("model-*.safetensors")]
    assert len(sizes) == 3
    assert max(sizes) < 16_000_000
    assert load_checkpoint(tmp_path / "w").state["a"].shape == (3000, 3000)


def test_replacing_leaves_nothing_behind(tmp_path):
    save(tmp_path / "w", shard_bytes=64)
    save(tmp_path / "w", network(8))
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == ["config.json", "model.safetensors"]
    assert load_checkpoint(tmp_path / "w").state["0.weight"].shape == (5, 8)


def test_a_writer_killed_between_its_renames_leaves_the_old_one(tmp_path):
    save(tmp_path / "w")
    (tmp_path / "w").rename(tmp_path / ".w.previous")
    assert load_checkpoint(tmp_path / "w").network == NETWORK
    save(tmp_path / "w")
    save(tmp_path / "w")
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_a_write_that_fails_keeps_the_old_one(tmp_path, monkeypatch):
    save(tmp_path / "w")
    monkeypatch.setattr("amvur.checkpoint.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OutputError, match=r"No space.*Free some space"):
        save(tmp_path / "w", network(8))
    assert load_checkpoint(tmp_path / "w").state["0.weight"].shape == (5, 7)
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def damage(kind, folder):
    config, weights = folder / "config.json", folder / "model.safetensors"
    content = json.loads(config.read_text())
    data = bytearray(weights.read_bytes())
    if kind == "no config":
        config.unlink()
    elif kind == "broken config":
        config.write_text("{")
    elif kind == "schema":
        config.write_text(json.dumps({**content, "schema": "amvur-checkpoint/9"}))
    elif kind == "no files":
        config.write_text(json.dumps({**content, "weights": {}}))
    elif kind == "path":
        entry = {"bytes": 1, "sha256": ""}
        config.write_text(json.dumps({**content, "weights": {"files": {"../x": entry}}}))
    elif kind == "no weights":
        weights.unlink()
    elif kind == "truncated":
        weights.write_bytes(data[:-5])
    elif kind == "flipped":
        data[-1] ^= 1
        weights.write_bytes(data)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no config", r"found no config.json"),
        ("broken config", r"config.json is damaged"),
        ("schema", r"schema 'amvur-checkpoint/9', wanted 'amvur-checkpoint/1'"),
        ("no files", r"lacks the network's settings"),
        ("path", r"lacks the network's settings"),
        ("no weights", r"Cannot read .*model.safetensors: No such file"),
        ("truncated", r"model.safetensors is truncated"),
        ("flipped", r"model.safetensors is damaged: its sha256"),
    ],
)
def test_damage_is_named(tmp_path, kind, message):
    save(tmp_path / "w")
    damage(kind, tmp_path / "w")
    with pytest.raises(ModelFileError, match=message):
        load_checkpoint(tmp_path / "w")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="found none at"):
        load_checkpoint(tmp_path / "none")


def test_weights_of_another_network_are_listed():
    state = network(8).state_dict()
    state["extra"] = state.pop("1.bias")
    with pytest.raises(
        ModelFileError, match=r"1.bias is missing; extra is not wanted; 0.weight wants"
    ) as error:
        load_weights(network(), state, "folder")
    assert "(5, 7), found (5, 8)" in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": ["amvur-checkpoint/1"]}, {"network": None}, {"network": []}, {"weights": []}, {"weights": {"files": []}},
        {"weights": {"files": {"model.safetensors": 3}}}, {"weights": {"files": {"model.safetensors": {"bytes": 1}}}},
        {"weights": {"files": {"model.safetensors": {"bytes": "9", "sha256": ""}}}},
        {"weights": {"files": {"model.safetensors": {"bytes": 9, "sha256": None}}}},
        {"weights": {"files": {"..": {"bytes": 9, "sha256": ""}}}}, {"weights": {"files": {"a\0": {"bytes": 9, "sha256": ""}}}},
        {"hand_model": []}, {"hand_model": {"sha256": 3}}, {"card": 3}, {"calibration": "x"}, {"fusion": [1]},
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_of_other_types_is_refused(tmp_path, change):
    save(tmp_path / "w")
    path = tmp_path / "w" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with refused(ModelFileError, r"/w"):
        load_checkpoint(tmp_path / "w")


def test_weights_of_another_size_are_not_read(tmp_path):
    save(tmp_path / "w")
    with (tmp_path / "w" / "model.safetensors").open("ab") as stream:
        stream.truncate(2**40)
    with refused(ModelFileError, r"model\.safetensors is truncated or of another checkpoint", megabytes=10):
        load_checkpoint(tmp_path / "w")


@pytest.mark.parametrize("size", [2**40, 2**62, 200_000_000])
def test_a_network_is_not_built_far_larger_than_its_weights(tmp_path, size):
    state = network().state_dict()
    with (
        refused(ModelFileError, r"w describes no thing .*larger network than its weights fill", megabytes=10),
        described(tmp_path / "w", "thing", "Do this.", state),
    ):
        nn.Linear(1, size)
    with described(tmp_path / "w", "thing", "Do this.", state):
        network()


def test_what_is_no_checkpoint_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "config.json").write_text('{"of": "another program"}')
    (tmp_path / "file").write_text("mine")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_text("mine")
    for name in ("photos", "file", "weights"):
        with pytest.raises(OutputError, match=rf"{name}.* is no checkpoint of amvur"):
            save_checkpoint(tmp_path / name, {}, {"a": torch.zeros(2)}, hand_model="open")
    assert (tmp_path / "photos" / "config.json").read_text() == '{"of": "another program"}'
    assert (tmp_path / "weights" / "model.safetensors").read_text() == "mine"


def test_other_files_beside_a_checkpoint_stay(tmp_path):
    folder = tmp_path / "last"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for value in (1.0, 2.0):
        save_checkpoint(folder, {}, {"a": torch.full((2,), value)}, hand_model="open")
        assert (folder / "notes.txt").read_text() == "mine"
        assert load_checkpoint(folder).state["a"][0] == value
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last"]


def test_other_files_stay_when_a_writer_was_killed(tmp_path):
    """Between its renames the checkpoint is in neither place; the user's notes are beside the old one."""
    save(tmp_path / "w", shard_bytes=64)
    (tmp_path / "w" / "notes.txt").write_text("mine")
    (tmp_path / "w").rename(tmp_path / ".w.previous")
    save(tmp_path / "w", network(8))
    assert (tmp_path / "w" / "notes.txt").read_text() == "mine"
    assert load_checkpoint(tmp_path / "w").state["0.weight"].shape == (5, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_a_folder_of_the_users_in_the_place_of_the_replaced_one_stays(tmp_path):
    (tmp_path / ".w.previous").mkdir()
    (tmp_path / ".w.previous" / "config.json").write_text("mine")
    with pytest.raises(OutputError, match=r"\.w\.previous.* is no checkpoint of amvur"):
        save(tmp_path / "w")
    assert (tmp_path / ".w.previous" / "config.json").read_text() == "mine"


def test_a_link_is_not_replaced(tmp_path):
    save(tmp_path / "elsewhere")
    (tmp_path / "w").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="not overwritten"):
        save(tmp_path / "w", network(8))
    assert load_checkpoint(tmp_path / "w").state["0.weight"].shape == (5, 7)


def test_what_killed_writers_left_is_removed(tmp_path):
    left = leave_behind(tmp_path / "w")
    left.unlink()
    left.mkdir()
    (left / "model.safetensors").write_text("half of it")
    save(tmp_path / "w")
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
