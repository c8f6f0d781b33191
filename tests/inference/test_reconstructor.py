"""From detections to finished hands, without a detector: a known open hand, projected."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from posed import posed
from truth import INTRINSICS, project_numpy

from amvur.detect.given import GivenJoints, given_joints
from amvur.errors import AmvurError, InputError
from amvur.hand.loading import load_hand_model
from amvur.hand.poses import named_pose
from amvur.inference.assemble import VALID_STD_M
from amvur.inference.estimator.similarity import align_similarity
from amvur.inference.reconstructor import Reconstructor
from amvur.inference.view import look_at_hand
from amvur.onnx_network import choose_device
from amvur.structures import HandDetection

HEIGHT, WIDTH = 480, 640
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
FLIP = np.array([-1.0, 1.0, 1.0])


def true_mesh(pose="relaxed", turn=(1.4, 0.5, -0.6)):
    """A right hand half a metre away, its back to the camera or nearly."""
    arrays = load_hand_model("open", "right")
    hand_pose = named_pose(pose, arrays.pose_axes, arrays.rest_angles)
    return posed(turn, hand_pose, [0.5, -0.5] + 8 * [0.0], (0.06, 0.02, 0.5))


def detect(joints, side="right"):
    """What a perfect detector says of 21 joints (m, camera frame)."""
    pixels = project_numpy(joints)
    depth = INTRINSICS[0, 0] * (joints[:, 2] - joints[0, 2]) / joints[0, 2]
    box = np.concatenate([pixels.min(0), pixels.max(0)])
    marks = joints - joints.mean(0)
    return HandDetection(side, 0.9, box, pixels[None], np.ones(21), depth[None], marks[None])


def mirror(detection):
    """The same hand in the mirrored picture."""
    x0, y0, x1, y1 = detection.box_xyxy_px
    return replace(
        detection,
        side="left",
        box_xyxy_px=np.array([WIDTH - x1, y0, WIDTH - x0, y1]),
        joints_2d_px=detection.joints_2d_px * [-1, 1] + [WIDTH, 0],
        landmarks_3d_m=detection.landmarks_3d_m * FLIP,
    )


@pytest.fixture(scope="module")
def reconstructor():
    return Reconstructor(detector="none", checkpoint="none", device="cpu")


@pytest.fixture(scope="module")
def truth():
    return true_mesh()


@pytest.fixture(scope="module")
def pair(reconstructor, truth):
    """The right hand, and the left hand of the mirrored picture."""
    detection = detect(truth[1])
    (right,) = reconstructor(IMAGE, intrinsics=INTRINSICS, detections=[detection])
    (left,) = reconstructor(IMAGE[:, ::-1].copy(), intrinsics=INTRINSICS, detections=[mirror(detection)])
    return {"right": right, "left": left}


@pytest.fixture(params=["right", "left"])
def hand(pair, request):
    return pair[request.param]


def aligned(ours, true):
    return align_similarity(np.asarray(ours, np.float64)[None], true[None])[0]


def test_the_hand_is_the_one_that_was_projected(pair, truth):
    hand = pair["right"]
    joints_error = np.linalg.norm(aligned(hand.joints, truth[1]) - truth[1], axis=1)
    vertices_error = np.linalg.norm(aligned(hand.vertices, truth[0]) - truth[0], axis=1)
    assert joints_error.mean() < 0.003
    assert vertices_error.mean() < 0.004
    assert np.abs(hand.joints_2d - project_numpy(truth[1])).mean() < 2
    assert np.linalg.norm(hand.joints - truth[1], axis=1).max() < 0.05


def test_what_comes_out_is_complete(hand):
    assert hand.vertices.shape == (1610, 3)
    assert hand.joints.shape == (21, 3)
    assert hand.camera.source == "given"
    assert hand.score == 0.9
    for values in (hand.vertices, hand.joints, hand.joints_2d, hand.vertex_colors):
        assert np.isfinite(values).all()
    assert (hand.joints_std > 0).all()
    assert (hand.vertices_std > 0).all()
    assert hand.vertices_std.max() < 0.05
    assert (hand.parameters.transl_std > 0).all()
    assert hand.visible.any()
    assert not hand.visible.all()


def test_joints_in_the_picture_are_the_joints_projected(hand):
    np.testing.assert_allclose(hand.joints_2d, project_numpy(hand.joints), atol=1e-3)


def test_fingertips_lie_within_the_mesh(hand):
    tips = load_hand_model("open", hand.side).tip_vertices
    np.testing.assert_allclose(hand.joints[[4, 8, 12, 16, 20]], hand.vertices[tips].mean(1), atol=1e-6)


def test_faces_look_outwards(hand):
    a, b, c = (hand.vertices[hand.faces[:, i]].astype(np.float64) for i in range(3))
    assert (np.cross(a, b) * c).sum() > 0  # the volume of a closed mesh


def test_the_skeleton_skins_to_the_mesh(hand):
    bones = hand.skeleton
    offset = bones.rest_vertices[:, None].astype(np.float64) - bones.rest_joints
    turned = np.einsum("bij,vbj->vbi", bones.T_camera_bone[:, :3, :3], offset) + bones.T_camera_bone[:, :3, 3]
    skinned = np.einsum("vb,vbi->vi", bones.lbs_weights, turned)
    np.testing.assert_allclose(skinned, hand.vertices, atol=2e-6)
    np.testing.assert_allclose(bones.T_camera_bone[0, :3, 3], hand.joints[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(bones.T_camera_bone[:, :3, :3]), 1, atol=1e-5)


def test_the_parameters_give_the_mesh(hand):
    parameters = hand.parameters
    assert parameters.hand_model == "open"
    values = (parameters.global_orient, parameters.hand_pose, parameters.betas, parameters.transl)
    vertices, joints = posed(*values, side=hand.side)
    np.testing.assert_allclose(vertices, hand.vertices, atol=2e-6)
    np.testing.assert_allclose(joints, hand.joints, atol=2e-6)
    np.testing.assert_array_equal(load_hand_model("open", hand.side).faces, hand.faces)


def test_a_left_hand_is_the_mirrored_right_one(pair):
    right, left = pair["right"], pair["left"]
    assert left.side == "left"
    np.testing.assert_allclose(left.vertices, right.vertices * FLIP, atol=1e-5)
    np.testing.assert_allclose(left.joints, right.joints * FLIP, atol=1e-5)
    np.testing.assert_allclose(left.joints_2d, right.joints_2d * [-1, 1] + [WIDTH, 0], atol=0.02)
    np.testing.assert_allclose(left.joints_std, right.joints_std, rtol=1e-3)
    np.testing.assert_allclose(left.vertices_std, right.vertices_std, rtol=1e-3)
    assert np.mean(left.visible == right.visible) > 0.98
    np.testing.assert_allclose(left.parameters.betas, right.parameters.betas, atol=1e-4)


def test_samples_scatter_about_the_hand(hand):
    samples = hand.sample(41, seed=1)
    assert samples.vertices.shape == (41, 1610, 3)
    assert samples.joints.shape == (41, 21, 3)
    assert np.linalg.norm(samples.joints.mean(0) - hand.joints, axis=1).max() < 0.03
    np.testing.assert_array_equal(samples.joints, hand.sample(41, seed=1).joints)
    spread = (
        aligned(samples.joints, np.broadcast_to(hand.joints, (41, 21, 3)).astype(np.float64)) - hand.joints
    )
    std = np.sqrt((spread**2).mean((0, 2)))
    assert (std < 1.6 * hand.joints_std).all()


def test_valid_joints_lie_in_the_picture_and_are_known(reconstructor, truth, pair):
    hand = pair["right"]
    assert hand.joints_valid.tolist() == (hand.joints_std < VALID_STD_M).tolist()
    cut = np.ascontiguousarray(IMAGE[:, : int(np.median(hand.joints_2d[:, 0]))])
    (beside,) = reconstructor(cut, intrinsics=INTRINSICS, detections=[detect(truth[1])])
    inside = beside.joints_2d[:, 0] <= cut.shape[1]
    assert not beside.joints_valid[~inside].any()
    assert 0 < inside.sum() < 21


def test_a_hand_beyond_its_box_is_told(reconstructor, truth):
    detection = detect(truth[1])
    middle = (detection.box_xyxy_px[:2] + detection.box_xyxy_px[2:]) / 2
    small = replace(detection, box_xyxy_px=np.concatenate([middle - 20, middle + 20]))
    told = [
        reconstructor(IMAGE, intrinsics=INTRINSICS, detections=[d])[0].warnings for d in (detection, small)
    ]
    assert [any("does not explain" in text for text in texts) for texts in told] == [False, True]


def test_doubt_widens_and_is_told(reconstructor, truth, monkeypatch):
    calibration = reconstructor.calibrations.detector
    doubts = [replace(calibration.doubt, coefficients=np.array([odds, *[0.0] * 6])) for odds in (-20.0, 2.0)]
    hands = []
    for doubt in [None, *doubts]:
        own = replace(calibration, doubt=doubt)
        monkeypatch.setattr(reconstructor, "calibrations", replace(reconstructor.calibrations, detector=own))
        hands += reconstructor(IMAGE, intrinsics=INTRINSICS, detections=[detect(truth[1])])
    usual, sure, unsure = hands
    np.testing.assert_array_equal(sure.joints_std, usual.joints_std)
    np.testing.assert_array_equal(unsure.vertices, usual.vertices)
    factor = np.exp(calibration.doubt.widening @ np.array([1.0, 2.0]))
    np.testing.assert_allclose(unsure.joints_std, factor * usual.joints_std, rtol=1e-5)
    np.testing.assert_allclose(unsure.vertices_std, factor * usual.vertices_std, rtol=1e-5)
    assert "Of 10 hands seen like it, 9 are off by more than 15 mm." in unsure.warnings[-1]
    assert not any("seen like it" in text for text in sure.warnings)


def test_several_hands_come_best_first(reconstructor, truth):
    hands = [replace(detect(truth[1]), score=score) for score in (0.2, 0.9, 0.5)]
    hands[1] = mirror(hands[1])
    found = reconstructor(IMAGE, intrinsics=INTRINSICS, detections=hands)
    assert [hand.score for hand in found] == [0.9, 0.5, 0.2]
    assert [hand.side for hand in found] == ["left", "right", "right"]
    np.testing.assert_allclose(found[1].vertices, found[2].vertices, atol=1e-5)


def test_detections_of_different_conventions_keep_their_order(reconstructor, truth):
    ours = detect(truth[1])
    theirs = replace(mirror(ours), convention="mediapipe", score=0.8)
    found = reconstructor(IMAGE, intrinsics=INTRINSICS, detections=[ours, theirs])
    assert [hand.side for hand in found] == ["right", "left"]
    np.testing.assert_allclose(found[1].box_xyxy_px, theirs.box_xyxy_px)


def test_a_hand_from_2d_joints_alone(truth):
    reconstruct = Reconstructor(
        detector=GivenJoints([given_joints(project_numpy(truth[1]), "right")]),
        checkpoint="none",
        device="cpu",
    )
    (hand,) = reconstruct(IMAGE, intrinsics=INTRINSICS)
    assert np.linalg.norm(aligned(hand.joints, truth[1]) - truth[1], axis=1).mean() < 0.012
    assert np.abs(hand.joints_2d - project_numpy(truth[1])).mean() < 4


def test_less_evidence_is_less_sure(reconstructor, truth):
    whole = detect(truth[1])
    bare = replace(whole, depth_px=None, landmarks_3d_m=None)
    few = replace(bare, confidence=np.isin(np.arange(21), [0, 5, 9, 13, 17]).astype(float))
    stds = [
        np.median(reconstructor(IMAGE, intrinsics=INTRINSICS, detections=[d])[0].joints_std)
        for d in (whole, bare, few)
    ]
    assert stds[0] < stds[1] < stds[2]


def test_a_box_alone_gives_a_hand_in_the_box(reconstructor):
    box = np.array([200.0, 100, 420, 380])
    (hand,) = reconstructor(IMAGE, boxes=box[None], side="left")
    assert hand.side == "left"
    middle = hand.joints_2d.mean(0)
    assert ((middle > box[:2]) & (middle < box[2:])).all()
    assert np.median(hand.joints_std) > 0.007


def test_hands_that_are_hard_to_place_come_out_finite(reconstructor):
    x = np.linspace(100, 300, 21)
    line = given_joints(np.stack([x, x], 1), "right")
    four = given_joints(np.stack([x, x], 1), "right", (np.arange(21) < 4).astype(float))
    for hand in reconstructor(IMAGE, detections=[line, four]):
        assert np.isfinite(hand.vertices).all()
        assert np.isfinite(hand.joints_std).all()
        assert np.isfinite(hand.sample(2).vertices).all()


def test_the_same_photo_gives_the_same_hand(reconstructor, truth, pair):
    (again,) = reconstructor(IMAGE, intrinsics=INTRINSICS, detections=[detect(truth[1])])
    np.testing.assert_array_equal(again.vertices, pair["right"].vertices)
    np.testing.assert_array_equal(again.joints_std, pair["right"].joints_std)
    np.testing.assert_array_equal(again.vertex_colors, pair["right"].vertex_colors)


def test_fingers_that_cross_come_out_solid_and_hands_do_not_change_each_other(reconstructor):
    torch = pytest.importorskip("torch")
    from amvur.data.synthetic.penetration import penetration_depth_mm
    from amvur.data.synthetic.pose_library import LIBRARY, library_angles
    from amvur.hand.model import HandModel
    from amvur.hand.prior import make_prior

    model = HandModel(load_hand_model("open", "right"), torch.float64)
    angles, prior = torch.as_tensor(library_angles(model)), make_prior(model)
    pose = prior.axis_angle(angles[[list(LIBRARY).index(name) for name in ("letter_r", "thumb_in_fist")]])
    turn, place = (
        torch.tensor([[1.4, 0.5, -0.6]] * 2).double(),
        torch.tensor([[0.06, 0.02, 0.5]] * 2).double(),
    )
    joints = model(turn, pose.double(), torch.zeros(2, 10).double(), place).joints.numpy()
    detections = [replace(detect(own), score=score) for own, score in zip(joints, (0.9, 0.8), strict=True)]
    hands = reconstructor(IMAGE, intrinsics=INTRINSICS, detections=detections)
    (alone,) = reconstructor(IMAGE, intrinsics=INTRINSICS, detections=detections[:1])
    np.testing.assert_allclose(hands[0].joints, alone.joints, atol=1e-4)
    assert (penetration_depth_mm(torch.as_tensor(np.stack([h.vertices for h in hands])), model) < 3).all()
    for found, true in zip(hands, joints, strict=True):
        assert np.linalg.norm(aligned(found.joints, true) - true, axis=1).mean() < 0.008


def test_no_hand_gives_an_empty_list(reconstructor):
    assert reconstructor(IMAGE, detections=[]) == []


def test_side_overrides_the_detections(reconstructor, truth):
    (hand,) = reconstructor(IMAGE, intrinsics=INTRINSICS, detections=[detect(truth[1])], side="left")
    assert hand.side == "left"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intrinsics": np.full((3, 3), np.nan)}, "finite 3x3"),
        ({"intrinsics": INTRINSICS, "fov_deg": 60.0}, "not both"),
        ({"fov_deg": 500.0}, "between 1 and 170"),
        ({"boxes": np.array([[0.0, 0, 9, 9]])}, "boxes beside them"),
    ],
)
def test_unusable_values_are_refused(reconstructor, truth, options, message):
    with pytest.raises(InputError, match=message):
        reconstructor(IMAGE, detections=[detect(truth[1])], **options)


@pytest.mark.parametrize("name", ["joints_2d_px", "depth_px", "landmarks_3d_m", "box_xyxy_px"])
def test_detections_that_are_not_finite_are_refused(reconstructor, truth, name):
    good = detect(truth[1])
    wrong = replace(good, **{name: np.full_like(getattr(good, name), np.nan)})
    with pytest.raises(InputError, match="finite"):
        reconstructor(IMAGE, detections=[wrong])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "auto, cpu or cuda"),
        ({"hand_model": "no_such_file.pkl"}, "no_such_file.pkl"),
        ({"checkpoint": "folder"}, "checkpoint"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(AmvurError, match=message):
        Reconstructor(**{"detector": "none", **options})


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match="onnxruntime-gpu"):
        choose_device("cuda")
    with pytest.raises(InputError, match="auto, cpu or cuda"):
        choose_device("tpu")
    assert choose_device("auto") == "cpu"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert choose_device("auto") == "cuda"


def test_texture_is_told_what_the_fit_saw(reconstructor, truth, monkeypatch):
    """The same crop again, of the mirror image for a left hand."""
    told = []

    class Texturing:
        def __init__(self, real):
            self.real = real

        def __call__(self, *arguments):
            told.append(arguments)
            return self.real(*arguments)

    monkeypatch.setattr(reconstructor, "_texturing", Texturing(reconstructor._texturing))
    detection = detect(truth[1])
    for found in (detection, mirror(detection)):
        reconstructor(IMAGE, intrinsics=INTRINSICS, detections=[found])
        image, vertices, faces, intrinsics, look = told[-1]
        again = look_at_hand(image, vertices, faces, intrinsics)
        assert abs(again.crop.center_x_px - look.view.crop.center_x_px) < 0.05 * look.view.crop.side_px
        assert abs(again.crop.side_px / look.view.crop.side_px - 1) < 0.1
    np.testing.assert_array_equal(told[0][0], told[1][0][:, ::-1])
