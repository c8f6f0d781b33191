"""Made-up but consistent hands: a reconstruction for what comes after it, a hand model of random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from amvur.hand.joints import BONE_JOINTS, BONE_NAMES, BONE_PARENTS, JOINT_BONES, JOINT_PARENTS, TIP_JOINTS
from amvur.hand.model_arrays import HandModelArrays
from amvur.structures import Camera, HandParameters, HandReconstruction, HandSamples, Side, Skeleton

_DIRECTIONS_DEG = (-50, -12, 0, 11, 24)  # thumb to little, from the hand's long axis
_LENGTHS_M = (
    (0.030, 0.042, 0.032, 0.028),
    (0.090, 0.042, 0.026, 0.022),
    (0.088, 0.046, 0.029, 0.022),
    (0.082, 0.042, 0.028, 0.022),
    (0.078, 0.034, 0.020, 0.020),
)


@dataclass(frozen=True)
class FakePosterior:
    """Samples around one hand."""

    vertices: np.ndarray
    joints: np.ndarray

    def sample(self, n: int, seed: int = 0) -> HandSamples:
        noise = 0.003 * np.random.default_rng(seed).normal(size=(n, 1, 3))
        return HandSamples(
            (self.vertices + noise).astype(np.float32), (self.joints + noise).astype(np.float32)
        )


def random_hand(seed: int = 0, vertices: int = 23) -> HandModelArrays:
    """A hand model of random numbers with all the properties that the model relies on."""
    rng = np.random.default_rng(seed)
    tips = rng.permutation(vertices)[:5]
    template = rng.normal(size=(vertices, 3)) * 0.05
    shapedirs = rng.normal(size=(vertices, 3, 10)) * 0.005
    joint_template, joint_shapedirs = rng.normal(size=(21, 3)) * 0.05, rng.normal(size=(21, 3, 10)) * 0.005
    joint_template[list(TIP_JOINTS)], joint_shapedirs[list(TIP_JOINTS)] = template[tips], shapedirs[tips]
    weights = rng.uniform(size=(vertices, 16)) ** 4
    regressor = rng.uniform(size=(21, vertices)) ** 4
    return HandModelArrays(
        name="random",
        side="right",
        v_template=template,
        faces=rng.integers(0, vertices, (30, 3)),
        shapedirs=shapedirs,
        posedirs=rng.normal(size=(vertices, 3, 135)) * 0.002,
        lbs_weights=weights / weights.sum(1, keepdims=True),
        joint_template=joint_template,
        joint_shapedirs=joint_shapedirs,
        joint_regressor=regressor / regressor.sum(1, keepdims=True),
        tip_vertices=tips[:, None],
        parents=BONE_PARENTS,
        pose_axes=Rotation.random(15, random_state=seed).as_matrix(),
        pose_limits=np.tile([-1.0, 1.0], (15, 3, 1)),
        rest_angles=rng.normal(size=(15, 3)) * 0.1,
        pose_mean=rng.normal(size=45) * 0.2,
        sha256="0" * 64,
    )


def rest_joints() -> np.ndarray:
    """The 21 joints of a flat right hand seen from its back, fingers up (−y), metres."""
    joints = np.zeros((21, 3))
    for finger, (angle, lengths) in enumerate(zip(np.radians(_DIRECTIONS_DEG), _LENGTHS_M, strict=True)):
        direction = np.array([np.sin(angle), -np.cos(angle), 0])
        joints[1 + 4 * finger : 5 + 4 * finger] = np.cumsum(lengths)[:, None] * direction
    return joints


def _tubes(joints: np.ndarray, sides: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """A closed tube along every one of the 20 bones: vertices and outward faces."""
    vertices, faces = [], []
    angles = np.arange(sides) * 2 * np.pi / sides
    for joint in range(1, 21):
        start, end = joints[JOINT_PARENTS[joint]], joints[joint]
        axis = (end - start) / np.linalg.norm(end - start)
        side = np.cross(axis, [0, 0, 1.0])
        circle = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * np.cross(axis, side)
        base = len(np.concatenate(vertices)) if vertices else 0
        for fraction, radius in ((0, 0.008), (0.33, 0.009), (0.66, 0.009), (1, 0.007)):
            vertices.append(start + fraction * (end - start) + radius * circle)
        vertices.append(np.stack([start - 0.006 * axis, end + 0.006 * axis]))
        for side_index in range(sides):
            following = (side_index + 1) % sides
            for ring in range(3):
                a, b = base + ring * sides + side_index, base + ring * sides + following
                faces += [(a, b, b + sides), (a, b + sides, a + sides)]
            cap, last = base + 4 * sides, base + 3 * sides
            faces += [
                (cap, base + following, base + side_index),
                (cap + 1, last + side_index, last + following),
            ]
    return np.concatenate(vertices), np.array(faces)


def _weights(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Smooth weights: every vertex mostly on the nearest bone, with up to 16 influences."""
    centres = np.zeros((16, 3))
    for bone, joint in enumerate(BONE_JOINTS):
        children = [child for child in range(1, 21) if JOINT_BONES[JOINT_PARENTS[child]] == bone]
        centres[bone] = (joints[joint] + joints[children].mean(0)) / 2
    distance = np.linalg.norm(vertices[:, None] - centres, axis=-1)
    weights = np.exp(-((distance / 0.012) ** 2)) + 1e-12
    weights[weights < 1e-4 * weights.max(1, keepdims=True)] = 0
    return weights / weights.sum(1, keepdims=True)


