"""Made-up files in MANO's format: right shapes and classes, numbers of our own."""

import pickle
import sys
import types

import numpy as np
from factories import rest_joints
from scipy import sparse

TIPS = {
    "freihand": (744, 320, 443, 555, 672),
    "ho3d": (744, 333, 444, 555, 672),
    "manopth": (745, 317, 444, 556, 673),
    "smplx": (744, 320, 443, 554, 671),
}
OPENPOSE_FROM_MANO_AND_TIPS = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
PARENTS = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
MANO_JOINTS = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3]
FLIP = np.array([-1.0, 1.0, 1.0])


def stand_in_chumpy(monkeypatch):
    """Put classes named as chumpy's into `sys.modules`; return (Ch, Select)."""
    ch, reordering = types.ModuleType("chumpy.ch"), types.ModuleType("chumpy.reordering")
    ch.Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    reordering.Select = type("Select", (ch.Ch,), {"__module__": "chumpy.reordering"})
    package = types.ModuleType("chumpy")
    for name, module in (("chumpy", package), ("chumpy.ch", ch), ("chumpy.reordering", reordering)):
        monkeypatch.setitem(sys.modules, name, module)
    return ch.Ch, reordering.Select


def mano_arrays(seed=0):
    """The plain arrays of a made-up right hand: joints as `rest_joints`, all else random."""
    rng = np.random.default_rng(seed)
    tips = sorted({vertex for table in TIPS.values() for vertex in (*table, 445)})
    others = rng.permutation(np.setdiff1d(np.arange(778), tips))
    joints = rest_joints() + rng.normal(size=(21, 3)) * 0.002
    vertices = rng.normal(size=(778, 3)) * 0.05
    regressor = np.zeros((16, 778))
    for bone, joint in enumerate(MANO_JOINTS):
        group = others[40 * bone : 40 * bone + 40]
        weights = rng.uniform(size=40)
        regressor[bone, group] = weights / weights.sum()
        cloud = rng.normal(size=(40, 3)) * 0.01
        vertices[group] = joints[joint] + cloud - regressor[bone, group] @ cloud
    for table in TIPS.values():
        vertices[list(table)] = joints[[4, 8, 12, 16, 20]] + rng.normal(size=(5, 3)) * 0.001
    weights = rng.uniform(size=(778, 16)) ** 6
    components, _ = np.linalg.qr(rng.normal(size=(45, 45)))
    # The palm faces +z here and fingers point to −y: turning about −x curls them.
    mean = rng.normal(size=(15, 3)) * 0.05 - [0.4, 0, 0]
    return {
        "v_template": vertices,
        "shapedirs": rng.normal(size=(778, 3, 10)) * 0.003,
        "posedirs": rng.normal(size=(778, 3, 135)) * 0.001,
        "J_regressor": regressor,
        "weights": weights / weights.sum(1, keepdims=True),
        "f": rng.integers(0, 778, (1538, 3)).astype(np.uint32),
        "kintree_table": np.array([[4294967295, *PARENTS[1:]], np.arange(16)], dtype=np.uint32),
        "hands_components": components,
        "hands_mean": mean.ravel(),
        "hands_coeffs": rng.normal(size=(20, 45)),
        "J": regressor @ vertices,
        "bs_type": "lrotmin",
        "bs_style": "lbs",
    }


def mirrored(arrays, defect=True):
    """The left hand's arrays; with the distributed file's defect its shapedirs keep the right one's x."""
    sign = np.tile(np.outer(FLIP, FLIP).ravel(), 15)
    return {
        **arrays,
        "v_template": arrays["v_template"] * FLIP,
        "shapedirs": arrays["shapedirs"] * (1 if defect else FLIP[:, None]),
        "posedirs": arrays["posedirs"] * FLIP[:, None] * sign,
        "f": arrays["f"][:, ::-1].copy(),
        "hands_components": arrays["hands_components"] * np.tile(-FLIP, 15),
        "hands_mean": arrays["hands_mean"] * np.tile(-FLIP, 15),
        "J": arrays["J"] * FLIP,
    }


def pickled(arrays, chumpy, protocol=2):
    """The bytes of a file with MANO's classes: shapedirs selected out of 20 directions, sparse regressor."""
    ch_class, select_class = chumpy
    content = dict(arrays)
    if "shapedirs" in arrays:
        directions = arrays["shapedirs"]
        wide = np.concatenate([directions, np.ones_like(directions)], -1)
        ch, select = ch_class(), select_class()
        ch.__dict__ = {"x": wide, "_dirty_vars": set(), "_itr": None}
        indices = np.arange(wide.size).reshape(wide.shape)[..., :10].ravel()
        select.__dict__ = {"a": ch, "idxs": indices, "preferred_shape": directions.shape}
        content["shapedirs"] = select
    if "J_regressor" in arrays:
        content["J_regressor"] = sparse.csc_matrix(arrays["J_regressor"])
    return pickle.dumps(content, protocol)
