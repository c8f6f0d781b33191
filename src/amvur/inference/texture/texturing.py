"""Which way a hand gets its texture: sampled or regressed, with or without a texture picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from numpy.typing import NDArray

from amvur.errors import InputError, ModelFileError
from amvur.hand.loading import OPEN_HAND
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.texture_coordinates import TextureCoordinates, load_texture_coordinates
from amvur.inference.silhouette.segmentation import HandLook, Segmentation
from amvur.inference.texture.atlas import bake
from amvur.inference.texture.regression import Texture, TextureRegressor, default_texture, load_regressor
from amvur.inference.texture.sampling import sample_vertex_colors
from amvur.structures import RgbImage, UvTexture

_MIN_UV_PX, _MAX_UV_PX = 16, 8192


@dataclass(frozen=True)
class Texturing:
    """Photograph and mesh of a right hand → texture; `regressor` None samples, an `atlas` asks for a
    picture."""

    regressor: TextureRegressor | None
    atlas: TextureCoordinates | None = None
    uv_px: int = 0

    def close(self) -> None:
        """Free the texture head's networks."""
        if self.regressor is not None:
            self.regressor.close()

    def __call__(
        self,
        image: RgbImage,
        vertices: Float[NDArray[Any], "V 3"],
        faces: Int[NDArray[Any], "F 3"],
        intrinsics: Float[NDArray[Any], "3 3"],
        before: HandLook | None = None,
    ) -> tuple[Texture, UvTexture | None]:
        """Return a hand's texture; arguments as of `TextureRegressor`."""
        if self.regressor is None:
            texture = Texture(*sample_vertex_colors(image, vertices, faces, intrinsics))
        else:
            texture = self.regressor(image, vertices, faces, intrinsics, before)
        if self.atlas is None:
            return texture, None
        return texture, bake(image, vertices, faces, intrinsics, texture, self.atlas, self.uv_px)


def make_texturing(
    choice: str | Path,
    arrays: HandModelArrays,
    uv_px: int | None = None,
    segmentation: Segmentation | None = None,
    device: str = "cpu",
) -> Texturing:
    """Return the texturing behind "auto", "sampled", "regressed" or the folder of a texture head.

    A head reads the maps of `segmentation` (None: the shipped one).

    "auto" is regressed for the open hand if the package has a texture head, else sampled. Raises `InputError`
    for a texture picture of a wrong size or of a hand model without an atlas, and `ModelFileError` where a
    head is not there or cannot be used.
    """
    atlas = None
    if uv_px is not None:
        if not _MIN_UV_PX <= uv_px <= _MAX_UV_PX:
            raise InputError(
                f"A texture picture must have {_MIN_UV_PX} to {_MAX_UV_PX} pixels a side, found {uv_px}."
            )
        atlas = load_texture_coordinates(arrays.name)
    return Texturing(_regressor(choice, arrays, segmentation, device), atlas, uv_px or 0)


def _regressor(
    choice: str | Path, arrays: HandModelArrays, segmentation: Segmentation | None, device: str
) -> TextureRegressor | None:
    """Return the texture head of a choice, None for sampling."""
    if choice not in ("auto", "sampled", "regressed"):
        return load_regressor(Path(choice), arrays, segmentation, device)
    shipped = default_texture()
    if choice == "sampled" or (choice == "auto" and (shipped is None or arrays.name != OPEN_HAND)):
        return None
    if shipped is None:
        raise ModelFileError(
            "This installation has no texture head, which texture 'regressed' needs. Reinstall amvur, or use "
            "texture 'sampled'."
        )
    return load_regressor(shipped, arrays, segmentation, device)
