"""Hands to texture, the ways to texture them, and how their renderings are scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy import sparse
from scipy.ndimage import distance_transform_edt
from scipy.sparse.linalg import lsqr
from skimage.metrics import structural_similarity

from amvur.checkpoint import load_checkpoint
from amvur.data.synthetic.benchmark_set import BenchmarkSet
from amvur.geometry.cameras import project
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.inference.estimator.projection import project as project_numpy
from amvur.inference.texture.evidence import vertex_evidence
from amvur.inference.texture.regression import Texture, load_regressor, pixel_equations
from amvur.inference.texture.sampling import sample_vertex_colors
from amvur.inference.view import HandView, look_at_hand, skin_raster
from amvur.models.texture import GlobalColors
from amvur.structures import Camera

STORED = (
    "images", "intrinsics", "vertices", "global_orient", "hand_pose", "betas", "transl", "vertex_colors",
    "unoccluded_vertices", "mask", "is_left", "occlusion",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One hand in a picture: mesh (m, camera frame), camera (px), and the truth where it is known.

    `std_px` is how well the mesh is said to lie in the picture: a standard deviation a vertex.
    """

    image: np.ndarray
    vertices: np.ndarray
    faces: np.ndarray
    intrinsics: np.ndarray
    left: bool
    std_px: np.ndarray
    occlusion: float = float("nan")
    colors: np.ndarray | None = None
    shown: np.ndarray | None = None
    mask: np.ndarray | None = None

    @property
    def view(self) -> HandView | None:
        """The hand as the texture head sees it."""
        return look_at_hand(self.image, self.vertices, self.faces, self.intrinsics)

    @classmethod
    def of(
        cls,
        image: np.ndarray,
        vertices: np.ndarray,
        faces: np.ndarray,
        intrinsics: np.ndarray,
        left: bool,
        std_px: np.ndarray,
        *truth: Any,
    ) -> Case:
        """Return the case of a hand of any side: a left one is a right one in the mirror image."""
        if left:
            camera = Camera(intrinsics, "given", image.shape[1], image.shape[0]).mirrored()
            image, vertices, faces = image[:, ::-1], vertices * np.float32([-1, 1, 1]), faces[:, ::-1]
            intrinsics = camera.intrinsics
        return cls(image, vertices, faces, intrinsics, left, std_px, *truth)


def benchmark_data(count: int, cache: Path | None) -> dict[str, torch.Tensor]:
    """Return the first pictures of synth-v1 with their labels, rendered once."""
    if cache is not None and cache.exists():
        return {name: tensor[:count] for name, tensor in load_file(cache).items()}
    source, rows = BenchmarkSet(), []
    for first in range(0, count, 16):
        batch, _ = source.named_samples(range(first, min(first + 16, count)))
        rows.append({name: getattr(batch, name) for name in STORED})
    data = {name: torch.cat([row[name] for row in rows]).contiguous() for name in STORED}
    if cache is not None:
        save_file(data, cache)
    return data


class SyntheticCases:
    """Pictures of synth-v1 with true meshes or with meshes as wrong as a fit's."""

    def __init__(self, data: dict[str, torch.Tensor], errors: bool, seed: int = 5) -> None:
        """Pose the hand models by the labels."""
        self.data, self.errors = data, errors
        self.models = {left: HandModel(load_hand_model("open", side)) for left, side in SIDES.items()}
        self.generator = torch.Generator().manual_seed(seed)
        self.errors_px: list[float] = []

    def __iter__(self) -> Any:
        """Yield cases."""
        for i in range(len(self.data["betas"])):
            row = {name: tensor[i : i + 1] for name, tensor in self.data.items()}
            left = bool(row["is_left"])
            model = self.models[left]
            vertices, std_px = row["vertices"], torch.zeros(row["vertices"].shape[1]).numpy()
            if self.errors:
                vertices = self._wrong(row, model, self.generator)
                moved = project(vertices, row["intrinsics"]) - project(row["vertices"], row["intrinsics"])
                self.errors_px.append(float(torch.linalg.vector_norm(moved, dim=-1).mean()) * 256 / 224)
                std_px = self._spread(row, model, i)
            mask = row["mask"][0].numpy()
            yield Case.of(
                row["images"][0].numpy(),
                vertices[0].numpy(),
                model.faces.numpy(),
                row["intrinsics"][0].double().numpy(),
                left,
                std_px,
                float(row["occlusion"]),
                row["vertex_colors"][0].float().numpy(),
                row["unoccluded_vertices"][0].numpy(),
                mask[:, ::-1] if left else mask,
            )

    def _wrong(
        self, row: dict[str, torch.Tensor], model: HandModel, generator: torch.Generator
    ) -> torch.Tensor:
        """Return a mesh with errors of pose, size and place."""

        def moved(name: str, std: float) -> torch.Tensor:
            return row[name] + std * torch.randn(row[name].shape, generator=generator)

        pixel = row["transl"][:, 2:] / row["intrinsics"][:, 0, :1]
        shift = 2.0 * pixel * torch.randn(1, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.0])
        mesh = model(
            moved("global_orient", 0.04), moved("hand_pose", 0.05), moved("betas", 0.4), row["transl"] + shift
        )
        return mesh.vertices

    def _spread(self, row: dict[str, torch.Tensor], model: HandModel, seed: int) -> np.ndarray:
        """Return how far such errors move each vertex, from draws of their own: what a fit would state."""
        generator = torch.Generator().manual_seed(seed)
        drawn = [self._wrong(row, model, generator) for _ in range(SPREAD_DRAWS)]
        return spread_in_picture(torch.cat(drawn).numpy(), row["intrinsics"][0].numpy())


