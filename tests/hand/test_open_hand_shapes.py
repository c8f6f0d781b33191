"""What the betas of the open hand do, read from its file."""

from pathlib import Path

import numpy as np
import pytest

from amvur.hand.joints import JOINT_BONES, TIP_JOINTS

DISTAL_BONES = [JOINT_BONES[tip] for tip in TIP_JOINTS]
"""Of thumb to little finger."""
ASSETS = Path(__file__).resolve().parents[2] / "src" / "amvur" / "hand" / "assets"


def test_first_beta_is_size(hand: dict[str, np.ndarray]) -> None:
    def length(beta: float) -> float:
        joints = hand["joint_template"] + beta * hand["joint_shapedirs"][..., 0]
        chain = np.vstack([joints[0], joints[9:13]])
        return float(np.linalg.norm(np.diff(chain, axis=0), axis=1).sum())

    assert hand["shape_names"][0] == "size"
    assert 0.04 < length(1.0) / length(0.0) - 1 < 0.07
    assert length(-5.0) / length(0.0) < 0.8  # children are reachable


def _proportions(hand: dict[str, np.ndarray], name: str, beta: float = 0.0) -> dict[str, float]:
    """Measures (mm) of the rest hand with one beta set, the others 0."""
    k = list(hand["shape_names"]).index(name)
    joints = 1000 * (hand["joint_template"] + beta * hand["joint_shapedirs"][..., k])
    skin = 1000 * (hand["v_template"] + beta * hand["shapedirs"][..., k])
    chain = joints[1:].reshape(5, 4, 3)
    lengths = np.linalg.norm(np.diff(chain, axis=1), axis=-1).sum(1)
    measures = dict(zip(("thumb", "index", "middle", "ring", "little"), lengths, strict=True))
    skin = skin[hand["lbs_weights"][:, 13:].sum(1) < 0.02]  # all but the thumb
    radial, ulnar = (skin[np.abs(skin[:, 0] - joints[j, 0]) < 5, 2] for j in (5, 17))
    measures["palm breadth"] = radial.max() - ulnar.min()
    measures["palm length"] = float(np.linalg.norm(joints[9] - joints[0]))
    return measures


@pytest.mark.parametrize(
    ("name", "measure", "share"),
    [
        ("palm breadth", "palm breadth", 0.04),
        ("thumb length", "thumb", 0.04),
        ("index length", "index", 0.025),
        ("ring length", "ring", 0.025),
        ("little length", "little", 0.04),
    ],
)
def test_a_proportion_varies_alone(
    hand: dict[str, np.ndarray], name: str, measure: str, share: float
) -> None:
    rest, changed = _proportions(hand, name), _proportions(hand, name, 1.0)
    for key in rest:
        wanted = share if key == measure else 0.0
        assert abs(changed[key] / rest[key] - 1 - wanted) < 0.006, key


def _skin_over_the_thumb_metacarpal(hand: dict[str, np.ndarray]) -> np.ndarray:
    """How far (mm) skin lies from the line of the thumb's metacarpal, off the palm and behind the thumb."""
    base, head, index = 1000 * hand["joint_template"][[1, 2, 5]]
    length = np.linalg.norm(head - base)
    along = (head - base) / length
    off = 1000 * hand["v_template"] - base
    place = off @ along
    off = off - np.outer(place, along)
    outward = base - index
    outward = outward - along * (outward @ along)
    back = np.cross(along, outward)
    angle = np.degrees(np.arctan2(off @ back, off @ outward))  # 0: off the palm, 90: back of the thumb
    over = (angle > -15) & (angle < 75) & (place > 0) & (place < length)
    return np.asarray(np.linalg.norm(off[over], axis=1))


def test_flesh_over_the_thumb_metacarpal_is_as_thin_as_in_life(hand: dict[str, np.ndarray]) -> None:
    with np.load(ASSETS / "open_hand_v1.npz", allow_pickle=False) as data:
        assert _skin_over_the_thumb_metacarpal(dict(data)).mean() > 16
        moved = 1000 * np.linalg.norm(hand["v_template"] - data["v_template"], axis=1)
    depth = _skin_over_the_thumb_metacarpal(hand)
    assert len(depth) > 8
    assert abs(depth.mean() - 13.5) < 1
    assert 12 < depth.min() <= depth.max() < 16
    fingers = hand["lbs_weights"][:, [1, 2, 4, 5, 7, 8, 10, 11]].sum(1) > 0.9
    assert moved[fingers].max() < 0.1
    assert moved.max() < 10


def _flesh_beyond_tips(hand: dict[str, np.ndarray]) -> np.ndarray:
    """How far (mm) each finger's flesh goes on beyond its tip joint, in the direction of its last bone."""
    beyond = []
    for joint, bone in zip(TIP_JOINTS, DISTAL_BONES, strict=True):
        base, tip = hand["joint_template"][[joint - 1, joint]]
        own = hand["v_template"][hand["lbs_weights"][:, bone] > 0.9]
        beyond.append(1000 * ((own - tip) @ (tip - base)).max() / np.linalg.norm(tip - base))
    return np.array(beyond)


def test_fingertips_end_beyond_the_joints_within_them(hand: dict[str, np.ndarray]) -> None:
    with np.load(ASSETS / "open_hand_v1.npz", allow_pickle=False) as data:
        assert (np.abs(_flesh_beyond_tips(dict(data))) < 0.7).all()  # a vertex at the end
    assert (np.abs(_flesh_beyond_tips(hand) - 4.2) < 0.5).all()
    tips = hand["joint_template"][4::4]
    skin = np.linalg.norm(hand["v_template"] - tips[:, None], axis=-1).min(1)
    assert (skin > 0.0015).all()  # no vertex: the joint is inside


def test_version_1_is_the_same_hand_with_the_same_first_betas(hand: dict[str, np.ndarray]) -> None:
    with np.load(ASSETS / "open_hand_v1.npz", allow_pickle=False) as data:
        for key in ("faces", "lbs_weights", "posedirs", "pose_limits"):
            assert np.array_equal(data[key], hand[key]), key
        assert np.array_equal(data["shapedirs"][..., 1:5], hand["shapedirs"][..., 1:5])
        distal = hand["lbs_weights"][:, DISTAL_BONES].sum(1) > 0
        assert np.array_equal(data["shapedirs"][~distal, :, 0], hand["shapedirs"][~distal, :, 0])
        tips = np.isin(np.arange(21), TIP_JOINTS)
        assert np.array_equal(data["joint_template"][~tips], hand["joint_template"][~tips])
        assert np.abs(data["joint_template"] - hand["joint_template"]).max() < 0.0003
        rest = data["shapedirs"][..., 5:]
    assert np.sqrt((rest**2).sum(1).mean(0)).max() < 0.00016  # m: what version 2 gave up
