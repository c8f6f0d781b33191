"""From the most probable parameters to what the user gets: mesh, uncertainty, texture, warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float64

from amvur.hand.joints import BONE_JOINTS, BONE_NAMES
from amvur.hand.kinematics import TRANSL, axis_angles
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.posing import PosedHands
from amvur.inference.calibration import Calibration
from amvur.inference.camera import ASSUMED_CENTER_STD, ASSUMED_LOG_FOCAL_STD
from amvur.inference.doubt import WRONG_M, Doubt
from amvur.inference.estimator.posterior import (
    STD_SAMPLES,
    LaplacePosterior,
    aligned_std,
    square_root_covariance,
)
from amvur.inference.estimator.projection import project
from amvur.inference.frames import HandFrame, leave
from amvur.inference.silhouette.segmentation import HandLook
from amvur.inference.texture.regression import Texture
from amvur.structures import (
    Camera,
    HandParameters,
    HandReconstruction,
    Skeleton,
    UvTexture,
)

UNSURE_STD_M = 0.008
"""Mean standard deviation above which a hand is called unsure where no doubt was measured.

Of held-out synthetic hands that detector and network saw 7 % lie above it, nearly half of them off by more
than 15 mm, as 8 % of all are (`scripts/calibrate_uncertainty.py`).
"""
VALID_STD_M = 0.008
"""Standard deviation below which a joint in the picture counts as valid.

At 8 mm 9 of 10 joints should lie within 20 mm, and do. Of 1,132 synthetic hands (seed 515151, detector and
network) 49 % of joints are valid, 96 % of these within 20 mm, 67 % of the others; of 494 without a network
41, 96 and 70 %.
"""
UNSEEN_CONFIDENCE = 0.3
NEAR_LENS_M = 0.15
"""Hands are hardly ever held nearer to a lens: most do not focus there."""


@dataclass(frozen=True)
class FittedHand:
    """One optimum with its inflated posterior, still a right hand, and what the inflation came from.

    `curvature`, `prior_curvature` and `excess` are those of `Estimate`; `by_network` tells whether a network
    was part of the evidence; `look` is what the fit saw of the hand at last; `notes` are warnings from the
    network's checkpoint.
    """

    frame: HandFrame
    posterior: LaplacePosterior
    features: Float[np.ndarray, "7"]
    curvature: Float64[np.ndarray, "61 61"]
    prior_curvature: Float64[np.ndarray, "61 61"]
    by_network: bool = False
    look: HandLook | None = None
    excess: float = 0.0
    notes: tuple[str, ...] = ()

    def inflated(self, inflation: float) -> LaplacePosterior:
        """Return the posterior with another factor on the evidence's standard deviations."""
        factor = square_root_covariance(
            self.curvature[None], self.prior_curvature[None], np.array([inflation])
        )
        return replace(self.posterior, factor=factor[0])


Texturing = Callable[..., tuple[Texture, UvTexture | None]]
"""Image, vertices, faces, intrinsics and what the fit saw of a right hand → its texture: see `texturing`."""


def assemble(fitted: FittedHand, calibration: Calibration, texturing: Texturing) -> HandReconstruction:
    """Build the reconstruction of one fitted hand in the photograph's camera.

    Raises `ValueError` for a hand whose frame has no picture.
    """
    return leave(_right_hand(fitted, calibration, texturing), fitted.frame.mirrored)


def _right_hand(fitted: FittedHand, calibration: Calibration, texturing: Texturing) -> HandReconstruction:
    """Build the reconstruction in the hand's own frame."""
    frame, posterior = fitted.frame, fitted.posterior
    if frame.image is None:
        raise ValueError("a hand without a picture has no texture")
    camera, arrays = frame.camera, posterior.pose.arrays
    mesh, drawn = posterior.mesh(), posterior.draw(STD_SAMPLES)
    joints_std, vertices_std = _standard_deviations(drawn, mesh, arrays, calibration)
    if calibration.doubt is not None:
        wider = np.float32(calibration.doubt.factor(fitted.features))
        joints_std, vertices_std = wider * joints_std, wider * vertices_std
    vertices, joints = mesh.vertices[0].astype(np.float32), mesh.joints[0].astype(np.float32)
    joints_2d = project(joints.astype(np.float64), np.asarray(camera.intrinsics, dtype=np.float64))
    texture, uv_texture = texturing(frame.image, vertices, arrays.faces, camera.intrinsics, fitted.look)
    return HandReconstruction(
        side="right",
        score=float(frame.detection.score),
        box_xyxy_px=np.asarray(frame.detection.box_xyxy_px, dtype=np.float64),
        camera=camera,
        vertices=vertices,
        faces=arrays.faces,
        joints=joints,
        joints_2d=joints_2d.astype(np.float32),
        vertex_colors=texture.colors,
        visible=texture.shown,
        vertices_std=vertices_std,
        joints_std=joints_std,
        joints_valid=_valid(joints_std, joints_2d, camera),
        parameters=_parameters(fitted),
        skeleton=_skeleton(mesh, arrays),
        posterior=posterior,
        warnings=_warnings(fitted, joints_std, joints, joints_2d, calibration.doubt),
        vertex_colors_std=texture.std,
        uv_texture=uv_texture,
    )


def _valid(
    joints_std: Float[np.ndarray, "21"], joints_2d: Float[np.ndarray, "21 2"], camera: Camera
) -> Bool[np.ndarray, "21"]:
    """Return which joints lie in the picture and are known well enough to rely on."""
    inside = np.all((joints_2d >= 0) & (joints_2d <= [camera.width, camera.height]), axis=-1)
    valid: Bool[np.ndarray, "21"] = inside & (joints_std < VALID_STD_M)
    return valid


