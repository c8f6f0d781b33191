"""MANO (Romero, Tzionas, Black 2017) as a plug-in: reads the file that the user has, ships nothing of it.

Facts of the format: the key table in `_SHAPES`. Two definitions of its joints are in use: HO3D, manopth
and smplx take the posed chain's (`HandModel.forward(...).joints`), FreiHAND the regressor's over the posed
mesh (`HandModel.regress_joints`); the two agree at the rest pose only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Float64
from scipy import sparse

from amvur.errors import ModelFileError
from amvur.hand.anatomy import anatomical_axes, anatomical_limits, palm_normal, rest_angles
from amvur.hand.joints import BONE_JOINTS, BONE_PARENTS, TIP_JOINTS
from amvur.hand.model_arrays import HandModelArrays
from amvur.hand.safe_pickle import MANO_ALLOWED, load_pickle
from amvur.reading import brief, open_regular, read_npz, reading
from amvur.structures import Side

if TYPE_CHECKING:
    from torch import Tensor

Tips = Literal["freihand", "ho3d", "manopth", "smplx"]

TIP_VERTICES: Mapping[Tips, tuple[int, int, int, int, int]] = {
    "freihand": (744, 320, 443, 555, 672),
    "ho3d": (744, 333, 444, 555, 672),
    "manopth": (745, 317, 444, 556, 673),
    "smplx": (744, 320, 443, 554, 671),
}
"""The vertices that each source calls the tips of thumb, index, middle, ring and little finger."""

_MANOPTH_LEFT_MIDDLE_TIP = 445

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "v_template": (778, 3),
    "shapedirs": (778, 3, 10),
    "posedirs": (778, 3, 135),
    "J_regressor": (16, 778),
    "weights": (778, 16),
    "f": (1538, 3),
    "kintree_table": (2, 16),
    "hands_components": (45, 45),
    "hands_mean": (45,),
}
_BODY_MODELS = {6890: "a SMPL or SMPL-H body", 10475: "an SMPL-X body", 5023: "a FLAME head"}
_REMEDY = (
    "Give MANO_RIGHT.pkl or MANO_LEFT.pkl as its authors distribute it (mano.is.tue.mpg.de), "
    "or use the open hand."
)


@dataclass(frozen=True)
class ManoSettings:
    """What differs between users of MANO.

    With `flat_hand_mean` a pose of zeros is the flat template, without it the file's mean pose is added
    to every pose. `tips` names the table of fingertip vertices. `fix_left_shapedirs` negates x of the left
    hand's shape directions, which the distributed MANO_LEFT.pkl has with the wrong sign (its betas widen
    the hand where they should narrow it), as HO3D's set-up does; turn it off for a file mended already.
    """

    flat_hand_mean: bool = False
    tips: Tips = "freihand"
    fix_left_shapedirs: bool = True


FREIHAND_MANO = ManoSettings(flat_hand_mean=False, tips="freihand")
"""FreiHAND; its 21 joints are `HandModel.regress_joints` of the posed mesh."""
HO3D_MANO = ManoSettings(flat_hand_mean=True, tips="ho3d")
"""HO3D v2 and v3; their joints are those of `HandModel.forward`."""
MANOPTH_MANO = ManoSettings(flat_hand_mean=True, tips="manopth")
"""manopth's defaults (metres here, millimetres there)."""
SMPLX_MANO = ManoSettings(flat_hand_mean=False, tips="smplx")
"""smplx's defaults and its `vertex_ids`."""


