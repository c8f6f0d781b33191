"""A network's word as evidence: crops, frames, derivatives, and what it adds to a detector's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import multivariate_t
from test_reconstructor import IMAGE, WIDTH, aligned, detect, true_mesh
from told import ToldNetwork
from truth import INTRINSICS, aligned_error_mm, exact_evidence, moved, project_numpy, true_hands

from amvur.geometry.cameras import mirror_intrinsics
from amvur.hand.landmarks import N_PARAMETERS, landmarks, make_chain, without_offsets
from amvur.inference.evidence import merge_runs, repeat, start_states
from amvur.inference.fit import fit
from amvur.inference.network_evidence import add_network
from amvur.inference.network_view import FusionSettings, look
from amvur.inference.objective import DEGREES_OF_FREEDOM, NetworkEvidence, quadratic
from amvur.inference.posterior import aligned_std, draw_meshes
from amvur.inference.reconstructor import Reconstructor
from amvur.structures import Camera, HandDetection

FLIP = np.array([-1.0, 1.0, 1.0])
OFFSETS = torch.as_tensor(0.01 * np.random.default_rng(0).normal(size=(21, 3)))


def told_evidence(truth, seed=0, amount=1.0, nothing_else=True):
    """The truth as a network's word, with errors of `amount` standard deviations by axis."""
    rng, n = np.random.default_rng(seed), len(truth)
    points = landmarks(without_offsets(truth.chain), truth.state).numpy()
    relative = points - points[:, :1]
    std = rng.uniform(0.002, 0.006, relative.shape)
    turn = Rotation.random(n, random_state=seed).as_matrix()
    errors = amount * std * rng.normal(size=std.shape)
    flat = project_numpy(points)
    flat_std = rng.uniform(1, 4, flat.shape)
    network = NetworkEvidence(
        relative_joints=torch.as_tensor(relative + errors @ turn),
        relative_weight=torch.as_tensor(turn[:, None] / std[..., None]),
        joints_2d=torch.as_tensor(flat + amount * flat_std * rng.normal(size=flat.shape)),
        joints_2d_weight=torch.as_tensor(1 / flat_std),
    )
    use = not nothing_else
    return replace(exact_evidence(truth, pixels=use, depth=use, marks=use), network=network)


@pytest.fixture(scope="module")
def truth():
    return true_hands(2, seed=1, offsets=OFFSETS)


def at(truth, evidence, state):
    return quadratic(truth.chain, truth.prior, evidence, state)


def nearby(truth, scale=0.1, seed=3):
    return moved(truth.state, scale * np.random.default_rng(seed).normal(size=61) * ([1] * 58 + [0.1] * 3))


@pytest.mark.parametrize("nothing_else", [True, False])
def test_gradient_is_the_finite_difference_of_the_cost(truth, nothing_else):
    evidence, state, h = told_evidence(truth, nothing_else=nothing_else), nearby(truth), 1e-6
    gradient = at(truth, evidence, state).gradient
    numeric = torch.zeros_like(gradient)
    for i, step in enumerate(h * np.eye(N_PARAMETERS)):
        costs = [at(truth, evidence, moved(state, sign * step)).cost for sign in (1, -1)]
        numeric[:, i] = (costs[0] - costs[1]) / (2 * h)
    scale = gradient.abs().amax(-1, keepdim=True)
    assert ((gradient - numeric).abs() / scale).max() < 1e-5


def test_curvature_is_the_hessian_where_the_network_is_right(truth):
    evidence, h = told_evidence(truth, amount=0), 1e-6
    nothing = replace(evidence, network=None)

    def gradient(state):
        return at(truth, evidence, state).gradient - at(truth, nothing, state).gradient

    curvature = at(truth, evidence, truth.state).curvature - at(truth, nothing, truth.state).curvature
    steps = h * np.eye(N_PARAMETERS)
    hessian = torch.stack(
        [(gradient(moved(truth.state, s)) - gradient(moved(truth.state, -s))) / (2 * h) for s in steps], -1
    )
    scale = torch.diagonal(curvature, dim1=-2, dim2=-1).amax(-1)[:, None, None]
    assert ((curvature - hessian).abs() / scale).max() < 1e-5
    np.testing.assert_allclose(curvature, curvature.transpose(-1, -2), rtol=1e-9, atol=1e-6)


