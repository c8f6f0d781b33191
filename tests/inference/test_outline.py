"""The outline as evidence: the term against finite differences, and hands drawn to where the picture has them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from test_reconstructor import HEIGHT, WIDTH, detect, mirror, true_mesh
from truth import INTRINSICS, exact_evidence, moved, project_numpy, true_hands

from amvur.hand.landmarks import N_PARAMETERS
from amvur.hand.loading import load_hand_model
from amvur.hand.surface import surface_points
from amvur.inference.objective import outline_quadratic, quadratic
from amvur.inference.outline import OutlineEvidence
from amvur.inference.reconstructor import Reconstructor
from amvur.inference.silhouette.segmentation import shipped_segmentation
from amvur.render import rasterize
from amvur.structures import Camera

CAMERA = Camera(INTRINSICS, "given")


@pytest.fixture(scope="module")
def truth():
    return true_hands(2, seed=1)


def outline_of(truth, m=9, weight=0.7):
    """Random points of the skin, each on a random line some pixels from it."""
    rng = np.random.default_rng(2)
    vertex = torch.as_tensor(rng.integers(0, len(truth.model.v_template), (len(truth), m)))
    mesh = truth.model.from_matrices(truth.state.rotations, truth.state.betas, truth.state.transl)
    points = torch.take_along_dim(mesh.vertices, vertex[..., None], 1).numpy()
    normal = rng.normal(size=(len(truth), m, 2))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    places = project_numpy(points) + 3 * rng.normal(size=normal.shape)
    surface = surface_points(truth.model, truth.state, vertex)
    lines = (torch.as_tensor(x) for x in (places, normal))
    weights = torch.full(vertex.shape, weight, dtype=torch.float64)
    return OutlineEvidence(surface, *lines, weights), points


def test_the_cost_is_that_of_the_distances_from_the_lines(truth):
    seen, points = outline_of(truth)
    k = torch.as_tensor(INTRINSICS)[None].expand(len(truth), 3, 3)
    off = ((project_numpy(points) - seen.places.numpy()) * seen.normals.numpy()).sum(-1) * 0.7
    wanted = 2.5 * np.log1p(off**2 / 4).sum(-1)  # Student's t, 4 degrees of freedom
    np.testing.assert_allclose(outline_quadratic(truth.chain, seen, k, truth.state).cost, wanted, rtol=1e-5)
    # along its line a point may move as it likes
    slid = replace(seen, places=seen.places + 50 * seen.normals.flip(-1) * torch.tensor([1.0, -1.0]))
    np.testing.assert_allclose(outline_quadratic(truth.chain, slid, k, truth.state).cost, wanted, rtol=1e-5)


def test_the_gradient_is_the_finite_difference_of_the_cost(truth):
    seen, _ = outline_of(truth)
    evidence, h = replace(exact_evidence(truth), outline=seen), 1e-6
    plain = exact_evidence(truth)

    def part(state):
        both = quadratic(truth.chain, truth.prior, evidence, state)
        return both, quadratic(truth.chain, truth.prior, plain, state)

    both, alone = part(truth.state)
    gradient = both.gradient - alone.gradient
    numeric = torch.zeros_like(gradient)
    for i, step in enumerate(h * np.eye(N_PARAMETERS)):
        costs = [a.cost - b.cost for a, b in (part(moved(truth.state, sign * step)) for sign in (1, -1))]
        numeric[:, i] = (costs[0] - costs[1]) / (2 * h)
    assert ((gradient - numeric).abs() / gradient.abs().amax(-1, keepdim=True)).max() < 1e-5
    assert (torch.linalg.eigvalsh(both.curvature - alone.curvature)[:, 0] > -1e-6).all()


def test_points_without_weight_have_no_effect(truth):
    seen, _ = outline_of(truth)
    k = torch.as_tensor(INTRINSICS)[None].expand(len(truth), 3, 3)
    nothing = outline_quadratic(truth.chain, replace(seen, weight=0 * seen.weight), k, truth.state)
    for values in (nothing.cost, nothing.gradient, nothing.curvature):
        assert (values == 0).all()


@cache
def photograph(skin=(200, 140, 110), table=(70, 110, 150)):
    """The true hand in one color before a table of another, with noise."""
    vertices = torch.as_tensor(true_mesh()[0]).float()[None]
    faces = torch.as_tensor(np.asarray(load_hand_model("open").faces, dtype=np.int64))
    camera = torch.as_tensor(INTRINSICS).float()[None]
    mask = rasterize(vertices, faces, camera, HEIGHT, WIDTH).mask[0].numpy()
    picture = gaussian_filter(np.where(mask[..., None], skin, table).astype(float), (0.7, 0.7, 0))
    picture += 6 * np.random.default_rng(0).normal(size=picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def beside(detection, shift_px):
    return replace(detection, joints_2d_px=detection.joints_2d_px + shift_px)


@pytest.fixture(scope="module")
def reconstructor():
    return Reconstructor(detector="none", checkpoint="none", device="cpu", texture="sampled")


def off_px(hand):
    """How far the projected mesh is from the true one (px, median over vertices)."""
    places = project_numpy(hand.posterior.mesh().vertices[0].double().numpy() * hand.flip)
    return np.median(np.linalg.norm(places - project_numpy(true_mesh()[0]), axis=1))


def test_a_hand_is_drawn_to_its_outline(reconstructor):
    """Joints that are all 6 px too far to the right: the picture knows better."""
    wrong = [beside(detect(true_mesh()[1]), (6.0, 0.0))]
    (blind,) = reconstructor.fit(wrong, CAMERA, WIDTH)
    (seeing,) = reconstructor.fit(wrong, CAMERA, WIDTH, image=photograph())
    assert off_px(blind) > 4.5
    assert off_px(seeing) < 0.85 * off_px(blind)


@pytest.fixture(scope="module")
def segmenting():
    found = Reconstructor(detector="none", checkpoint="none", device="cpu", texture="sampled")
    found.segmentation = shipped_segmentation()
    return found


def test_a_segmentation_draws_it_too_and_says_how_far_the_mesh_still_is_from_the_hand(segmenting):
    right, wrong = (beside(detect(true_mesh()[1]), (shift, 0.0)) for shift in (0.0, 6.0))
    (blind,) = segmenting.fit([wrong], CAMERA, WIDTH)
    there, drawn, far = (
        segmenting.fit([d], CAMERA, WIDTH, image=photograph())[0]
        for d in (right, wrong, beside(wrong, (20.0, 0.0)))
    )
    assert off_px(drawn) < 0.9 * off_px(blind)
    assert off_px(there) < 1.5
    mismatch = [hand.features[-1] for hand in (there, drawn, far)]
    assert mismatch == sorted(mismatch)
    assert mismatch[2] > mismatch[0] + 0.5
    assert blind.features[-1] == 0  # nothing was looked at


def test_a_segmentation_knows_nothing_of_a_hand_outside_of_the_picture(segmenting):
    gone = [beside(detect(true_mesh()[1]), (5000.0, 0.0))]
    (seeing,) = segmenting.fit(gone, CAMERA, WIDTH, image=photograph())
    assert seeing.features[-1] == 0
    assert np.isfinite(seeing.posterior.mesh().vertices).all()


def test_a_picture_of_one_color_changes_nothing(reconstructor):
    wrong = [beside(detect(true_mesh()[1]), (6.0, 0.0))]
    (blind,) = reconstructor.fit(wrong, CAMERA, WIDTH)
    flat = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    (seeing,) = reconstructor.fit(wrong, CAMERA, WIDTH, image=flat)
    assert off_px(seeing) == pytest.approx(off_px(blind), abs=0.05)


def test_a_hand_outside_of_the_picture_is_left_alone(reconstructor):
    gone = [beside(detect(true_mesh()[1]), (5000.0, 0.0))]
    (blind,) = reconstructor.fit(gone, CAMERA, WIDTH)
    (seeing,) = reconstructor.fit(gone, CAMERA, WIDTH, image=photograph())
    apart = (blind.posterior.state.transl - seeing.posterior.state.transl).norm()
    assert float(apart) < 0.02 * float(blind.posterior.state.transl.norm())


def test_left_hands_share_the_batch_and_mirror(reconstructor):
    """Beside a right hand in one batch, the left hand of the mirrored picture comes out as its mirror image."""
    right = beside(detect(true_mesh()[1]), (4.0, 3.0))
    mirrored = Camera(np.array([[-1.0, 0, WIDTH], [0, 1, 0], [0, 0, 1]]) @ INTRINSICS * [-1, 1, 1], "given")
    both = np.minimum(photograph(), photograph()[:, ::-1])
    (alone,) = reconstructor.fit([right], CAMERA, WIDTH, image=photograph())
    (left,) = reconstructor.fit([mirror(right)], mirrored, WIDTH, image=photograph()[:, ::-1].copy())
    np.testing.assert_allclose(left.posterior.state.transl, alone.posterior.state.transl, atol=2e-4)
    np.testing.assert_allclose(left.posterior.state.rotations, alone.posterior.state.rotations, atol=5e-3)
    pair = reconstructor.fit([right, mirror(right)], CAMERA, WIDTH, image=both)
    for hand, detection in zip(pair, (right, mirror(right)), strict=True):
        (single,) = reconstructor.fit([detection], CAMERA, WIDTH, image=both)
        np.testing.assert_allclose(hand.posterior.state.betas, single.posterior.state.betas, atol=0.02)
