"""Which pixels show a hand: what the mesh tells of it, the shipped weights, bad files."""

from functools import cache

import numpy as np
import posed
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.stats import norm

from amvur.checkpoint_folder import shipped
from amvur.errors import ModelFileError
from amvur.hand.loading import load_hand_model
from amvur.inference.silhouette.segmentation import (
    LEAST_STD_PX,
    NEAR_PX,
    HandPixels,
    load_segmentation,
    outline_hints,
    shipped_segmentation,
    signed_depth,
)
from amvur.inference.view import look_at_hand

CAMERA = np.array([[420.0, 0, 160], [0, 420.0, 120], [0, 0, 1]])
SKIN, LAWN = np.array([204, 150, 125]), np.array([60, 140, 50])


@cache
def hand():
    vertices, _ = posed.posed([0.3, 0.5, 1.2], np.full(45, 0.05), transl=(-0.004, 0.076, 0.45))
    return vertices.astype(np.float32), load_hand_model("open").faces


def covered(vertices):
    return posed.covered(vertices, hand()[1], CAMERA, 240, 320)


def photograph():
    """A hand of one color on a lawn, with noise."""
    picture = np.where(covered(hand()[0])[..., None], SKIN, LAWN).astype(float)
    picture = gaussian_filter(picture, (0.6, 0.6, 0))
    picture += 6 * np.random.default_rng(0).normal(size=picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def view_of(image, shift_px=0.0):
    """The view of a mesh that lies beside the hand."""
    vertices, faces = hand()
    moved = vertices + np.array([shift_px / 420 * 0.45, 0, 0], dtype=np.float32)
    return look_at_hand(image, moved, faces, CAMERA)


def cropped(mask, view):
    """A mask of the picture in a view."""
    return view.crop.warp(np.repeat(255 * mask[..., None].astype(np.uint8), 3, 2))[..., 0] > 127


@pytest.mark.parametrize("corner", [(0, 0), (30, 11), (48, 52)])  # two of them at the picture's end
def test_depths_and_the_nearest_pixel_are_scipys(corner):
    blob = gaussian_filter(np.random.default_rng(4).normal(size=(32, 28)), 3.0) > -0.02
    mask = np.zeros((80, 80), dtype=bool)
    mask[corner[0] : corner[0] + 32, corner[1] : corner[1] + 28] = blob
    depth, row, column = signed_depth(mask)
    beside = distance_transform_edt(~mask)
    np.testing.assert_array_equal(depth, np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - beside))
    assert mask[row, column].all()
    y, x = np.mgrid[0:80, 0:80]
    np.testing.assert_allclose(np.hypot(row - y, column - x), beside, rtol=1e-12)
    assert (signed_depth(np.zeros_like(mask))[0] == -np.inf).all()
    assert (signed_depth(np.ones_like(mask))[0] == np.inf).all()


def test_hints_are_distances_to_the_outline_and_deviations_of_what_is_nearest():
    """Against brute force; the deviation grows along the picture's rows."""
    view = view_of(photograph())
    std = 1 + view.pixels[:, 1].astype(float) / 50
    depth, stated = outline_hints(view, std)
    mask = view.raster.mask
    y, x = np.mgrid[0:224, 0:224]
    for row, column in np.random.default_rng(1).integers(0, 224, (60, 2)):
        gap = np.hypot(y - row, x - column)
        assert abs(depth[row, column]) == pytest.approx(gap[mask != mask[row, column]].min() - 0.5)
        assert (depth[row, column] > 0) == mask[row, column]
        nearest = np.flatnonzero(np.isclose(gap[mask], gap[mask].min()))
        heights = (1 + (y[mask][nearest] + 0.5) / 50).astype(float)
        wanted = np.hypot(heights, LEAST_STD_PX)
        assert np.abs(wanted - stated[row, column]).min() < 0.02
    np.testing.assert_allclose(outline_hints(view, 3.0)[1], np.hypot(3.0, LEAST_STD_PX))
    np.testing.assert_array_equal(outline_hints(view, 3.0)[0], depth)


def test_the_shipped_weights_find_the_hand_beside_a_mesh():
    """The mesh lies 6 px beside the hand: what is lawn under it is told from skin, and skin beside it too."""
    image = photograph()
    view = view_of(image, 6.0)
    shows, covers = shipped_segmentation()([view], [6.0])[0].pixels.logits
    assert shows.shape == (224, 224)
    truth = cropped(covered(hand()[0]), view)
    depth, _ = outline_hints(view, 6.0)
    inner = np.abs(distance_transform_edt(truth) - distance_transform_edt(~truth)) > 2
    near = (np.abs(depth) < 12) & inner
    mesh = view.raster.mask
    assert (mesh == truth)[near].mean() < 0.85
    for answer in (shows, covers):
        assert ((answer > 0) == truth)[near & mesh].mean() > 0.95
        assert ((answer > 0) == truth)[near].mean() > 0.93


def test_behind_an_object_the_hand_goes_on_but_does_not_show():
    image = photograph()
    fingers, _ = hand()
    place = fingers @ CAMERA.T
    x, y = (place[:, :2] / place[:, 2:]).mean(0).astype(int)
    image[y - 20 : y + 20, x - 20 : x + 20] = (40, 60, 160)
    view = view_of(image)
    pixels = shipped_segmentation()([view], [3.0])[0].pixels
    block = np.zeros(image.shape[:2], bool)
    block[y - 17 : y + 17, x - 17 : x + 17] = True
    hidden = cropped(block, view) & cropped(covered(hand()[0]), view)
    assert hidden.sum() > 500
    assert pixels.shows[hidden].mean() < 0.1
    assert pixels.covers[hidden].mean() > 0.9


