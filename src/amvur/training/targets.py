"""What training compares a prediction with: labels as right hands, in view axes and crop units."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from amvur.data.samples import HandBatch, JointState
from amvur.data.synthetic.labels import mirror_some
from amvur.geometry.cameras import fit_weak_perspective, view_rotation
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.model import HandModel

_CAMERA_SCALE = 8.0


@dataclass(frozen=True)
class LabelledImages:
    """B square pictures of right hands (left ones mirrored) with their labels: metres, camera frame, px.

    Meshes follow from the parameters, so that a large store of pictures stays small.
    `joint_confidence` (0 to 1) weighs 2D joints; `vertex_colors` and the like are not kept. Without
    `has_3d` (all have it by default) parameters are 0 and mean nothing; `by_detector` marks pictures whose
    2D joints lie where MediaPipe puts them (none by default).
    """

    images: UInt8[Tensor, "B S S 3"]
    intrinsics: Float[Tensor, "B 3 3"]
    global_orient: Float[Tensor, "B 3"]
    hand_pose: Float[Tensor, "B 45"]
    betas: Float[Tensor, "B 10"]
    transl: Float[Tensor, "B 3"]
    joints_2d: Float[Tensor, "B 21 2"]
    joint_confidence: Float[Tensor, "B 21"]
    has_3d: Bool[Tensor, "B"] = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    by_detector: Bool[Tensor, "B"] = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))

    def __post_init__(self) -> None:
        """Fill what was left out."""
        for name, value in (("has_3d", True), ("by_detector", False)):
            if len(getattr(self, name)) != len(self.images):
                full = torch.full((len(self.images),), value, device=self.images.device)
                object.__setattr__(self, name, full)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.images)

    def to(self, device: torch.device | str) -> LabelledImages:
        """Return the pictures on another device."""
        return LabelledImages(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def __getitem__(self, chosen: Tensor | slice) -> LabelledImages:
        """Return some of the pictures."""
        return LabelledImages(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


@dataclass(frozen=True)
class Targets:
    """Truth in view axes (m, wrist at the origin) and crop units; `has_3d` marks pictures with 3D labels.

    `camera` is ln(scale / 8) and the translation of the weak camera that fits the 2D joints best.
    """

    vertices: Float[Tensor, "B V 3"]
    joints: Float[Tensor, "B 21 3"]
    joints_2d: Float[Tensor, "B 21 2"]
    joint_confidence: Float[Tensor, "B 21"]
    rotations: Float[Tensor, "B 16 3 3"]
    betas: Float[Tensor, "B 10"]
    camera: Float[Tensor, "B 3"]
    has_3d: Bool[Tensor, "B"]
    by_detector: Bool[Tensor, "B"]

    def only_2d(self) -> Targets:
        """Return what weak supervision may see: 2D joints, confidences and convention; all else is NaN."""
        seen = ("joints_2d", "joint_confidence", "by_detector", "has_3d")
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {n: torch.full_like(v, float("nan")) for n, v in values.items() if n not in seen}
        return Targets(**(values | {"has_3d": torch.zeros_like(self.has_3d)}))

    def finite_3d(self) -> Targets:
        """Return the same with zeros for the 3D truth of pictures that have none.

        What is masked afterwards must be finite before: a masked NaN still makes the gradient NaN.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("vertices", "joints", "rotations", "betas", "camera"):
            has = self.has_3d.view(-1, *[1] * (values[name].dim() - 1))
            values[name] = torch.where(has, values[name], 0)
        return Targets(**values)


def as_right_hands(batch: HandBatch) -> LabelledImages:
    """Return a batch with left hands mirrored; joints outside the picture get confidence 0."""
    right = mirror_some(batch, batch.is_left)
    inside = right.joint_states != int(JointState.OUTSIDE)
    return LabelledImages(
        right.images,
        right.intrinsics,
        right.global_orient,
        right.hand_pose,
        right.betas,
        right.transl,
        right.joints_2d,
        inside.to(right.joints_2d),
    )


@torch.no_grad()
def targets_of(images: LabelledImages, hand: HandModel) -> Targets:
    """Pose `hand` by the labels and turn it into view axes; on the device of the tensors."""
    size = images.images.shape[1]
    center = images.joints_2d.new_full((len(images), 2), size / 2)
    turn = view_rotation(images.intrinsics, center)
    pose = torch.cat([images.global_orient, images.hand_pose + hand.pose_mean], -1)
    rotations = axis_angle_to_matrix(pose.unflatten(-1, (16, 3)))
    rotations = torch.cat([turn[:, None] @ rotations[:, :1], rotations[:, 1:]], 1)
    mesh = hand.from_matrices(rotations, images.betas)
    wrist = mesh.joints[:, :1]
    joints, joints_2d = mesh.joints - wrist, images.joints_2d * (2 / size) - 1
    return Targets(
        vertices=mesh.vertices - wrist,
        joints=joints,
        joints_2d=joints_2d,
        joint_confidence=images.joint_confidence,
        rotations=rotations,
        betas=images.betas,
        camera=fit_camera(joints, joints_2d),
        has_3d=images.has_3d,
        by_detector=images.by_detector,
    )


def fit_camera(joints: Float[Tensor, "B 21 3"], joints_2d: Float[Tensor, "B 21 2"]) -> Float[Tensor, "B 3"]:
    """Return the weak camera (ln(scale / 8), translation) of least squared 2D distance."""
    scale, shift = fit_weak_perspective(joints, joints_2d, min_scale=0.1)
    return torch.cat([(scale / _CAMERA_SCALE).log()[:, None], shift], -1)