SPREAD_DRAWS = 16
SIDES = {False: "right", True: "left"}


class Ways:
    """The ways to color a hand: ours, the head's word alone, sampling, one mean color, the baseline."""

    def __init__(self, checkpoint: Path, baseline: Path | None) -> None:
        """Load the texture head and, if there is one, the perceptron on the global feature."""
        self.regressor = load_regressor(checkpoint, load_hand_model("open"))
        self.baseline = None if baseline is None else load_baseline(baseline)

    @torch.inference_mode()
    def __call__(self, case: Case) -> tuple[dict[str, np.ndarray], Texture]:
        """Return colors by name, and our texture with its uncertainty."""
        sampled, visible = sample_vertex_colors(*mesh_of(case))
        mean = sampled[visible].mean(0) if visible.any() else sampled.mean(0)
        found = {"sampled": sampled, "mean color": np.tile(mean, (len(sampled), 1))}
        view = case.view
        if view is None or not view.visible.any():
            texture = self.regressor(*mesh_of(case), mesh_std_px=case.std_px)
            return {"ours": texture.colors, "head alone": texture.colors, **found}, texture
        texture = self.regressor(*mesh_of(case), mesh_std_px=case.std_px)
        (view,) = self.regressor.segmentation.with_maps([view])
        head_alone = self.regressor.regress(view).loc
        found = {"ours": texture.colors, "head alone": head_alone, **found}
        if self.baseline is not None:
            assert view.maps is not None
            evidence = vertex_evidence(view, self.regressor.template, view.maps)
            found["global feature"] = self.baseline(torch.from_numpy(evidence.pooled)[None])[0].numpy()
        return found, texture


def spread_in_picture(samples: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Return each point's standard deviation in the picture (px, rms over axes) over samples (N,P,3; m)."""
    places = project_numpy(samples.astype(np.float64), np.asarray(intrinsics, np.float64))
    return np.sqrt(places.var(0).mean(-1)).astype(np.float32)


def mesh_of(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return picture, vertices, faces and intrinsics."""
    return case.image, case.vertices, case.faces, case.intrinsics


def load_baseline(folder: Path) -> GlobalColors:
    """Return the perceptron on the global feature."""
    settings, state, _ = load_checkpoint(folder)
    network = GlobalColors(**settings)
    network.load_state_dict(state)
    return network.eval()


INSIDE_PX = 6
"""How far inside of a mesh's end a pixel surely shows skin."""


@dataclass(frozen=True)
class Canvas:
    """Where renderings are scored: the interpolation of a mesh at N pixels of skin, in a picture."""

    interpolation: sparse.csr_array
    pixels: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    image: np.ndarray

    def bound(self) -> np.ndarray:
        """The colors that render closest to the picture: linear least squares, clipped to [0, 1]."""
        solve = [
            lsqr(self.interpolation, self.pixels[:, c], iter_lim=300, atol=1e-8, btol=1e-8)[0]
            for c in range(3)
        ]
        return np.stack(solve, -1).clip(0, 1)

    def scores(self, colors: np.ndarray) -> dict[str, float]:
        """PSNR (dB) and SSIM on the skin, and over the picture with everything else copied.

        "inside" are pixels more than `INSIDE_PX` from where the mesh (or the skin, where it is known) ends:
        there a mesh that is some pixels off covers skin too. NaN where there is none.
        """
        picture = self.image.copy()
        picture[self.rows, self.columns] = self.interpolation @ colors
        error = np.square(picture - self.image).mean(-1)
        _, similarity = structural_similarity(self.image, picture, channel_axis=-1, data_range=1.0, full=True)
        skin = (self.rows, self.columns)
        covered = np.zeros(error.shape, dtype=bool)
        covered[skin] = True
        inside = error[distance_transform_edt(covered) > INSIDE_PX]
        return {
            "psnr": -10 * np.log10(max(error[skin].mean(), 1e-10)),
            "psnr_inside": -10 * np.log10(max(inside.mean(), 1e-10)) if len(inside) else np.nan,
            "ssim": similarity.mean(-1)[skin].mean(),
            "psnr_whole": -10 * np.log10(max(error.mean(), 1e-10)),
            "ssim_whole": similarity.mean(),
        }


def whole_picture(case: Case) -> Canvas | None:
    """Score in the picture itself, where the mesh covers pixels that show the hand."""
    mesh, camera = case.vertices.astype(np.float32), case.intrinsics.astype(np.float32)
    raster = skin_raster(mesh, case.faces, camera, case.image.shape[0])
    rows, columns = (raster.mask & case.mask).nonzero()
    if len(rows) < 50:
        return None
    corners = case.faces[raster.pix_to_face[rows, columns]]
    weights = raster.bary_coords[rows, columns].astype(np.float64)
    starts = np.arange(len(rows) + 1) * 3
    matrix = sparse.csr_array((weights.ravel(), corners.ravel(), starts), (len(rows), len(case.vertices)))
    image = case.image / 255
    return Canvas(matrix, image[rows, columns], rows, columns, image)


def crop_of_photo(case: Case) -> Canvas | None:
    """Score in a crop of 224 pixels about the hand, where the mesh covers it (objects are not known)."""
    view = case.view
    if view is None or not view.raster.mask.any():
        return None
    matrix, pixels = pixel_equations(view)
    rows, columns = view.raster.mask.nonzero()
    return Canvas(matrix, pixels, rows, columns, view.picture / 255)
