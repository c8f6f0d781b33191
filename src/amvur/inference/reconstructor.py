"""Photo in, hands out: detector → most probable hand → uncertainty → texture."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Float

from amvur.cores import on_all_cores
from amvur.detect.base import Detector, chosen_side, make_detector
from amvur.detect.convention import load_convention
from amvur.detect.given import check_box, check_size
from amvur.errors import InputError
from amvur.hand.loading import load_hand_model
from amvur.hand.posing import HandPoser
from amvur.image import check_image
from amvur.inference.assemble import FittedHand, assemble
from amvur.inference.calibration import hand_features, load_calibrations
from amvur.inference.camera import make_camera
from amvur.inference.estimator.estimate import Estimator
from amvur.inference.estimator.observation import observe
from amvur.inference.estimator.posterior import LaplacePosterior, square_root_covariance
from amvur.inference.frames import HandFrame, enter, merge_passes
from amvur.inference.network.fusion import fuse
from amvur.inference.network.trained import TrainedNetwork, load_trained
from amvur.inference.network.view import NetworkView
from amvur.inference.silhouette.finder import ContourFinder
from amvur.inference.silhouette.segmentation import shipped_segmentation
from amvur.inference.swapped_channels import HINT, hand_in_swapped, looks_blue
from amvur.inference.texture.texturing import make_texturing
from amvur.onnx_network import choose_device
from amvur.reading import brief
from amvur.structures import HandDetection, HandReconstruction, RgbImage

_HANDS_AT_ONCE = 16
"""Hands of a batch: what is seen of one takes 10 MB."""


class Reconstructor:
    """Reconstruct every hand of a photograph: mesh, joints, camera, colors, uncertainty.

    `hand_model` is `"open"` or the path of the user's MANO file; `detector` is `"mediapipe"`, the path
    of a `.task` file, `"none"` (boxes or detections must then be given) or an object with `detect`;
    `checkpoint` is `"none"` (no network: hands are fitted to the detector's joints), `"default"` (the one
    shipped with the package; without one as `"none"`), a checkpoint's folder or a `TrainedNetwork`;
    `device` is `"auto"`, `"cpu"` or `"cuda"` (onnxruntime's); `texture` is `"regressed"` (by the shipped
    texture head), `"sampled"` (colors of the picture, completed over the surface), `"auto"` (regressed for
    the open hand) or a folder with a texture head; with `uv_texture_px` every hand also gets a texture
    picture of that size.

    Safe to use from several threads, after a fork and in processes (it pickles to how it was made); `close`
    or a `with` statement frees what it loaded.

    Raises `ModelFileError`, `DetectorError` or `InputError` when one of them cannot be used.
    """

    def __init__(
        self,
        *,
        hand_model: str = "open",
        detector: str | Detector = "mediapipe",
        checkpoint: str | Path | TrainedNetwork = "default",
        device: str = "auto",
        texture: str | Path = "auto",
        uv_texture_px: int | None = None,
    ) -> None:
        """Load hand model and networks at once and the detector at its first use."""
        self._arguments = {
            "hand_model": hand_model,
            "detector": detector,
            "checkpoint": checkpoint,
            "device": device,
            "texture": texture,
            "uv_texture_px": uv_texture_px,
        }
        self.device = choose_device(device)
        self.detector = make_detector(detector, self.device)
        self.hand_model = hand_model
        arrays = self.arrays = load_hand_model(hand_model, "right")
        self.pose = HandPoser(arrays)
        self.segmentation = shipped_segmentation(self.device)
        self._texturing = make_texturing(texture, arrays, uv_texture_px, self.segmentation, self.device)
        self.trained = load_trained(checkpoint, self.device)
        if self.trained is not None and not self.trained.speaks_of(arrays):
            # joints of another hand model are a few millimetres elsewhere: better than nothing, no more
            self.trained = self.trained.only_for_boxes()
        self.estimator = Estimator(arrays, None if self.trained is None else self.trained.estimator)
        self.calibrations = load_calibrations()
        if self.trained is not None:
            self.calibrations = replace(self.calibrations, **self.trained.calibrations)

    def __repr__(self) -> str:
        """Return how it was made."""
        told = ", ".join(f"{name}={brief(value)}" for name, value in self._arguments.items())
        return f"Reconstructor({told})"

    def __getstate__(self) -> dict[str, Any]:
        """Keep how it was made: what it loaded is loaded again where it is unpickled."""
        return self._arguments

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make it anew."""
        self.__init__(**state)  # type: ignore[misc]

    def __enter__(self) -> Reconstructor:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free what was loaded."""
        self.close()

    def close(self) -> None:
        """Free the networks; a further call loads them again."""
        for part in (self.detector, self.segmentation, self._texturing, self.trained):
            if part is not None and hasattr(part, "close"):
                part.close()

    @overload
    def __call__(
        self,
        image: RgbImage,
        *,
        intrinsics: Float[np.ndarray, "3 3"] | None = None,
        fov_deg: float | None = None,
        boxes: Float[np.ndarray, "N 4"] | None = None,
        side: Literal["auto", "left", "right"] = "auto",
        detections: Sequence[HandDetection] | None = None,
    ) -> list[HandReconstruction]: ...

    @overload
    def __call__(
        self,
        image: list[Any],
        *,
        intrinsics: Float[np.ndarray, "3 3"] | None = None,
        fov_deg: float | None = None,
        side: Literal["auto", "left", "right"] = "auto",
    ) -> list[list[HandReconstruction]]: ...

    def __call__(
        self,
        image: RgbImage | list[Any],
        *,
        intrinsics: Float[np.ndarray, "3 3"] | None = None,
        fov_deg: float | None = None,
        boxes: Float[np.ndarray, "N 4"] | None = None,
        side: Literal["auto", "left", "right"] = "auto",
        detections: Sequence[HandDetection] | None = None,
    ) -> list[HandReconstruction] | list[list[HandReconstruction]]:
        """Reconstruct the hands of an (H,W,3) uint8 RGB image (sRGB; not OpenCV's BGR), best score first.

        Of a list of images, of any sizes, the hands of each are returned, the same as one by one; boxes and
        detections are for single images.

        `intrinsics` (3,3) in pixels or `fov_deg` over the longer side describe the camera; `boxes`
        (N,4; x0 y0 x1 y1 in pixels) say where hands are; `detections` replace the detector.
        Raises `ImageError` or `InputError` for unusable values.
        """
        if isinstance(image, list):
            if boxes is not None or detections is not None:
                raise InputError("Boxes and detections are of one image. Give the images one by one.")
            for index, one in enumerate(image):
                try:
                    check_image(one)
                except InputError as error:
                    raise InputError(f"Image {index} of the list: {error}") from error
            return [self(one, intrinsics=intrinsics, fov_deg=fov_deg, side=side) for one in image]
        image = check_image(image)
        height, width = image.shape[:2]
        make_camera(width, height, intrinsics, fov_deg)  # bad values fail before the detector runs
        known = chosen_side(side)
        if detections is None:
            detections = self.detector.detect(image, boxes=boxes, side=side)
            if not detections and hand_in_swapped(image, self.detector):
                warnings.warn(f"No hand was found in this picture, but {HINT}.", stacklevel=2)
        else:
            _check_detections(image, detections, boxes)
            detections = [d if known is None else replace(d, side=known) for d in detections]
        if not detections:
            return []
        camera = make_camera(
            width, height, intrinsics, fov_deg, [merge_passes(d).size_px for d in detections]
        )
        frames = enter(image, camera, detections)
        size = min(_HANDS_AT_ONCE, -(-len(frames) // (os.cpu_count() or 1)))
        parts = [frames[start : start + size] for start in range(0, len(frames), size)]
        hands = [hand for part in on_all_cores(self._of_frames, parts) for hand in part]
        return sorted(hands, key=lambda hand: -hand.score)

    def _of_frames(self, frames: Sequence[HandFrame]) -> list[HandReconstruction]:
        """Reconstruct hands in one batch."""
        views = None if self.trained is None else self.trained.look(frames)
        return [
            assemble(hand, self.calibrations.of(hand.by_network, hand.frame.box_only), self._texturing)
            for hand in self.fit(frames, views)
        ]

    def fit(
        self, frames: Sequence[HandFrame], views: Sequence[NetworkView | None] | None = None
    ) -> list[FittedHand]:
        """Return the posterior of every hand, fitted in one batch a convention.

        `views` are what the network says of the same hands (`trained.look`), None without a network. Hands
        whose frame has a picture are fitted to their outlines too.
        """
        views = [None] * len(frames) if views is None else views
        groups: dict[tuple[str, bool], list[int]] = {}
        for i, (frame, view) in enumerate(zip(frames, views, strict=True)):
            groups.setdefault((frame.detection.convention, view is not None), []).append(i)
        fitted: dict[int, FittedHand] = {}
        for (name, _), chosen in sorted(groups.items()):
            hands = self._fit_group([frames[i] for i in chosen], [views[i] for i in chosen], name)
            fitted.update(zip(chosen, hands, strict=True))
        return [fitted[i] for i in range(len(frames))]

    def _fit_group(
        self, frames: Sequence[HandFrame], views: Sequence[NetworkView | None], name: str
    ) -> list[FittedHand]:
        """Fit hands of one convention, all with a network's view or all without."""
        convention = load_convention(name)
        seen, network = observe(frames, convention), None
        by_network = np.array([view is not None for view in views])
        if self.trained is not None and by_network.any():
            seen, network = fuse(seen, frames, views, self.trained.fusion)
        contours = ContourFinder(frames, self.pose, self.segmentation, self.estimator.config.contours)
        landmarks = self.estimator.hand.landmarks(convention.offsets_m)
        pictures = any(frame.image is not None for frame in frames)
        estimate = self.estimator(seen, network, landmarks, contours if pictures else None)
        looks = [contours.looks.get(i) for i in range(len(frames))]
        pixels = [None if look is None else look.pixels for look in looks]
        features = hand_features(frames, seen, network, estimate, pixels)
        box_only = np.array([frame.box_only for frame in frames])
        inflation = self.calibrations.inflation(features, by_network, box_only)
        inflation = inflation * np.maximum(estimate.excess, 1.0)
        factors = square_root_covariance(estimate.curvature, estimate.prior_curvature, inflation)
        prior, state = self.estimator.prior, estimate.state
        return [
            FittedHand(
                frame,
                LaplacePosterior(self.pose, prior, state[i : i + 1], factors[i]),
                features[i],
                estimate.curvature[i],
                estimate.prior_curvature[i],
                bool(by_network[i]),
                looks[i],
                float(estimate.excess[i]),
                self._notes(frame, bool(by_network[i])),
            )
            for i, frame in enumerate(frames)
        ]

    def _notes(self, frame: HandFrame, by_network: bool) -> tuple[str, ...]:
        """Return what to warn of before a hand is looked at closely."""
        told = self.trained.notes if self.trained is not None and by_network else ()
        if frame.image is not None and looks_blue(frame.image, frame.detection):
            told = (*told, f"The skin of this hand looks blue: without blue light or gloves, {HINT}.")
        return told


def _check_detections(
    image: RgbImage, detections: Sequence[HandDetection], boxes: Float[np.ndarray, "N 4"] | None
) -> None:
    """Raise `InputError` for given detections that cannot be fitted."""
    if boxes is not None:
        raise InputError("Detections say where the hands are; boxes beside them have no meaning.")
    for detection in detections:
        seen = detection.confidence > 0
        for name in ("joints_2d_px", "depth_px", "landmarks_3d_m"):
            values = getattr(detection, name)
            if values is not None and not np.isfinite(values[:, seen]).all():
                raise InputError(
                    f"A detection's {name} has a value that is not finite. Give joints that were not seen "
                    "confidence 0."
                )
        if not np.isfinite(detection.box_xyxy_px).all():
            raise InputError(f"A detection's box must be finite, found {detection.box_xyxy_px.tolist()}.")
        if seen.any():
            check_size(detection.box_xyxy_px, "A detection's box")
        else:  # all that is known of this hand
            check_box(detection.box_xyxy_px, image.shape, "A detection's box")
