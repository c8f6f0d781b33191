"""Values that cross module borders: frozen, named, with shapes, units and frames.

Arrays are numpy on the user's side of the library (detections, reconstructions) and torch inside the
models. Conventions: `docs/conventions.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

Side = Literal["left", "right"]
CameraSource = Literal["given", "assumed"]

RgbImage = UInt8[np.ndarray, "H W 3"]


class ArrayFields:
    """Makes dataclasses with arrays equal where their contents are, and their `repr` a line.

    Fields declared with `compare=False` take no part.
    """

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Whether `other` is of the same class and has equal fields; not-a-number equals itself."""
        if type(other) is not type(self):
            return NotImplemented
        names = [f.name for f in fields(self) if f.compare]  # type: ignore[arg-type]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    def __repr__(self) -> str:
        """Name the fields, arrays by type and shape."""
        parts = [f"{f.name}={_brief(getattr(self, f.name))}" for f in fields(self)]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(parts)})"


def _same(one: object, other: object) -> bool:
    """Whether two values of fields are equal."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    return bool(type(one) is type(other) and one == other)


def _brief(value: object) -> str:
    """Describe a field's value."""
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)


@dataclass(frozen=True, eq=False, repr=False)
class Camera(ArrayFields):
    """A pinhole camera without distortion, in pixels of the displayed image of `width` × `height`.

    The centre of the top-left pixel is (0.5, 0.5); axes as in OpenCV (x right, y down, z forward).
    """

    intrinsics: Float[np.ndarray, "3 3"]
    source: CameraSource
    width: int
    height: int

    def mirrored(self) -> Camera:
        """Return the camera of the picture mirrored left to right (x → width − x)."""
        intrinsics = np.array(self.intrinsics, dtype=np.float64)
        intrinsics[0, 2] = self.width - intrinsics[0, 2]
        intrinsics[0, 1] = -intrinsics[0, 1]
        return Camera(intrinsics, self.source, self.width, self.height)


@dataclass(frozen=True, eq=False, repr=False)
class HandDetection(ArrayFields):
    """What a detector (or the user) says of one hand in one image, not mirrored.

    `R` runs of the detector on jittered crops; users' own joints are one run. `depth_px` is the depth
    of a joint relative to the wrist, in pixels of the image (weak perspective: larger is further), and
    `landmarks_3d_m` are metric landmarks in axes parallel to the camera's, in the detector's own scale.
    A joint that nobody saw has confidence 0. `convention` names where on the hand the joints are put.
    """

    side: Side
    score: float
    box_xyxy_px: Float[np.ndarray, "4"]
    joints_2d_px: Float[np.ndarray, "R 21 2"]
    confidence: Float[np.ndarray, "21"]
    depth_px: Float[np.ndarray, "R 21"] | None = None
    landmarks_3d_m: Float[np.ndarray, "R 21 3"] | None = None
    convention: str = "amvur"


@dataclass(frozen=True, eq=False, repr=False)
class HandParameters(ArrayFields):
    """Parameters of the hand model of `side`, in smplx's words; the mesh follows from them.

    `global_orient` (3) and `hand_pose` (45) are axis-angle in radians relative to the model's rest
    pose, bones in the model's order (wrist, index, middle, little, ring, thumb as in MANO), `betas`
    (10) in standard deviations, `transl` (3) in metres in the camera's frame, added to the model whose
    wrist is rotated about itself. `transl_std` (3) is the position's standard deviation in metres.
    `hand_model` names the model (`"open"` or the file's name).
    """

    global_orient: Float[np.ndarray, "3"]
    hand_pose: Float[np.ndarray, "45"]
    betas: Float[np.ndarray, "10"]
    transl: Float[np.ndarray, "3"]
    transl_std: Float[np.ndarray, "3"]
    hand_model: str


