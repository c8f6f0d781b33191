"""Landmarks behind objects: how much of the hand shows about a point, and what that does to evidence."""

import numpy as np
import pytest
import torch
from test_hand_view import look
from test_reconstructor import WIDTH, detect, true_mesh
from truth import INTRINSICS

from amvur.detect.convention import load_convention
from amvur.inference.evidence import collect_evidence
from amvur.inference.hidden_landmarks import doubt_guesses, shown_shares
from amvur.inference.silhouette.segmentation import HandLook, HandPixels


def seen(view, hidden):
    """A look in which the hand is where its mesh is, and does not show at `hidden` pixels."""
    mask = view.raster.mask[0].numpy()
    shows, covers = np.where(mask & ~hidden, 30.0, -30.0), np.where(mask, 30.0, -30.0)
    logits = np.stack([shows, covers]).astype(np.float32)
    return HandLook(view, HandPixels(logits, np.where(mask, 3.0, -3.0), np.full(mask.shape, 2.0)))


def in_camera(view, places):
    """Points (m, camera of a right hand) that the view sees at these pixels."""
    rays = np.column_stack([places, np.ones(len(places))]) @ np.linalg.inv(view.intrinsics[0].numpy()).T
    return torch.from_numpy(0.45 * rays)[None]


@pytest.mark.parametrize("left", [False, True])
def test_shares_are_those_of_a_normal_neighborhood_within_the_mesh(left):
    view = look(left=left)
    mask = view.raster.mask[0].numpy()
    y, x = np.mgrid[0:224, 0:224]
    hidden = x > 112 + (y - 112) / 3
    rows, columns = mask.nonzero()
    chosen = np.random.default_rng(0).integers(0, len(rows), 40)
    places = np.column_stack([columns, rows])[chosen] + 0.5
    found = shown_shares([seen(view, hidden)], in_camera(view, places))[0]
    near = np.exp(
        -0.5 * (np.square(x + 0.5 - places[:, :1, None]) + np.square(y + 0.5 - places[:, 1:, None])) / 36
    )
    wanted = (near * (mask & ~hidden)).sum((1, 2)) / (near * mask).sum((1, 2))
    np.testing.assert_allclose(found, wanted, atol=0.06)
    assert wanted.min() < 0.1
    assert wanted.max() > 0.9


def test_nothing_is_hidden_where_nobody_looked_or_no_mesh_is():
    view = look()
    points = in_camera(view, np.array([[112.0, 112.0], [-500.0, 3000.0]])).repeat(3, 1, 1)
    hidden = seen(view, np.ones((224, 224), bool))
    found = shown_shares([None, HandLook(view), hidden], points)
    np.testing.assert_allclose(found, [[1, 1], [1, 1], [0, 1]], atol=1e-3)


def test_only_what_a_detector_says_of_hidden_landmarks_is_doubted():
    evidence = collect_evidence([detect(true_mesh()[1])], INTRINSICS, WIDTH, load_convention("amvur"))
    shown = torch.ones(1, 21).double()
    shown[0, 8], shown[0, 12] = 0.0, 0.5
    told = doubt_guesses(evidence, shown)
    for name in ("joints_2d_weight", "depth_weight", "landmarks_3d_weight"):
        before, after = getattr(evidence, name), getattr(told, name)
        torch.testing.assert_close(after[0, 8], before[0, 8] / 4)
        torch.testing.assert_close(after[0, 12], before[0, 12] / 2.5)
        rest = [j for j in range(21) if j not in (8, 12)]
        torch.testing.assert_close(after[:, rest], before[:, rest])
