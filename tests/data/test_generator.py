"""The generator: one seed and one index are one picture; labels agree with the hand model and the camera."""

import pickle
import warnings
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from amvur.data.samples import HandBatch, JointState
from amvur.data.synthetic.generator import RESERVED_SEEDS, SyntheticHands, load_backgrounds
from amvur.data.synthetic.scene import SceneConfig
from amvur.errors import InputError
from amvur.geometry.cameras import project
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel

LABELS = ("joints", "joints_2d", "vertices", "vertex_colors", "hand_pose", "betas", "transl", "occlusion")
SIZE = 64


@pytest.fixture(scope="module")
def hands():
    return SyntheticHands(7, size_px=SIZE)


@pytest.fixture(scope="module")
def batch(hands):
    return hands.batch(range(6))


def row(batch, place):
    return {name: getattr(batch, name)[place] for name in HandBatch.__dataclass_fields__}


def assert_same(one, other):
    for name, value in one.items():
        if name in ("images", "index", "is_left", "mask", "joint_states"):
            assert torch.equal(value, other[name]), name
        elif value.is_floating_point():
            torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-5, msg=name)


def test_the_batch_does_not_matter(hands, batch):
    assert_same(row(hands.batch([5]), 0), row(batch, 5))
    mixed = hands.batch([4, 123_456, 0])
    assert_same(row(mixed, 0), row(batch, 4))
    assert_same(row(mixed, 2), row(batch, 0))
    assert torch.equal(mixed.index, torch.tensor([4, 123_456, 0]))


def test_threads_do_not_matter(hands, batch):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = hands.batch(range(2))
    finally:
        torch.set_num_threads(threads)
    for place in range(2):
        assert_same(row(again, place), row(batch, place))


def test_a_new_object_and_a_pickled_one_give_the_same(hands, batch):
    for other in (SyntheticHands(7, size_px=SIZE), pickle.loads(pickle.dumps(hands))):
        assert_same(row(other.batch([3]), 0), row(batch, 3))


def test_seeds_and_indices_differ(hands, batch):
    assert len({image.numpy().tobytes() for image in batch.images}) == 6
    other = SyntheticHands(8, size_px=SIZE).batch([0])
    assert not torch.equal(other.images[0], batch.images[0])
    assert not torch.equal(other.hand_pose[0], batch.hand_pose[0])


def test_batches_can_be_resumed(hands, batch):
    found = list(hands.batches(2, 3, batch_size=2))
    assert [b.index.tolist() for b in found] == [[2, 3], [4]]
    assert_same(row(found[1], 0), row(batch, 4))
    endless = hands.batches(6, None, batch_size=1)
    assert [b.index.item() for b in islice(endless, 2)] == [6, 7]


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_take_turns(hands, batch, workers):
    loader = DataLoader(hands.stream(1, 5, batch_size=2), batch_size=None, num_workers=workers)
    found = list(loader)
    assert [b.index.tolist() for b in found] == [[1, 2], [3, 4], [5]]
    for part in found:
        for place, index in enumerate(part.index.tolist()):
            assert_same(row(part, place), row(batch, index))


def test_labels_follow_from_parameters_and_camera(batch):
    torch.testing.assert_close(project(batch.joints, batch.intrinsics), batch.joints_2d, rtol=0, atol=1e-3)
    for side in ("left", "right"):
        chosen = batch.is_left == (side == "left")
        assert chosen.any(), "both sides must occur for this test: take more samples"
        model = HandModel(load_hand_model("open", side))
        mesh = model(*(x[chosen] for x in (batch.global_orient, batch.hand_pose, batch.betas, batch.transl)))
        torch.testing.assert_close(mesh.vertices, batch.vertices[chosen], rtol=0, atol=2e-6)
        torch.testing.assert_close(mesh.joints, batch.joints[chosen], rtol=0, atol=2e-6)
    outside = ((batch.joints_2d < 0) | (batch.joints_2d >= SIZE)).any(-1)
    assert torch.equal(batch.joint_states == JointState.OUTSIDE, outside)


def test_a_mirrored_hand_has_mirrored_labels():
    right, left = (
        SyntheticHands(7, size_px=SIZE, config=SceneConfig(left_rate=rate)).batch([0, 1])
        for rate in (0.0, 1.0)
    )
    assert not right.is_left.any()
    assert left.is_left.all()
    assert torch.equal(left.images, right.images.flip(2))
    assert torch.equal(left.mask, right.mask.flip(2))
    for name in ("joint_states", "visible_vertices", "unoccluded_vertices", "vertex_colors", "occlusion"):
        torch.testing.assert_close(getattr(left, name), getattr(right, name))
    turned = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(left.vertices, right.vertices * turned)
    torch.testing.assert_close(left.joints, right.joints * turned)
    mirrored = torch.stack([SIZE - right.joints_2d[..., 0], right.joints_2d[..., 1]], -1)
    torch.testing.assert_close(left.joints_2d, mirrored, rtol=0, atol=1e-3)
    pose = right.hand_pose.unflatten(-1, (15, 3)) * -turned
    torch.testing.assert_close(left.hand_pose, pose.flatten(-2))


def test_a_benchmark_seed_is_refused():
    for seed in RESERVED_SEEDS.values():
        with pytest.raises(InputError, match="reserved for a benchmark"):
            SyntheticHands(seed, size_px=SIZE)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**40}, {"seed": 0, "size_px": 8}])
def test_values_that_make_no_sense(wrong):
    with pytest.raises(InputError):
        SyntheticHands(**wrong)


@pytest.mark.parametrize("indices", [[], [-1], [2**40]])
def test_indices_that_make_no_sense(hands, indices):
    with pytest.raises(InputError, match="Indices"):
        hands.batch(indices)
    with pytest.raises(InputError, match="batch_size"):
        list(hands.batches(0, 3, batch_size=0))


@pytest.fixture
def folder(tmp_path, rng):
    for number, size in enumerate([(400, 300), (200, 200), (90, 500)]):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


def test_backgrounds_are_found_and_used(folder):
    found = load_backgrounds(folder)
    assert [path.name for path in found.paths] == ["0.png", "1.png", "2.png"]
    assert not found.skipped
    config = SceneConfig(photo_rate=1.0)
    plain = SyntheticHands(7, size_px=SIZE, config=config)
    photos = SyntheticHands(7, size_px=SIZE, backgrounds=folder, config=config)
    assert not torch.equal(plain.batch([1]).images, photos.batch([1]).images)
    assert plain.identity()["backgrounds"] is None
    assert photos.identity()["backgrounds"] == {"pictures": 3, "sha256": found.sha256}


def test_a_broken_background_is_skipped_with_a_warning(folder):
    (folder / "bad.jpg").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"Background skipped: .*bad\.jpg"):
        found = load_backgrounds(folder)
    assert len(found.paths) == 3
    assert len(found.skipped) == 1
    (folder / "bad.jpg").unlink()
    assert load_backgrounds(folder).sha256 == found.sha256


def test_useless_background_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="found none at"):
        load_backgrounds(tmp_path / "nowhere")
    with pytest.raises(InputError, match=str(tmp_path)):
        load_backgrounds(tmp_path)
    (tmp_path / "bad.jpg").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match=r"None of the 1 pictures in .*bad\.jpg is empty"):
            load_backgrounds(tmp_path)