@dataclass(frozen=True, eq=False, repr=False)
class Skeleton(ArrayFields):
    """The skinned skeleton behind a mesh: what a GLB file or an animation tool needs.

    `rest_vertices` hold shape and pose correctives, so that linear blend skinning with
    `T_camera_bone @ inverse(translation(rest_joints))` gives the reconstructed vertices exactly.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    rest_vertices: Float32[np.ndarray, "V 3"]
    rest_joints: Float32[np.ndarray, "16 3"]
    lbs_weights: Float32[np.ndarray, "V 16"]
    T_camera_bone: Float32[np.ndarray, "16 4 4"]


@dataclass(frozen=True, eq=False, repr=False)
class HandSamples(ArrayFields):
    """Hands drawn from a posterior, in the camera's frame, metres."""

    vertices: Float32[np.ndarray, "N V 3"]
    joints: Float32[np.ndarray, "N 21 3"]


@dataclass(frozen=True, eq=False, repr=False)
class UvTexture(ArrayFields):
    """A picture of a hand's skin and where on it every face lies.

    `pixels` are sRGB; `uv` (T points) are in the unit square, (0, 0) the picture's top left corner;
    `faces` hold three points for every face of the mesh, `vertices` the mesh vertex of every point (a vertex
    on a seam has several).
    """

    pixels: UInt8[np.ndarray, "S S 3"]
    uv: Float32[np.ndarray, "T 2"]
    faces: Int[np.ndarray, "F 3"]
    vertices: Int[np.ndarray, "T"]


class Posterior(Protocol):
    """The distribution over hands that explains a detection."""

    def sample(self, n: int, seed: int = 0) -> HandSamples:
        """Draw `n` hands, the same ones for the same `seed`."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class HandReconstruction(ArrayFields):
    """One reconstructed hand, in the camera's frame (metres, OpenCV axes) and the image's pixels.

    Standard deviations are per axis (root mean square over the three axes), in metres, for positions
    after similarity alignment: 90 % of the errors should lie within 2.50 times them. Colours are sRGB in
    [0, 1]; `visible` marks the vertices that the picture shows: no other part of the hand lies before them,
    nor, as far as a texture head can tell, an object. `vertex_colors_std` is the standard deviation of a
    channel of every vertex's color, None for colors that were not regressed, and `uv_texture` a finer picture
    of the skin if it was asked for. `joints_valid` marks the joints to rely on: inside the picture, with a
    stated standard deviation below `amvur.inference.assemble.VALID_STD_M`. `sample(n)` draws hands from the
    posterior.
    """

    side: Side
    score: float
    box_xyxy_px: Float[np.ndarray, "4"]
    camera: Camera
    vertices: Float32[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    joints: Float32[np.ndarray, "21 3"]
    joints_2d: Float32[np.ndarray, "21 2"]
    vertex_colors: Float32[np.ndarray, "V 3"]
    visible: Bool[np.ndarray, "V"]
    vertices_std: Float32[np.ndarray, "V"]
    joints_std: Float32[np.ndarray, "21"]
    joints_valid: Bool[np.ndarray, "21"]
    parameters: HandParameters
    skeleton: Skeleton
    posterior: Posterior = field(compare=False)
    warnings: tuple[str, ...] = ()
    vertex_colors_std: Float32[np.ndarray, "V"] | None = None
    uv_texture: UvTexture | None = None

    def __repr__(self) -> str:
        """Say in a line what hand it is and how sure."""
        std = 1000 * float(self.joints_std.mean())
        model, count = self.parameters.hand_model, len(self.vertices)
        told = f", {len(self.warnings)} warnings" if self.warnings else ""
        sure = f"score {self.score:.2f}, joints sigma {std:.1f} mm"
        return f"<{self.side} hand, {sure}, {model}, {count} vertices{told}>"

    def sample(self, n: int, seed: int = 0) -> HandSamples:
        """Draw `n` plausible hands from the posterior: see `Posterior.sample`."""
        return self.posterior.sample(n, seed)
