"""What a run left on the disk, damaged: the state, the pool and the log."""

import sys
import zipfile
from pathlib import Path

import pytest
import torch
from limits import refused, within
from safetensors.torch import load_file, save_file

sys.path.append(str(Path(__file__).parent))
from tiny_run import PX, TinySource, parts

from amvur.errors import ModelFileError, OutputError
from amvur.training.logs import RunLog
from amvur.training.optimization import AveragedNetwork
from amvur.training.pool import PoolConfig, SamplePool
from amvur.training.run_state import Progress, check_folder, load_state, save_state

CONFIG = {"kind": "tiny"}


def run_of(folder):
    network = parts().network
    average, optimizer = AveragedNetwork(network, 0.99), torch.optim.AdamW(network.parameters())
    network(torch.rand(2, 3, PX, PX)).joints.loc.sum().backward()
    optimizer.step()
    if not folder.exists():
        save_state(folder, network, average, optimizer, Progress(3, 1.0), CONFIG)
    return network, average, optimizer


def test_a_state_comes_back(tmp_path):
    made = run_of(tmp_path / "run")
    assert load_state(tmp_path / "run", *made, CONFIG) == Progress(3, 1.0)


def changed(content, name):
    if name == "no progress":
        del content["progress"]
    elif name == "progress of texts":
        content["progress"] = {"step": "3"}
    elif name == "a list":
        return [content]
    elif name == "weights that are none":
        content["model"] = {key: 3 for key in content["model"]}
    elif name == "other parameters":
        content["optimizer"]["state"] = {99: {"exp_avg": torch.zeros(3)}}
    elif name == "another shape":
        content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(1).expand(10**12)
    elif name == "a rate that is a text":
        content["optimizer"]["param_groups"][0]["lr"] = "fast"
    return content


@pytest.mark.parametrize(
    "name",
    ["no progress", "progress of texts", "a list", "weights that are none", "other parameters", "another shape",
     "a rate that is a text"],
)  # fmt: skip
def test_a_state_of_another_kind_is_named(tmp_path, name):
    made = run_of(tmp_path)
    run_of(tmp_path / "run")
    content = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    torch.save(changed(content, name), tmp_path / "run" / "state.pt")
    with refused(ModelFileError, r"state\.pt"):
        load_state(tmp_path / "run", *made, CONFIG)


def test_a_key_that_takes_for_ever_to_hash_is_refused(tmp_path):
    made = run_of(tmp_path)
    deep = (
        b"("
        + b")q\x00"
        + b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(60))
    )
    with zipfile.ZipFile(tmp_path / "state.pt", "w") as archive:
        archive.writestr("state/data.pkl", b"\x80\x02}" + deep + b"1h\x3cNs.")
    with refused(ModelFileError, r"state\.pt .*a tuple as a key"):
        load_state(tmp_path, *made, CONFIG)


def pool():
    return SamplePool(TinySource(0), PoolConfig(6, PX, chunk=3))


@pytest.mark.parametrize(
    "change",
    [
        {"images": torch.zeros(6, PX, PX, 4, dtype=torch.uint8)}, {"images": torch.zeros(6, PX, PX, 3)},
        {"betas": torch.zeros(5, 10)}, {"betas": torch.full((6, 10), float("nan"))}, {"has_3d": torch.zeros(6)},
        {"rendered": "x"}, {"rendered": "-3"}, {"rendered": "9" * 5000}, {"skipped": "[[1, 2]]"}, {"skipped": "[" * 10**5},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_a_pool_of_another_kind_is_made_anew(tmp_path, change):
    path = tmp_path / "pool.safetensors"
    made = pool()
    made.fill(6)
    made.save(path)
    assert pool().load(path)
    notes = {"identity": made._identity(), "rendered": "6", "skipped": "[]"}
    texts = {name: value for name, value in change.items() if isinstance(value, str)}
    save_file({**load_file(path), **{n: v for n, v in change.items() if n not in texts}}, path, notes | texts)
    with within(3.0):
        assert not pool().load(path)


def test_a_log_with_strange_rows_is_mended(tmp_path):
    (tmp_path / "log.csv").write_bytes(
        b"step,loss\n1,0.5\n\xff,1\n\xc2\xb2,1\n" + b"9" * 5000 + b',1\n"2,0.4\n2,0.3\n3'
    )
    RunLog(tmp_path, 5)
    assert (tmp_path / "log.csv").read_text() == "step,loss\n1,0.5\n2,0.3\n"


def test_a_log_that_is_no_table_is_told(tmp_path):
    with (tmp_path / "log.csv").open("wb") as stream:
        stream.truncate(2**33)
    with refused(OutputError, r"log\.csv", megabytes=10):
        RunLog(tmp_path, 5)


@pytest.mark.parametrize(
    "name", ["state.pt", "log.csv", "last", "last/config.json", "last/model.safetensors"]
)
def test_a_run_does_not_begin_where_files_of_the_users_have_its_names(tmp_path, name):
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(OutputError):
        check_folder(tmp_path, resume=False)
    assert mine.read_text() == "epoch,loss\n1,0.5\n"


def test_a_log_of_another_program_stays(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(OutputError, match="no log of amvur"):
        RunLog(tmp_path)
    assert (tmp_path / "log.csv").read_text() == "epoch,loss\n1,0.5\n"


def test_files_of_the_users_named_as_kept_pictures_stay(tmp_path):
    """Whether they are no tensors, tensors of another program, or a link to what amvur kept elsewhere."""
    made = pool()
    made.fill(6)
    made.save(tmp_path / "elsewhere")
    theirs = {"images": torch.zeros(6, PX, PX, 3, dtype=torch.uint8)}
    notes = ({}, {"identity": "Emma"}, {"identity": "{}", "rendered": "6"}, {"identity": "[]"})
    for name in ("pool.safetensors", "held_out.safetensors", "3-pool.safetensors"):
        path = tmp_path / name
        path.write_text("mine")
        for resume in (False, True):
            with pytest.raises(OutputError, match=rf"{name} exists and holds no pictures that amvur kept"):
                check_folder(tmp_path, resume)
        for note in notes:
            save_file(theirs, path, note)
            with pytest.raises(OutputError, match=name):
                check_folder(tmp_path, resume=True)
        path.unlink()
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=name):
            check_folder(tmp_path, resume=True)
        path.unlink()


@pytest.mark.parametrize("bytes_kept", [None, 3000])
def test_kept_pictures_are_ours_damaged_or_not(tmp_path, bytes_kept):
    made = pool()
    made.fill(6)
    made.save(tmp_path / "pool.safetensors")
    content = (tmp_path / "pool.safetensors").read_bytes()
    (tmp_path / "held_out.safetensors").write_bytes(content[:bytes_kept])
    check_folder(tmp_path, resume=True)