def test_cost_is_minus_the_logarithm_of_the_stated_densities(truth):
    evidence, state = told_evidence(truth), nearby(truth)
    network, points = evidence.network, landmarks(without_offsets(truth.chain), state).numpy()
    relative = points - points[:, :1] - network.relative_joints.numpy()
    deep = np.einsum("bkij,bkj->bki", network.relative_weight.numpy(), relative)
    flat = (project_numpy(points) - network.joints_2d.numpy()) * network.joints_2d_weight.numpy()
    ours = at(truth, evidence, state).cost - at(truth, replace(evidence, network=None), state).cost
    expected = 0.0
    for residual in (deep, flat):
        d = residual.shape[-1]
        density = multivariate_t(loc=np.zeros(d), shape=np.eye(d), df=DEGREES_OF_FREEDOM)
        expected = expected + (density.logpdf(np.zeros(d)) - density.logpdf(residual)).sum(-1)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_a_network_that_saw_nothing_has_no_effect(truth):
    evidence, state = told_evidence(truth, nothing_else=False), nearby(truth)
    blind = NetworkEvidence(*(torch.zeros_like(x) for x in vars(evidence.network).values()))
    one = at(truth, replace(evidence, network=blind), state)
    other = at(truth, replace(evidence, network=None), state)
    for name in ("cost", "gradient", "curvature"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert not blind.present.any()


def test_the_network_alone_finds_the_hand_from_its_own_start(truth):
    """With a detector's offsets in the chain: the network speaks of the joints without them."""
    evidence = told_evidence(truth, amount=0)
    starts, n_starts = start_states(truth.chain, truth.prior, evidence, truth.prior.mean[None])
    assert n_starts == 1
    found = landmarks(truth.chain, fit(truth.chain, truth.prior, evidence, starts).state)
    assert (aligned_error_mm(found, truth.points) < 3).all()
    assert ((found - truth.points).norm(dim=-1) < 0.02).all()


def test_repeating_evidence_repeats_the_network(truth):
    twice = repeat(told_evidence(truth), 2).network
    np.testing.assert_array_equal(twice.relative_weight[0], twice.relative_weight[1])
    assert len(twice.joints_2d) == 2 * len(truth)


@pytest.fixture(scope="module")
def hand():
    joints = true_mesh()[1]
    return joints, detect(joints)


def rough(joints, seed, scale=0.06):
    """What a poor detector says: 2D joints only, off by a share of the hand's size."""
    exact = detect(joints)
    size = np.ptp(exact.joints_2d_px[0], axis=0).max()
    off = scale * size * np.random.default_rng(seed).normal(size=(1, 21, 2))
    return replace(exact, joints_2d_px=exact.joints_2d_px + off, depth_px=None, landmarks_3d_m=None)


def test_fused_hands_beat_those_of_the_detector_alone_and_of_the_network_alone():
    alone = Reconstructor(detector="none", checkpoint="none", device="cpu")
    errors = {"detector": [], "network": [], "fused": []}
    for seed, turn in enumerate([(1.4, 0.5, -0.6), (0.2, -0.7, 0.3), (-1.0, 0.6, 1.5), (0.5, 2.5, 0.2)]):
        joints = true_mesh(turn=turn)[1]
        detection = rough(joints, seed)
        network = ToldNetwork(0.006, 5.0, seed).tell(joints, detection)
        fused = Reconstructor(detector="none", device="cpu", checkpoint=network.trained(network_scale_3d=1.0))
        for name, engine in (("detector", alone), ("fused", fused)):
            (hand,) = engine(IMAGE, intrinsics=INTRINSICS, detections=[detection])
            errors[name].append(aligned_error(hand.joints, joints))
        view = network.answers[0][0]
        errors["network"].append(aligned_error(view, joints))
    mean = {name: np.mean(values) for name, values in errors.items()}
    assert mean["fused"] < 0.6 * mean["detector"]
    assert mean["fused"] < 0.8 * mean["network"]


def aligned_error(ours, true):
    return np.linalg.norm(aligned(ours, true) - true, axis=1).mean()


@pytest.fixture(scope="module")
def box_pair():
    """A right hand from a box and a network alone, and the left hand of the mirrored picture."""
    joints = true_mesh()[1]
    pixels = project_numpy(joints)
    box = np.concatenate([pixels.min(0) - 12, pixels.max(0) + 12])
    bare = HandDetection("right", 1.0, box, np.zeros((1, 21, 2)), np.zeros(21))
    network = ToldNetwork(0.004, 3.0).tell(joints, bare)
    reconstruct = Reconstructor(detector="none", device="cpu", checkpoint=network.trained())
    x, y, _ = np.meshgrid(np.arange(WIDTH), np.arange(len(IMAGE)), [0])  # smooth, as pixels merge in crops
    image = np.concatenate([x / 4, y / 3, (x + 2 * y) / 8], -1).astype(np.uint8)
    (right,) = reconstruct(image, intrinsics=INTRINSICS, boxes=box[None], side="right")
    x0, y0, x1, y1 = box
    camera = mirror_intrinsics(torch.as_tensor(INTRINSICS), WIDTH).numpy()
    mirrored = np.array([[WIDTH - x1, y0, WIDTH - x0, y1]])
    (left,) = reconstruct(image[:, ::-1].copy(), intrinsics=camera, boxes=mirrored, side="left")
    return joints, right, left, network


def test_a_box_and_a_network_give_the_hand(box_pair):
    joints, right, _, _ = box_pair
    assert aligned_error(right.joints, joints) < 0.004
    assert np.abs(right.joints_2d - project_numpy(joints)).mean() < 3
    assert not any("guess" in warning for warning in right.warnings)
    assert not any("hardly seen" in warning for warning in right.warnings)


def test_the_mirrored_picture_gives_the_mirrored_hand(box_pair):
    _, right, left, network = box_pair
    assert left.side == "left"
    np.testing.assert_allclose(left.joints, right.joints * FLIP, atol=1e-5)
    np.testing.assert_allclose(left.joints_std, right.joints_std, rtol=1e-3)
    np.testing.assert_allclose(network.pictures[0], network.pictures[1], atol=3 / 255)


def test_a_network_makes_a_hand_more_sure(hand):
    """Before calibration: that asks the errors how sure hands are, and not how much evidence there was."""
    joints, _ = hand
    detection = rough(joints, 0, 0.02)
    network = ToldNetwork().tell(joints, detection)
    stds = []
    for checkpoint in ("none", network.trained()):
        reconstruct = Reconstructor(detector="none", device="cpu", checkpoint=checkpoint)
        views = reconstruct.trained and reconstruct.trained.look(IMAGE, [detection])
        (fitted,) = reconstruct.fit([detection], Camera(INTRINSICS, "given"), WIDTH, views)
        drawn = draw_meshes(fitted.inflated(1.0), 48, seed=0)
        stds.append(np.median(aligned_std(drawn.joints, drawn.joints.mean(0))))
    assert stds[1] < 0.8 * stds[0]


def test_larger_scales_weigh_the_network_less(hand, truth):
    _, detection = hand
    network = ToldNetwork().tell(*hand)
    view = look(network, IMAGE, [detection], FusionSettings(), torch.device("cpu"))
    evidence = exact_evidence(true_hands(1))
    one, two = (
        add_network(evidence, [detection], view, FusionSettings(3 * a, 5 * a)).network for a in (1.0, 2.0)
    )
    np.testing.assert_allclose(one.relative_weight, 2 * two.relative_weight)
    np.testing.assert_allclose(one.joints_2d_weight, 2 * two.joints_2d_weight)


def test_2d_joints_can_be_left_to_the_detector(hand, truth):
    """Beside a detector only the 3D word counts then; of a bare box the network tells all."""
    _, detection = hand
    bare = replace(detection, confidence=np.zeros(21))
    network = ToldNetwork().tell(*hand)
    view = look(network, IMAGE, [detection], FusionSettings(), torch.device("cpu")) * 2
    evidence = exact_evidence(true_hands(2))
    told, left = (
        add_network(evidence, [detection, bare], view, FusionSettings(joints_2d_beside_detector=both)).network
        for both in (True, False)
    )
    np.testing.assert_array_equal(left.relative_weight, told.relative_weight)
    np.testing.assert_array_equal(left.joints_2d_weight[1], told.joints_2d_weight[1])
    assert (told.joints_2d_weight > 0).all()
    assert (left.joints_2d_weight[0] == 0).all()
    assert left.present.all()


def test_beside_a_network_looks_that_differ_are_believed_less(hand):
    """All weights of the detector fall with how far its looks differ, beyond 1 % of the hand's size."""
    _, detection = hand
    network = ToldNetwork().tell(*hand)
    view = look(network, IMAGE, [detection], FusionSettings(), torch.device("cpu"))
    evidence = exact_evidence(true_hands(4))
    steady = replace(
        detection,
        joints_2d_px=np.repeat(detection.joints_2d_px[:1], 3, 0),
        depth_px=None,
        landmarks_3d_m=None,
    )
    size_px = np.ptp(steady.joints_2d_px[0], axis=0).max()
    step = np.array([-1.0, 0.0, 1.0])[:, None, None] * np.array([np.sqrt(3) * 0.04 * size_px, 0.0])
    differing = replace(steady, joints_2d_px=steady.joints_2d_px + step)
    assert merge_runs(differing).relative_spread == pytest.approx(0.04)
    detections, views = [differing, steady, detection, differing], [*view * 3, None]
    added = add_network(evidence, detections, views, FusionSettings())
    for name in ("joints_2d_weight", "depth_weight", "landmarks_3d_weight"):
        before, after = getattr(evidence, name), getattr(added, name)
        assert (before > 0).any()
        np.testing.assert_allclose(after[0], before[0] / 4)
        np.testing.assert_array_equal(after[1:], before[1:])
    patient = add_network(evidence, detections, views, FusionSettings(steady_looks=0.02))
    np.testing.assert_allclose(patient.joints_2d_weight[0], evidence.joints_2d_weight[0] / 2)


def test_offsets_can_be_taken_off_a_chain(truth):
    plain = make_chain(truth.model, torch.zeros(21, 3))
    np.testing.assert_allclose(
        landmarks(without_offsets(truth.chain), truth.state), landmarks(plain, truth.state), atol=1e-12
    )