def test_what_was_seen_of_a_view_is_kept_and_a_number_stands_for_all_vertices(monkeypatch):
    segmentation, view = shipped_segmentation(), view_of(photograph())
    look, other = segmentation([view, view_of(photograph(), 6.0)], [3.0, 6.0])
    assert (look.pixels.logits != other.pixels.logits).any()
    monkeypatch.setattr(segmentation, "trunk", None)
    assert segmentation.with_maps([look.view]) == [look.view]
    (again,) = segmentation([look.view], [np.full(len(hand()[0]), 3.0)])
    np.testing.assert_allclose(again.pixels.logits, look.pixels.logits, atol=1e-3)
    assert segmentation([], []) == []


def test_views_of_a_batch_are_seen_as_they_are_alone():
    segmentation, views = shipped_segmentation(), [view_of(photograph(), x) for x in (0.0, 6.0, -4.0)]
    together = segmentation(views, [3.0, 6.0, 3.0])
    for look, view, std in zip(together, views, (3.0, 6.0, 3.0), strict=True):
        np.testing.assert_array_equal(look.pixels.logits, segmentation([view], [std])[0].pixels.logits)


def test_the_shipped_networks_say_what_their_weights_say_in_torch():
    torch = pytest.importorskip("torch")
    from amvur.models.landmark_trunk import LandmarkTrunk
    from amvur.pretrained import load_segmenter

    trunk = LandmarkTrunk()
    network = load_segmenter(shipped("segmentation"), trunk)
    view = view_of(photograph())
    images = torch.tensor(view.picture).permute(2, 0, 1)[None].float() / 255
    hints = (torch.from_numpy(x)[None].float() for x in outline_hints(view, 2.0))
    segmentation = shipped_segmentation()
    with torch.no_grad():
        maps = trunk.pyramid(images)
        wanted = network(images, *hints, maps)[0]
    np.testing.assert_allclose(segmentation([view], [2.0])[0].pixels.logits, wanted, atol=5e-3)  # of up to 15
    assert segmentation.level_widths == trunk.level_widths
    for found, right in zip(segmentation.with_maps([view])[0].maps, maps, strict=True):
        np.testing.assert_allclose(found, right[0], atol=1e-3)


def test_weights_that_cannot_be_used_are_refused(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from amvur.checkpoint import save_checkpoint
    from amvur.models.landmark_trunk import LandmarkTrunk
    from amvur.models.segmentation import HandSegmenter, SegmentationConfig
    from amvur.pretrained import load_segmenter

    network = HandSegmenter(SegmentationConfig((16, 24, 40, 99), (4, 4, 4, 4), 4))
    save_checkpoint(tmp_path / "other", vars(network.config), network.state_dict(), hand_model="open")
    with pytest.raises(ModelFileError, match="99"):
        load_segmenter(tmp_path / "other", LandmarkTrunk())
    with pytest.raises(ModelFileError, match="export-network"):
        load_segmentation(tmp_path / "other")
    settings = {**vars(network.config), "magic": 1}
    save_checkpoint(tmp_path / "later", settings, network.state_dict(), hand_model="open")
    with pytest.raises(ModelFileError, match="magic"):
        load_segmenter(tmp_path / "later", LandmarkTrunk())
    save_checkpoint(tmp_path / "none", {"image_px": 64}, {"a": torch.zeros(2)}, hand_model="open")
    with pytest.raises(ModelFileError, match="no segmentation"):
        load_segmentation(tmp_path / "none")
    with pytest.raises(ModelFileError, match="nothing"):
        load_segmentation(tmp_path / "nothing")
    monkeypatch.setattr("amvur.inference.silhouette.segmentation.shipped", lambda name: None)
    with pytest.raises(ModelFileError, match="Reinstall"):
        shipped_segmentation()


def covering(logits, depth, std=2.0):
    """Pixels none of which shows the hand and that are covered by it with such logits."""
    both = np.stack([np.full(np.shape(depth), -9.0), logits]).astype(np.float32)
    return HandPixels(both, np.float64(depth), np.full(np.shape(depth), std))


def test_what_is_believed_of_the_mesh_is_taken_off_the_evidence():
    depth = np.linspace(-6, 6, 25).reshape(5, 5)
    told = np.log(norm.cdf(depth / 2) / norm.sf(depth / 2)) + 1.5
    np.testing.assert_allclose(covering(told, depth).evidence, 1.5, atol=1e-5)
    far = depth + np.where(depth > 0, NEAR_PX, -NEAR_PX)
    np.testing.assert_array_equal(covering(told, far).evidence, 0)


def test_the_mismatch_is_one_less_intersection_over_union():
    sure = 30.0
    depth = np.array([[3.0, 3, 3], [3, -1, -1], [-1, -30, -30]])
    assert covering(np.where(depth > 0, sure, -sure), depth).mismatch == pytest.approx(0, abs=1e-6)
    moved = np.array([[-sure, sure, sure], [sure, sure, -sure], [-sure, sure, -sure]])  # one is far away
    assert covering(moved, depth).mismatch == pytest.approx(1 - 3 / 5)
    assert covering(0 * depth, depth).mismatch == pytest.approx(1 - 2 / (4 + 1.5))
