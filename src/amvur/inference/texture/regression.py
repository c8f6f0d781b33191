"""Vertex colors by the trained head, made sharp by the photograph where it shows the skin.

The head says what color every vertex has, how sure that is, and which vertices an object hides. Its word is
a prior; pixels of seen skin, which a segmentation tells from the rest, are evidence of the colors through the
renderer's own interpolation (eq. 12 as a likelihood). Both are Gaussian, so the most probable colors solve
one sparse linear system.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from amvur.checkpoint_folder import open_onnx, read_config, shipped
from amvur.errors import ModelFileError
from amvur.hand.model_arrays import HandModelArrays
from amvur.inference.silhouette.segmentation import HandLook, Segmentation, shipped_segmentation
from amvur.inference.texture.evidence import VertexEvidence, feature_width, vertex_evidence
from amvur.inference.texture.sampling import sample_vertex_colors
from amvur.inference.view import HandView, look_at_hand
from amvur.onnx_network import OnnxNetwork
from amvur.reading import brief
from amvur.structures import RgbImage

_STATED = 1.13
"""The head's deviations times this held 90 % of held-out colors: `scripts/train_texture.py choose`."""
_UNKNOWN_STD_PX = 5.0
"""How well a mesh is taken to lie in the crop (px) if nobody says."""
_STEPS = 12
OUTPUTS = ("loc", "scale", "visibility_logit")
"""What the head's network says, in order."""


@dataclass(frozen=True)
class FitSettings:
    """How pixels are believed, chosen by `scripts/train_texture.py choose`.

    `pixel_std` is what a pixel of skin differs from the mesh's interpolated colors by: noise, and detail
    between vertices. A vertex takes the fitted color in full if `enough` of its pixels are skin.
    """

    pixel_std: float = 0.03
    enough: float = 0.3


USUAL = FitSettings()


@dataclass(frozen=True)
class VertexColors:
    """What the head says of V vertices: mean color (sRGB in [0, 1]), standard deviation of a channel, and a
    logit: `amvur.models.texture.VertexColors` of one hand."""

    loc: Float32[NDArray[Any], "V 3"]
    scale: Float32[NDArray[Any], "V"]
    visibility_logit: Float32[NDArray[Any], "V"]


@dataclass(frozen=True)
class Texture:
    """Colors of V vertices: sRGB in [0, 1], their standard deviation per channel, and what shows.

    `visible` marks vertices that face the camera before other parts of the hand, inside the photograph;
    `seen` is the probability that the photograph shows their skin, objects considered (0 for the others).
    `shows` is the probability of every pixel of `view` to show the hand. Sampled colors have none of `std`,
    `seen`, `shows` and `view`.
    """

    colors: Float32[NDArray[Any], "V 3"]
    visible: Bool[NDArray[Any], "V"]
    std: Float32[NDArray[Any], "V"] | None = None
    seen: Float32[NDArray[Any], "V"] | None = None
    shows: Float32[NDArray[Any], "S S"] | None = None
    view: HandView | None = None

    @property
    def shown(self) -> Bool[NDArray[Any], "V"]:
        """Mark the vertices that the photograph shows: of the visible ones, those that no object hides, if
        that is known."""
        return self.visible if self.seen is None else self.seen > 0.5


class TextureRegressor:
    """A trained texture head with all it needs, for any mesh of one hand model."""

    def __init__(self, head: OnnxNetwork, arrays: HandModelArrays, segmentation: Segmentation) -> None:
        """Take a head for meshes of a hand model, which reads the same maps as the segmentation."""
        self.head = head
        self.template = arrays.v_template.astype(np.float32)
        self.segmentation = segmentation

    def __call__(
        self,
        image: RgbImage,
        vertices: Float[NDArray[Any], "V 3"],
        faces: Int[NDArray[Any], "F 3"],
        intrinsics: Float[NDArray[Any], "3 3"],
        before: HandLook | None = None,
        mesh_std_px: Float[NDArray[Any], "V"] | None = None,
    ) -> Texture:
        """Return the texture of one right hand; one outside of the picture gets what sampling gives it.

        `vertices` in metres in the camera's frame (OpenCV axes), `faces` counter-clockwise from outside,
        `intrinsics` in pixels of `image`. `before` is what a fit saw of the hand. Without it, `mesh_std_px`
        says how well the mesh is known to lie: each vertex's standard deviation in the picture, along an
        axis, in pixels of `image` (0: exactly; None: as fits usually do). The less sure it is, the less are
        pixels near its outline taken for skin.
        """
        earlier = None if before is None else before.view
        view = look_at_hand(image, vertices, faces, intrinsics, before=earlier)
        if view is None or not view.visible.any():
            return Texture(*sample_vertex_colors(image, vertices, faces, intrinsics))
        if before is not None:
            return settle(view, self.regress(view), before.pixels.shows)
        spread = np.full(len(vertices), _UNKNOWN_STD_PX)
        if mesh_std_px is not None:
            # beyond the whole crop all is as unsure, and infinite numbers would not be interpolated
            spread = np.minimum(mesh_std_px.astype(np.float64) / view.pixel_px, view.crop.size_px)
        (look,) = self.segmentation([view], [spread])
        return settle(look.view, self.regress(look.view), look.pixels.shows)

    def close(self) -> None:
        """Free what was loaded."""
        self.head.close()
        self.segmentation.close()

    def regress(self, view: HandView) -> VertexColors:
        """Return the head's own word on a hand, before the photograph's pixels are asked."""
        (seen,) = self.segmentation.with_maps([view])
        assert seen.maps is not None
        return self._word(vertex_evidence(seen, self.template, seen.maps))

    def _word(self, evidence: VertexEvidence) -> VertexColors:
        """Run the head; keys that the rasteriser does not see have no weight."""
        found = self.head(
            {
                "features": evidence.features[None],
                "colors": evidence.colors[None],
                "visible": evidence.visible[None],
                "pooled": evidence.pooled[None],
                "keys": evidence.visible.nonzero()[0][None],
            }
        )
        return VertexColors(*(found[name][0] for name in OUTPUTS))


