"""A run on a mixture of data sets: killed and resumed, and with any number of workers, it is the same run."""

import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))
import tiny_run
from tiny_photos import mixture_of
from tiny_run import PX, go, interrupted_at, parts, weights

from amvur.training.pool import PoolConfig, SamplePool
from amvur.training.targets import LabelledImages


def assert_same(first, second):
    for part in ("model", "average"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), (part, name)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    mixture_of(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("whole")
    assert go(folder, source=mixture_of(data)).finished
    return weights(folder)


def test_the_run_draws_from_every_set(data, whole):
    choices = {mixture_of(data).choice(number) for number in range(24)}
    assert choices == {0, 1, 2}
    start = parts().network.state_dict()
    assert not torch.equal(whole["model"]["last.weight"], start["last.weight"])


def test_killed_and_resumed_it_is_bit_equal(tmp_path, data, whole):
    command = [sys.executable, tiny_run.__file__, "killed", tmp_path, "1", data]
    ended = subprocess.run(command, capture_output=True, timeout=120)
    assert ended.returncode == -9, ended.stderr.decode()
    assert weights(tmp_path)["progress"]["step"] == 3
    assert go(tmp_path, source=mixture_of(data), run={"resume": True}).step == 6
    assert_same(whole, weights(tmp_path))


@pytest.fixture
def ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("step", [0, 2, 4])
@pytest.mark.usefixtures("ctrl_c")
def test_stopped_by_ctrl_c_and_resumed_it_is_bit_equal(tmp_path, data, whole, step):
    part = go(tmp_path, made=parts(loss=interrupted_at(step)), source=mixture_of(data))
    assert (part.step, part.finished, part.interrupted) == (step + 1, False, True)
    assert weights(tmp_path)["progress"]["step"] == step + 1
    assert go(tmp_path, source=mixture_of(data), run={"resume": True}).finished
    assert_same(whole, weights(tmp_path))


def test_pictures_do_not_depend_on_the_number_of_workers(data):
    pools = [SamplePool(mixture_of(data), PoolConfig(30, PX, chunk=4, workers=n)) for n in (0, 2)]
    for pool in pools:
        pool.fill(30)
    one, many = (pool.take(torch.arange(30)) for pool in pools)
    for field in fields(LabelledImages):
        assert torch.equal(getattr(one, field.name), getattr(many, field.name)), field.name
    for pool in pools:
        pool.close()


def test_a_run_in_the_background_keeps_ignoring_ctrl_c(tmp_path, ctrl_c):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert go(tmp_path, made=parts(loss=interrupted_at(2))).finished
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_second_ctrl_c_ends_at_once(tmp_path, ctrl_c):
    def loss(*arguments):
        interrupted_at(0)(*arguments)
        return interrupted_at(0)(*arguments)

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, made=parts(loss=loss))
    assert not (tmp_path / "state.pt").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