def _warnings(
    fitted: FittedHand,
    joints_std: Float[np.ndarray, "21"],
    joints: Float[np.ndarray, "21 3"],
    joints_2d: Float[np.ndarray, "21 2"],
    doubt: Doubt | None,
) -> tuple[str, ...]:
    """Return what a user should know before trusting this hand."""
    frame, found = fitted.frame, list(fitted.notes)
    confidence = frame.detection.confidence
    if frame.box_only:
        asked = frame.detection.score < 1  # a detector that saw no hand, or none that fills the box
        told = "The detector sees no hand that fills the box" if asked else "Only a box was given"
        if not fitted.by_network:
            return (f"{told}, so the pose is a guess: use a detector or give joints.",)
        if asked:
            found.append(f"{told}: the pose is the network's word, the side a guess unless you gave it.")
    unseen = int((confidence < UNSEEN_CONFIDENCE).sum())
    if unseen and not frame.box_only:
        found.append(f"{unseen} of 21 joints were hardly seen (outside the picture, hidden or in doubt).")
    if fitted.excess > 1 or _beyond_box(joints_2d, frame.detection.box_xyxy_px):
        found.append(
            "This hand does not explain what was seen of it: do not rely on its place, size or distance."
        )
    nearest = float(joints[:, 2].min())
    if frame.camera.source == "assumed" and nearest < NEAR_LENS_M:
        found.append(
            f"This hand seems only {100 * nearest:.0f} cm before the lens, by a camera that is assumed: give "
            "the field of view or the intrinsics if distances matter."
        )
    return (*found, *_unsure(fitted, float(joints_std.mean()), doubt))


def _beyond_box(joints_2d: Float[np.ndarray, "21 2"], box_xyxy_px: Float[np.ndarray, "4"]) -> bool:
    """Whether a joint lies outside of twice the detection's box, about the same middle."""
    low, high = box_xyxy_px[:2], box_xyxy_px[2:]
    return bool((np.abs(joints_2d - (low + high) / 2) > high - low).any())


def _unsure(fitted: FittedHand, std_m: float, doubt: Doubt | None) -> tuple[str, ...]:
    """Say that a hand may be wrong, by its doubt where that was measured, else by what is stated of it."""
    told = f"This hand is unsure: its joints have a standard deviation of {1000 * std_m:.0f} mm"
    if doubt is None:
        return (f"{told}.",) if std_m > UNSURE_STD_M else ()
    if not doubt.unsure(fitted.features):
        return ()
    share = min(round(10 * doubt.probability(fitted.features)), 9)
    return (f"{told}. Of 10 hands seen like it, {share} are off by more than {1000 * WRONG_M:.0f} mm.",)


def _standard_deviations(
    drawn: PosedHands, mesh: PosedHands, arrays: HandModelArrays, calibration: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """Return the stated standard deviations (m) of joints and vertices after alignment."""
    floor = calibration.floor_m
    joints = np.hypot(aligned_std(drawn.joints, mesh.joints[0]), floor)
    # A vertex inherits the floor of the joints about which its bones turn.
    vertex_floor = arrays.lbs_weights @ floor[list(BONE_JOINTS)]
    vertices = np.hypot(aligned_std(drawn.vertices, mesh.vertices[0]), vertex_floor)
    return joints.astype(np.float32), vertices.astype(np.float32)


def _parameters(fitted: FittedHand) -> HandParameters:
    """Return the parameters in smplx's words."""
    camera, posterior = fitted.frame.camera, fitted.posterior
    arrays, state = posterior.pose.arrays, posterior.state
    axis_angle = axis_angles(state.rotations[0])
    variance = np.square(posterior.factor[TRANSL]).sum(-1)
    if camera.source == "assumed":
        variance += _assumed_camera_std(camera, float(state.transl[0, 2])) ** 2
    return HandParameters(
        global_orient=axis_angle[0],
        hand_pose=axis_angle[1:].ravel() - arrays.pose_mean,
        betas=state.betas[0],
        transl=state.transl[0],
        transl_std=np.sqrt(variance),
        hand_model=arrays.name,
    )


def _assumed_camera_std(camera: Camera, depth_m: float) -> Float[np.ndarray, "3"]:
    """Return the position's standard deviation (m) that comes from not knowing the camera.

    Depth goes with the focal length, position across with where the picture was cropped.
    """
    focal, size = np.diag(camera.intrinsics)[:2], np.array([camera.width, camera.height])
    across = ASSUMED_CENTER_STD * size / focal * depth_m
    return np.array([*across, ASSUMED_LOG_FOCAL_STD * depth_m])


def _skeleton(mesh: PosedHands, arrays: HandModelArrays) -> Skeleton:
    """Return the skinned skeleton."""
    transform = np.tile(np.eye(4), (16, 1, 1))
    transform[:, :3, :3] = mesh.bone_rotation[0]
    transform[:, :3, 3] = mesh.bone_origin[0]
    return Skeleton(
        names=BONE_NAMES,
        parents=arrays.parents,
        rest_vertices=mesh.rest_vertices[0].astype(np.float32),
        rest_joints=mesh.rest_joints[0][list(BONE_JOINTS)].astype(np.float32),
        lbs_weights=arrays.lbs_weights.astype(np.float32),
        T_camera_bone=transform.astype(np.float32),
    )