def settle(
    view: HandView,
    word: VertexColors,
    shows: Float32[NDArray[Any], "S S"],
    settings: FitSettings = USUAL,
) -> Texture:
    """Return the texture of a view: the head's word on it, fitted to the photograph where that shows skin.

    `shows` is the probability of every pixel of the view to show the hand. A vertex takes the fitted color as
    far as its pixels show skin, else the head's. What the photograph moved a color by counts as uncertainty
    too: a mesh that is a few pixels off moves it wrongly.
    """
    seen = expit(word.visibility_logit) * view.visible
    own, std = word.loc.astype(np.float64), word.scale.astype(np.float64)
    interpolation, pixels = pixel_equations(view)
    skin = shows[view.raster.mask].astype(np.float64)
    covered = np.maximum(interpolation.sum(0), 1e-9)
    share = (interpolation.T @ skin / covered / settings.enough).clip(0, 1)
    fitted = fit_to_photo(interpolation, pixels, skin / settings.pixel_std**2, own, std)
    colors = own + share[:, None] * (fitted - own)
    moved = np.sqrt(np.square(colors - own).mean(1))
    stated = np.hypot(_STATED * std, moved).astype(np.float32)
    return Texture(colors.astype(np.float32), view.visible, stated, seen, shows, view)


def fit_to_photo(
    interpolation: sparse.csr_array,
    pixels: Float64[NDArray[Any], "N 3"],
    precision: Float64[NDArray[Any], "N"],
    mean: Float64[NDArray[Any], "V 3"],
    std: Float64[NDArray[Any], "V"],
) -> Float64[NDArray[Any], "V 3"]:
    """Return the most probable colors, in [0, 1], under the head's Gaussians and pixels of a `precision`."""
    weighted = sparse.diags_array(precision) @ interpolation
    prior = sparse.diags_array(std**-2)
    system = (interpolation.T @ weighted + prior).tocsr()
    right = weighted.T @ pixels + prior @ mean
    return conjugate_gradients(system, right, mean).clip(0, 1)


def pixel_equations(view: HandView) -> tuple[sparse.csr_array, Float64[NDArray[Any], "N 3"]]:
    """Return the barycentric interpolation (N pixels × V vertices) of a view, and its pixels' colors."""
    mask = view.raster.mask
    corners = view.faces[view.raster.pix_to_face[mask]]
    weights = view.raster.bary_coords[mask].astype(np.float64)
    rows = np.arange(len(corners) + 1) * 3
    shape = (len(corners), len(view.vertices))
    matrix = sparse.csr_array((weights.ravel(), corners.ravel(), rows), shape=shape)
    return matrix, view.picture[mask] / 255


def conjugate_gradients(
    system: sparse.csr_array,
    right: Float64[NDArray[Any], "V C"],
    start: Float64[NDArray[Any], "V C"],
    steps: int = _STEPS,
) -> Float64[NDArray[Any], "V C"]:
    """Take Jacobi-preconditioned conjugate gradient steps for all columns at once."""
    inverse = 1 / system.diagonal()[:, None]
    x, residual = start, right - system @ start
    direction = scaled = inverse * residual
    power = _products(residual, scaled)
    for _ in range(steps):
        image = system @ direction
        step = power / np.maximum(_products(direction, image), 1e-300)
        x, residual = x + step * direction, residual - step * image
        scaled = inverse * residual
        previous, power = power, _products(residual, scaled)
        direction = scaled + power / np.maximum(previous, 1e-300) * direction
    return x


def _products(a: Float64[NDArray[Any], "V C"], b: Float64[NDArray[Any], "V C"]) -> Float64[NDArray[Any], "C"]:
    """Return the inner product of every column (numpy is slow at sums over the first axis)."""
    products: Float64[NDArray[Any], "C"] = np.einsum("vc,vc->c", a, b)
    return products


def default_texture() -> Path | None:
    """Return the folder of the texture head that ships with the package, None if there is none."""
    return shipped("texture")


def load_regressor(
    folder: Path, arrays: HandModelArrays, segmentation: Segmentation | None = None, device: str = "cpu"
) -> TextureRegressor:
    """Return the texture head in a checkpoint folder, which reads the maps of a segmentation (None: shipped).

    Raises `ModelFileError` if it cannot be used.
    """
    segmentation = segmentation or shipped_segmentation(device)
    config = read_config(folder)
    settings, levels = config["network"], segmentation.level_widths
    wanted = feature_width(levels), levels[-1]
    found = settings.get("features"), settings.get("pooled")
    if found != wanted:
        raise ModelFileError(
            f"The checkpoint {folder} describes no texture head that this version of amvur knows: it reads "
            f"{brief(found)} numbers, not {wanted}. Use the version that wrote it, or sampled texture."
        )
    return TextureRegressor(open_onnx(folder, config, OUTPUTS, device=device), arrays, segmentation)
