"""The bones of a hand in numpy, and points that hang on them, with their analytic Jacobian.

What `amvur.hand.model` computes for training in PyTorch, here for fitting: float64, no graph, a batch of B
right hands. Joints, a detector's landmarks, vertices of the skin and spheres in the flesh are all points that
bones carry by weights (linear blend skinning).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.spatial.transform import Rotation

from amvur.hand._kinematics_numba import chain, derivatives
from amvur.hand.joints import BONE_JOINTS, JOINT_BONES
from amvur.hand.model_arrays import HandModelArrays

N_BONES, N_BETAS = 16, 10
N_PARAMETERS = 3 * N_BONES + N_BETAS + 3
"""Parameters of a hand: a turn of every bone in its own frame, betas, translation."""
TURNS = slice(0, 3 * N_BONES)
BETAS = slice(3 * N_BONES, 3 * N_BONES + N_BETAS)
TRANSL = slice(3 * N_BONES + N_BETAS, N_PARAMETERS)


@dataclass(frozen=True)
class HandState:
    """Points of the parameter manifold: local bone rotations, betas, translation (m)."""

    rotations: Float64[np.ndarray, "B 16 3 3"]
    betas: Float64[np.ndarray, "B 10"]
    transl: Float64[np.ndarray, "B 3"]

    def __len__(self) -> int:
        """Return the number of hands."""
        return len(self.betas)

    def __getitem__(self, rows: slice | Int[np.ndarray, "N"]) -> HandState:
        """Return some of the hands."""
        return HandState(self.rotations[rows], self.betas[rows], self.transl[rows])

    def retract(self, step: Float[np.ndarray, "B 61"]) -> HandState:
        """Return the hands moved along a step of the parameters: bones turn in their own frames."""
        turns = rotation_matrices(step[:, TURNS].reshape(-1, N_BONES, 3))
        return HandState(self.rotations @ turns, self.betas + step[:, BETAS], self.transl + step[:, TRANSL])

    def where(self, chosen: np.ndarray, other: HandState) -> HandState:
        """Return these hands where `chosen` (B) and the others elsewhere."""
        return HandState(
            np.where(chosen[:, None, None, None], self.rotations, other.rotations),
            np.where(chosen[:, None], self.betas, other.betas),
            np.where(chosen[:, None], self.transl, other.transl),
        )

    def replaced(self, rows: Int[np.ndarray, "N"], others: HandState) -> HandState:
        """Return the same with other hands at `rows`."""
        fields = [(self.rotations.copy(), others.rotations), (self.betas.copy(), others.betas)]
        fields.append((self.transl.copy(), others.transl))
        for mine, theirs in fields:
            mine[rows] = theirs
        return HandState(*(mine for mine, _ in fields))


@dataclass(frozen=True)
class CarriedPoints:
    """M points of each of B hands (or of one, for all) at rest: their places at betas 0 (m), what betas do to
    them, and the share of each bone in carrying them (rows sum to 1)."""

    rest: Float64[np.ndarray, "#B M 3"]
    rest_dirs: Float64[np.ndarray, "#B M 3 10"]
    weights: Float64[np.ndarray, "#B M 16"]


@dataclass(frozen=True)
class PosedBones:
    """The bones of B hands in the camera's frame: rotations, origins and pivots at rest (m), and what betas
    do to the origins."""

    rotation: Float64[np.ndarray, "B 16 3 3"]
    origin: Float64[np.ndarray, "B 16 3"]
    origin_dirs: Float64[np.ndarray, "B 16 3 10"]
    pivots: Float64[np.ndarray, "B 16 3"]


class Kinematics:
    """The chain of bones of a right hand model."""

    def __init__(self, arrays: HandModelArrays) -> None:
        """Take the arrays of a model."""
        self.arrays, bones = arrays, list(BONE_JOINTS)
        self.pivots = arrays.joint_template[bones]
        self.pivot_dirs = arrays.joint_shapedirs[bones]
        self.parents = np.array(arrays.parents)

    @cached_property
    def joints(self) -> CarriedPoints:
        """The 21 joints, each fixed to its bone."""
        return self.landmarks(np.zeros((21, 3)))

    def landmarks(self, offsets: Float[np.ndarray, "21 3"]) -> CarriedPoints:
        """Return points that lie `offsets` (m, in the rest frames of their bones) from the joints."""
        weights = np.eye(N_BONES)[list(JOINT_BONES)]
        rest = self.arrays.joint_template + offsets
        return CarriedPoints(rest[None], self.arrays.joint_shapedirs[None], weights[None])

    def skin(self, state: HandState, vertices: Int[np.ndarray, "B M"]) -> CarriedPoints:
        """Return vertices of the skin; their pose correctives stay those of `state`."""
        arrays = self.arrays
        feature = (state.rotations[:, 1:] - np.eye(3)).reshape(len(state), -1)
        correctives = (arrays.posedirs[vertices] @ feature[:, None, :, None])[..., 0]
        return CarriedPoints(
            arrays.v_template[vertices] + correctives,
            arrays.shapedirs[vertices],
            arrays.lbs_weights[vertices],
        )

    def pose(self, state: HandState) -> PosedBones:
        """Run the chain of bones from the wrist to the fingers."""
        dirs, count = self.pivot_dirs, len(state)
        pivots = self.pivots + (state.betas @ dirs.reshape(-1, N_BETAS).T).reshape(-1, N_BONES, 3)
        origin = pivots + state.transl[:, None]
        rotation, origin_dirs = np.empty((count, N_BONES, 3, 3)), np.empty((count, N_BONES, 3, N_BETAS))
        chain(state.rotations, pivots, dirs, self.parents, rotation, origin, origin_dirs)
        return PosedBones(rotation, origin, origin_dirs, pivots)

    def place(self, points: CarriedPoints, state: HandState) -> Float64[np.ndarray, "B M 3"]:
        """Return where points lie (m, camera frame)."""
        bones, count = self.pose(state), len(state)
        rest = points.rest + (points.rest_dirs @ state.betas[:, None, :, None])[..., 0]
        shift = bones.origin - (bones.rotation @ bones.pivots[..., None])[..., 0]
        turn = (points.weights @ bones.rotation.reshape(count, N_BONES, 9)).reshape(*rest.shape, 3)
        placed: np.ndarray = (turn @ rest[..., None])[..., 0] + points.weights @ shift
        return placed

    def place_with_jacobian(
        self, points: CarriedPoints, state: HandState
    ) -> tuple[Float64[np.ndarray, "B M 3"], Float64[np.ndarray, "B M 3 61"]]:
        """Return where points lie (m, camera frame) and the derivative of that by the 61 parameters.

        A turn `exp(d)` of bone b in its own frame moves a point p that hangs on it by `(R_b d) × (p − o_b)`,
        R_b and o_b being the bone's rotation and origin; of a point that several bones carry, each share
        moves so.
        """
        bones = self.pose(state)
        rest = points.rest + (points.rest_dirs @ state.betas[:, None, :, None])[..., 0]
        shift = bones.origin - (bones.rotation @ bones.pivots[..., None])[..., 0]
        fixed_dirs = bones.origin_dirs - bones.rotation @ self.pivot_dirs
        placed, jacobian = np.zeros(rest.shape), np.zeros((*rest.shape, N_PARAMETERS))
        derivatives(
            rest,
            points.rest_dirs,
            points.weights,
            bones.rotation,
            bones.origin,
            shift,
            fixed_dirs,
            self.parents,
            placed,
            jacobian,
        )
        return placed, jacobian


def rotation_matrices(axis_angle: Float[np.ndarray, "*batch 3"]) -> Float64[np.ndarray, "*batch 3 3"]:
    """Turn axis-angle vectors (rad) into matrices."""
    if not axis_angle.size:  # scipy before 1.16 has no empty rotations
        return np.zeros((*axis_angle.shape, 3))
    matrices: np.ndarray = Rotation.from_rotvec(axis_angle.reshape(-1, 3)).as_matrix()
    return matrices.reshape(*axis_angle.shape, 3)


def axis_angles(matrices: Float[np.ndarray, "*batch 3 3"]) -> Float64[np.ndarray, "*batch 3"]:
    """Turn rotation matrices into axis-angle vectors with angles in [0, π]."""
    if not matrices.size:
        return np.zeros(matrices.shape[:-1])
    vectors: np.ndarray = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec()
    return vectors.reshape(matrices.shape[:-1])


def skew(vectors: Float[np.ndarray, "*batch 3"]) -> Float64[np.ndarray, "*batch 3 3"]:
    """Return the matrices K with `K @ p == cross(vector, p)`."""
    result = np.zeros((*vectors.shape, 3))
    x, y, z = (vectors[..., i] for i in range(3))
    result[..., 0, 1], result[..., 0, 2], result[..., 1, 2] = -z, y, -x
    result[..., 1, 0], result[..., 2, 0], result[..., 2, 1] = z, -y, x
    return result