def make_hand(
    seed: int = 0,
    side: Side = "right",
    *,
    size: tuple[int, int] = (640, 480),
    position: tuple[float, float, float] = (0.0, 0.07, 0.45),
    std_mm: float = 6.0,
    warnings: tuple[str, ...] = (),
) -> HandReconstruction:
    """Return a posed hand in front of a camera of `size` (width, height); numbers depend on `seed`."""
    rng = np.random.default_rng(seed)
    joints = rest_joints()
    vertices, faces = _tubes(joints)
    if side == "left":
        joints, vertices, faces = joints * [-1, 1, 1], vertices * [-1, 1, 1], faces[:, ::-1].copy()
    weights = _weights(vertices, joints)
    pose = np.concatenate([rng.uniform(-0.4, 0.4, 3), rng.uniform(-0.25, 0.25, 45)]).reshape(16, 3)
    bones = _chain(pose, joints[list(BONE_JOINTS)], np.array(position))
    skinning = bones.copy()
    skinning[:, :3, 3] -= np.einsum("bij,bj->bi", bones[:, :3, :3], joints[list(BONE_JOINTS)])
    posed = np.einsum("vb,bij,vj->vi", weights, skinning[:, :3], _homogeneous(vertices))
    posed_joints = np.einsum("kij,kj->ki", skinning[list(JOINT_BONES)][:, :3], _homogeneous(joints))
    width, height = size
    intrinsics = np.array([[1.1 * width, 0, width / 2], [0, 1.1 * width, height / 2], [0, 0, 1.0]])
    pixels = posed_joints @ intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    along = np.linalg.norm(joints, axis=1) / 0.18
    nearest = np.linalg.norm(vertices[:, None] - joints, axis=-1).argmin(1)
    return HandReconstruction(
        side=side,
        score=float(rng.uniform(0.6, 1)),
        box_xyxy_px=np.concatenate([pixels.min(0) - 20, pixels.max(0) + 20]),
        camera=Camera(intrinsics, "assumed", width, height),
        vertices=posed.astype(np.float32),
        faces=faces.astype(np.int64),
        joints=posed_joints.astype(np.float32),
        joints_2d=pixels.astype(np.float32),
        vertex_colors=rng.uniform(0.3, 0.9, (len(posed), 3)).astype(np.float32),
        visible=rng.uniform(size=len(posed)) > 0.4,
        vertices_std=(std_mm / 1000 * (0.4 + along[nearest])).astype(np.float32),
        joints_std=(std_mm / 1000 * (0.4 + along)).astype(np.float32),
        joints_valid=std_mm / 1000 * (0.4 + along) < 0.008,
        parameters=HandParameters(
            pose[0],
            pose[1:].ravel(),
            rng.normal(size=10),
            np.array(position),
            np.array([0.004, 0.004, 0.03]),
            "open",
        ),
        skeleton=Skeleton(
            names=BONE_NAMES,
            parents=BONE_PARENTS,
            rest_vertices=vertices.astype(np.float32),
            rest_joints=joints[list(BONE_JOINTS)].astype(np.float32),
            lbs_weights=weights.astype(np.float32),
            T_camera_bone=bones.astype(np.float32),
        ),
        posterior=FakePosterior(posed, posed_joints),
        warnings=warnings,
    )


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _chain(pose: np.ndarray, pivots: np.ndarray, position: np.ndarray) -> np.ndarray:
    """World matrices of the 16 bones from their local axis-angles."""
    local = Rotation.from_rotvec(pose).as_matrix()
    matrices = np.tile(np.eye(4), (16, 1, 1))
    matrices[0, :3, :3], matrices[0, :3, 3] = local[0], pivots[0] + position
    for bone, parent in enumerate(BONE_PARENTS[1:], start=1):
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = local[bone], pivots[bone] - pivots[parent]
        matrices[bone] = matrices[parent] @ step
    return matrices