@dataclass(frozen=True)
class ManoPca:
    """The file's principal components of pose (rows, rad, the first explain most) and its mean pose."""

    components: Float64[np.ndarray, "45 45"]
    mean: Float64[np.ndarray, "45"]

    def axis_angle(self, coefficients: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch 45"]:
        """Turn the first n ≤ 45 coefficients into a `hand_pose` (rad); the model adds the mean itself."""
        return coefficients @ coefficients.new_tensor(self.components[: coefficients.shape[-1]])


def load_mano(
    path: str | Path, side: Side | None = None, settings: ManoSettings = FREIHAND_MANO
) -> HandModelArrays:
    """Return MANO's arrays from MANO_RIGHT.pkl, MANO_LEFT.pkl or an .npz with the same keys.

    Without `side`, the file's name (LEFT or RIGHT) says which hand it is, else the direction in which its
    mean pose curls the fingers. Nothing in the pickle is run; files have at most 64 MB, and what is made of
    them 256 MB. Raises `ModelFileError` if the file is missing, unsafe, damaged or not MANO's.
    """
    path = Path(path)
    raw = _read(path)
    side = side or _side_of_name(path) or _side_of_shape(raw, path)
    shapedirs = raw["shapedirs"]
    if side == "left" and settings.fix_left_shapedirs:
        shapedirs = shapedirs * np.array([-1.0, 1.0, 1.0])[:, None]
    with reading(path, "a file", _REMEDY, ModelFileError), open_regular(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    tips = tip_vertices(settings.tips, side)
    regressor = _regressor_of_21(raw["J_regressor"], tips)
    joint_template = regressor @ raw["v_template"]
    rest = rest_angles(joint_template, side)
    return HandModelArrays(
        name=path.name,
        side=side,
        v_template=raw["v_template"],
        faces=raw["f"].astype(np.int64),
        shapedirs=shapedirs,
        posedirs=raw["posedirs"],
        lbs_weights=raw["weights"],
        joint_template=joint_template,
        joint_shapedirs=np.einsum("jv,vcd->jcd", regressor, shapedirs),
        joint_regressor=regressor,
        tip_vertices=np.array(tips, dtype=np.int64)[:, None],
        parents=BONE_PARENTS,
        pose_axes=anatomical_axes(joint_template, side),
        pose_limits=anatomical_limits(rest),
        rest_angles=rest,
        pose_mean=np.zeros(45) if settings.flat_hand_mean else raw["hands_mean"],
        sha256=digest,
    )


def load_mano_pca(path: str | Path) -> ManoPca:
    """Return the principal components of pose in a MANO file: see `load_mano`."""
    raw = _read(Path(path))
    return ManoPca(components=raw["hands_components"], mean=raw["hands_mean"])


def convert_mano(source: str | Path, target: str | Path) -> None:
    """Write the arrays of a MANO file as an .npz, which `load_mano` reads without any unpickling.

    The arrays stay under MANO's licence. Keep LEFT or RIGHT in the name.
    """
    arrays: dict[str, Any] = dict(_read(Path(source)))
    np.savez_compressed(target, **arrays)


def tip_vertices(tips: Tips, side: Side) -> tuple[int, int, int, int, int]:
    """Return a source's fingertip vertices, thumb to little; manopth's differ in the left middle one."""
    if tips not in TIP_VERTICES:
        raise ModelFileError(f"Fingertips '{tips}' are unknown. Choose one of {', '.join(TIP_VERTICES)}.")
    thumb, index, middle, ring, little = TIP_VERTICES[tips]
    if tips == "manopth" and side == "left":
        middle = _MANOPTH_LEFT_MIDDLE_TIP
    return thumb, index, middle, ring, little


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the file's arrays, of the shapes in `_SHAPES`, finite, in float64 or int64."""
    content: object
    if path.suffix.lower() == ".npz":
        with reading(path, "an .npz of plain arrays", _REMEDY, ModelFileError):
            content = read_npz(path, names=_SHAPES)
    else:
        content = load_pickle(path, MANO_ALLOWED, remedy=_REMEDY)
    if not isinstance(content, dict):
        raise ModelFileError(f"{path} holds a {type(content).__name__}, not MANO's dictionary. {_REMEDY}")
    arrays = {key: _checked(content, key, path) for key in _SHAPES}
    parents = tuple(arrays["kintree_table"][0, 1:].tolist())
    if parents != BONE_PARENTS[1:]:
        raise ModelFileError(f"{path} has another skeleton than MANO's: parents {parents}. {_REMEDY}")
    if arrays["f"].min() < 0 or arrays["f"].max() >= 778:
        raise ModelFileError(f"{path} is damaged: its faces name vertices beyond 778. {_REMEDY}")
    return arrays


def _checked(content: Mapping[str, object], key: str, path: Path) -> np.ndarray:
    """Return entry `key` as an array of the right shape and kind; `ModelFileError` otherwise."""
    template = content.get("v_template")
    if isinstance(template, np.ndarray) and template.shape[:1] != (778,):
        found = _BODY_MODELS.get(len(template) if template.ndim else 0, "another model")
        raise ModelFileError(
            f"{path} is {found} ({brief(template.shape)} vertices), not MANO (778, 3). {_REMEDY}"
        )
    if key not in content:
        raise ModelFileError(
            f"{path} lacks MANO's '{key}'; it has {sorted(str(name)[:40] for name in content)[:40]}. "
            f"{_REMEDY}"
        )
    value = content[key]
    shape = getattr(value, "shape", None)
    if shape != _SHAPES[key]:
        raise ModelFileError(f"{path}: '{key}' should be {_SHAPES[key]}, found {brief(shape)}. {_REMEDY}")
    array = value.toarray() if isinstance(value, sparse.csc_matrix) else np.asarray(value)
    if key in ("f", "kintree_table"):
        if array.dtype.kind not in "iu":
            raise ModelFileError(f"{path}: '{key}' should hold integers, found {array.dtype}. {_REMEDY}")
        return array.astype(np.int64)
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ModelFileError(f"{path}: '{key}' should hold finite numbers. {_REMEDY}")
    return array.astype(np.float64)


def _regressor_of_21(
    regressor: Float64[np.ndarray, "16 V"], tips: tuple[int, ...]
) -> Float64[np.ndarray, "21 V"]:
    """Return the regressor in our joint order, with one vertex for each tip."""
    result = np.zeros((21, regressor.shape[1]))
    result[list(BONE_JOINTS)] = regressor
    result[list(TIP_JOINTS), list(tips)] = 1.0
    return result


def _side_of_name(path: Path) -> Side | None:
    """Return the side that the file's name states, None if it states none or both."""
    left, right = ("LEFT" in path.name.upper()), ("RIGHT" in path.name.upper())
    if left == right:
        return None
    return "left" if left else "right"


def _side_of_shape(raw: Mapping[str, np.ndarray], path: Path) -> Side:
    """Return the side for which the mean pose curls the fingers towards the palm."""
    joints = _regressor_of_21(raw["J_regressor"], TIP_VERTICES["freihand"]) @ raw["v_template"]
    bones = list(BONE_JOINTS[1:13])  # four fingers: the thumb does not curl towards the palm's plane
    along = joints[[joint + 1 for joint in bones]] - joints[bones]
    turns = raw["hands_mean"].reshape(15, 3)[:12]
    curl = float(np.sum(np.cross(turns, along) @ palm_normal(joints, "right")))
    if abs(curl) < 1e-6:
        raise ModelFileError(f"Cannot tell whether {path} is a left or a right hand. Name the side.")
    return "right" if curl > 0 else "left"
