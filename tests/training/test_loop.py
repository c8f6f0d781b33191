"""The loop: resuming to the bit, being killed, steps that fail, several processes, clear refusals."""

import csv
import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import tiny_run
from leftovers import leave_behind
from tiny_run import PX, TinyNetwork, TinySource, config, go, objective, parts, weights

from amvur.checkpoint import load_checkpoint, load_weights
from amvur.errors import InputError, ModelFileError, OutputError
from amvur.training.optimization import AveragedNetwork, learning_rate, make_optimizer
from amvur.training.pool import PoolError
from amvur.training.preparation import TrainingError
from amvur.training.run_options import RunOptions, make_fabric


def assert_same(first, second):
    for part in ("model", "average"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), (part, name)
    for a, b in zip(first["optimizer"]["state"].values(), second["optimizer"]["state"].values(), strict=True):
        assert torch.equal(a["exp_avg_sq"], b["exp_avg_sq"])


def rows(folder):
    with (folder / "log.csv").open() as stream:
        return list(csv.DictReader(stream))


def stop_at(step):
    """An objective that fails once, like a machine that goes away."""

    def loss(prediction, targets, number, generator):
        if number == step:
            raise KeyboardInterrupt
        return objective(prediction, targets, number, generator)

    return loss


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert go(folder).finished
    return folder


def test_a_run_leaves_weights_state_and_log(whole):
    log = rows(whole)
    assert [int(row["step"]) for row in log] == [1, 2, 3, 4, 5, 6]
    assert all(float(row["loss"]) > 0 and float(row["squared"]) > 0 for row in log)
    assert [bool(row["held_out_pa_mpjpe_mm"]) for row in log] == [False, False, True, False, False, True]
    assert [int(row["pool"]) for row in log[:2]] == [16, 16], "filled in chunks, as steps need it"
    found = load_checkpoint(whole / "last")
    assert found.network == {"kind": "tiny"}
    assert found.config["card"]["step"] == 6
    assert found.config["hand_model"]["name"] == "random"
    net = TinyNetwork()
    load_weights(net, found.state, whole)
    average = weights(whole)["average"]
    assert all(torch.equal(value, average[name]) for name, value in net.state_dict().items())


def test_resumed_is_bit_equal_to_uninterrupted(tmp_path, whole):
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, made=parts(loss=stop_at(4)), save_every_s=0.0)
    assert weights(tmp_path)["progress"]["step"] == 4
    assert go(tmp_path, run={"resume": True}).step == 6
    assert_same(weights(whole), weights(tmp_path))
    assert [row["loss"] for row in rows(tmp_path)] == [row["loss"] for row in rows(whole)]


def test_kill_dash_nine_and_resume(tmp_path, whole):
    program = Path(tiny_run.__file__)
    ended = subprocess.run(
        [sys.executable, program, "killed", tmp_path, "1"], capture_output=True, timeout=120
    )
    assert ended.returncode == -9, ended.stderr.decode()
    assert load_checkpoint(tmp_path / "last").config["card"]["step"] == 3
    with (tmp_path / "log.csv").open("a") as stream:
        stream.write("4,0.1")  # half a line
    leave_behind(tmp_path / "state.pt")
    go(tmp_path, run={"resume": True})
    assert not list(tmp_path.glob(".*.tmp"))
    assert_same(weights(whole), weights(tmp_path))
    assert len(rows(tmp_path)) == 6


def test_two_processes_with_half_batches_are_one(tmp_path):
    program = Path(tiny_run.__file__)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    command = [sys.executable, program, "ddp", tmp_path / "two", "2"]
    processes = [
        subprocess.Popen(command, env={**os.environ, **address, "LOCAL_RANK": rank}, stderr=subprocess.PIPE)
        for rank in "01"
    ]
    go(
        tmp_path / "one",
        made=parts(False, tiny_run.quiet_objective),
        run={"augment": None},
        steps=4,
    )
    for process in processes:
        message = process.communicate(timeout=120)[1].decode()
        assert process.returncode == 0, message[-3000:]
    one, two = weights(tmp_path / "one")["model"], weights(tmp_path / "two")["model"]
    start = parts(False).network.state_dict()
    for name, value in one.items():
        assert not torch.equal(value, start[name]), "it learned"
        torch.testing.assert_close(value, two[name], rtol=1e-4, atol=1e-5)


def test_the_time_limit_ends_the_run_and_the_rate(tmp_path):
    limit_s = 3.0  # the first step alone takes a second of that on a busy machine
    result = go(tmp_path, run={"max_seconds": limit_s}, steps=10**6, evaluate_every=10**6)
    assert result.finished
    assert 0 < result.step < 10**6
    assert float(rows(tmp_path)[-1]["learning_rate"]) < 0.5 * config().learning_rate
    assert weights(tmp_path)["progress"]["step"] == result.step
    again = go(tmp_path, run={"max_seconds": limit_s, "resume": True}, steps=10**6)
    assert again.step == result.step, "the time is used up"


