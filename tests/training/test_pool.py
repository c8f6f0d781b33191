"""The pool: what is in it, drawn from it, saved, and what happens when its workers fail."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))
from tiny_run import PX, TinySource

from amvur.errors import InputError
from amvur.training.pool import PoolConfig, PoolError, SamplePool
from amvur.training.targets import as_right_hands


def pool(size=20, source=None, **options):
    return SamplePool(source or TinySource(0), PoolConfig(size, PX, chunk=8, **options))


def seed(number):
    return torch.Generator().manual_seed(number)


def assert_holds(made, indices):
    wanted = as_right_hands(TinySource(0).batch(list(indices)))
    found = made.take(torch.arange(len(wanted)))
    assert torch.equal(found.images, wanted.images)
    assert torch.equal(found.hand_pose, wanted.hand_pose)
    assert torch.equal(found.joints_2d, wanted.joints_2d)


@pytest.mark.parametrize("threaded", [False, True])
def test_filled_in_the_order_of_the_source(threaded):
    made = pool(threaded=threaded)
    made.fill(5, timeout_s=20.0)
    assert len(made) >= 8
    assert_holds(made, range(5))
    made.fill(1000, timeout_s=20.0)
    assert len(made) == 20
    assert_holds(made, range(20))
    made.close()


def test_begins_where_it_is_told():
    made = pool(start=100)
    made.fill(20)
    assert_holds(made, range(100, 120))


def test_samples_are_uniform_and_the_generators():
    made = pool()
    made.fill(20)
    drawn = made.sample(2000, seed(1))
    assert torch.equal(drawn.betas, made.sample(2000, seed(1)).betas)
    counts = (drawn.betas[:, None, 0] == made.take(torch.arange(20)).betas[None, :, 0]).sum(0)
    assert counts.sum() == 2000
    assert counts.min() > 60
    assert counts.max() < 150


def test_the_oldest_make_room():
    made = pool(threaded=True, replace=True, source=TinySource(0, ends=44))
    made.fill(20, timeout_s=20.0)
    made._thread.join(20)
    assert made.rendered == 48
    kept = as_right_hands(TinySource(0).batch(range(28, 48))).betas[:, 0]
    assert set(made._store.betas[:, 0].tolist()) == set(kept.tolist())
    with pytest.raises(PoolError, match="ended after 48"):
        made.sample(2, seed(0))


def test_an_empty_pool_is_named():
    with pytest.raises(PoolError, match="empty"):
        pool().sample(2, seed(0))


def test_survives_a_restart(tmp_path):
    made = pool()
    made.fill(16)
    made.save(tmp_path / "pool.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["pool.safetensors"]
    again = pool()
    assert again.load(tmp_path / "pool.safetensors")
    assert len(again) == 16
    again.fill(20)
    assert_holds(again, range(20))
    smaller = pool(size=6)
    assert smaller.load(tmp_path / "pool.safetensors")
    assert_holds(smaller, range(6))


def test_a_pool_of_other_pictures_is_not_taken(tmp_path):
    made = pool()
    made.fill(8)
    made.save(tmp_path / "p")
    assert not pool(source=TinySource(1)).load(tmp_path / "p")
    assert not pool(start=8).load(tmp_path / "p")
    assert not pool().load(tmp_path / "none")
    (tmp_path / "p").write_bytes((tmp_path / "p").read_bytes()[:-9])
    assert not pool().load(tmp_path / "p")


def test_too_slow_is_told():
    made = pool(threaded=True)
    made._begin = lambda: None
    with pytest.raises(PoolError, match=r"Only 0 of 20 pictures were made in 0.1 s"):
        made.fill(20, timeout_s=0.1)


def test_workers_give_the_same_and_their_failure_ends_it():
    made = pool(size=64, workers=1, source=TinySource(0, dies=24))
    made.fill(20)
    assert_holds(made, range(20))
    with pytest.raises(PoolError, match="the renderer broke"):
        made.fill(32)


def test_labels_outside_need_not_be_finite():
    batch = TinySource(0).batch([0, 1])
    batch.joints_2d[0, 3] = float("inf")
    source = TinySource(0)
    source.batch = lambda _: batch
    with pytest.raises(InputError, match="joints_2d of 1 of 2"):
        pool(source=source).fill(2)
    batch.joint_states[0, 3] = 3
    pool(source=source).fill(2)