def test_a_pause_is_not_the_end(tmp_path):
    result = go(tmp_path, run={"stop_after_s": 1.0}, steps=10**6, warmup_steps=0)
    assert not result.finished
    assert float(rows(tmp_path)[-1]["learning_rate"]) == pytest.approx(config().learning_rate, rel=1e-3)


def test_steps_that_are_not_finite_are_skipped(tmp_path):
    def loss(prediction, targets, step, generator):
        value, terms = objective(prediction, targets, step, generator)
        return value * (float("nan") if step in (1, 2) else 1.0), terms

    assert go(tmp_path, made=parts(loss=loss)).skipped == 2
    assert all(torch.isfinite(v).all() for v in weights(tmp_path)["model"].values())
    assert rows(tmp_path)[-1]["skipped"] == "2"


def test_a_run_that_diverged_stops(tmp_path):
    def loss(prediction, targets, step, generator):
        return prediction.joints.loc.sum() * float("inf"), {}

    with pytest.raises(TrainingError, match="50 steps in a row"):
        go(tmp_path, made=parts(loss=loss), steps=100)


def test_another_run_is_not_overwritten(whole):
    before = (whole / "state.pt").read_bytes()
    with pytest.raises(OutputError, match="--resume"):
        go(whole)
    other = parts()
    other.network_config["kind"] = "other"
    with pytest.raises(InputError, match="of another network"):
        go(whole, made=other, run={"resume": True})
    assert (whole / "state.pt").read_bytes() == before


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(ModelFileError, match=r"state\.pt is damaged"):
        go(tmp_path, run={"resume": True})


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (TinySource(0, px=PX + 2), InputError, r"wants pictures of 16×16"),
        (TinySource(0, bad=5), InputError, r"betas of 1 of 16"),
        (TinySource(0, dies=5), PoolError, "the renderer broke"),
        (TinySource(9), InputError, "another seed"),
    ],
)
@pytest.mark.parametrize("threaded", [False, True])
def test_wrong_data_is_refused_at_once(tmp_path, source, error, message, threaded):
    with pytest.raises(error, match=message):
        go(tmp_path, source=source, run={"threaded": threaded})


def test_a_thread_that_fails_later_ends_the_run(tmp_path):
    with pytest.raises(PoolError, match="the renderer broke"):
        go(tmp_path, source=TinySource(0, dies=300), run={"threaded": True}, steps=10**6)


@pytest.mark.parametrize(
    ("run", "changes", "message"),
    [
        ({"device": "tpu"}, {}, "auto, cpu or cuda"),
        ({"device": "cpu"}, {"precision": "bf16-mixed"}, "many times slower"),
    ],
)
def test_devices_that_cannot_be_used(run, changes, message):
    with pytest.raises(InputError, match=message):
        make_fabric(RunOptions(**run), config(**changes))


def test_settings_that_make_no_sense(tmp_path):
    with pytest.raises(InputError, match="batch_size wants at least 1"):
        config(batch_size=0)
    with pytest.raises(InputError, match=r"cannot be shared.*--batch-size"):
        go(tmp_path, batch_size=1)


def test_learning_rate_warms_up_and_decays():
    plan = config(learning_rate=1.0, warmup_steps=4)
    assert [learning_rate(plan, step, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert learning_rate(plan, 9, 0.5) == pytest.approx(0.505)
    assert learning_rate(plan, 9, 2.0) == pytest.approx(0.01)


def test_norms_and_biases_do_not_decay():
    groups = make_optimizer(TinyNetwork(), config(weight_decay=0.3)).param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.3, 2), (0.0, 4)]


def test_the_average_follows(tmp_path):
    net = TinyNetwork()
    average = AveragedNetwork(net, 0.5)
    start = net.last.bias.detach().clone()
    with torch.no_grad():
        net.last.bias += 1
        net.norm.running_mean += 3
    average.update(net, 1000)
    torch.testing.assert_close(average.module.last.bias, start + 0.5)
    assert torch.equal(average.module.norm.running_mean, net.norm.running_mean)
    net.norm.running_mean.fill_(float("nan"))
    average.restore_buffers(net)
    assert torch.isfinite(net.norm.running_mean).all()


@pytest.mark.parametrize("shown", [None, True])
@pytest.mark.parametrize("stream", ["none", "closed"])
def test_a_program_without_streams_trains(tmp_path, monkeypatch, stream, shown):
    closed = io.StringIO()
    closed.close()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None if stream == "none" else closed)
    options = RunOptions(device="cpu", show_progress=shown)
    made = tiny_run.train(parts(), config(steps=2), tmp_path, TinySource(0), TinySource(9), options)
    assert made.finished
