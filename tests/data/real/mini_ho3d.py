"""HO3D v2 and v3 in miniature: the files and their format, with a few made-up hands."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

sys.path.append(str(Path(__file__).parent))
from mini_hands import GL, HO3D_ORDER, HO3D_SETTINGS, mini_hands, write_picture

from amvur.hand.mano import load_mano
from amvur.hand.model import HandModel

K = np.array([[615.0, 0, 316], [0, 614, 241], [0, 0, 1]])


def write_ho3d(folder, mano, version="v2", training=3, evaluation=3, truth=True, protocol=2, seed=0):
    """Write both splits (0: leave one out) and return their hands: (training, evaluation), as listed."""
    hands = mini_hands(mano, training + evaluation, HO3D_SETTINGS, regressed=False, seed=seed)
    parts = {"train": hands[:training], "evaluation": hands[training:]}
    suffix = "png" if version == "v2" else "jpg"
    if version == "v3":
        (folder / "calibration" / "ABF1" / "calibration").mkdir(parents=True)
        (folder / "manual_annotations").mkdir()
    model = HandModel(load_mano(mano, "right", HO3D_SETTINGS), torch.float64)
    for split, part in parts.items():
        if not part:
            continue
        names = frame_names(len(part))
        for i, (name, hand) in enumerate(zip(names, part, strict=True)):
            sequence, number = name.split("/")
            place = folder / split / sequence
            write_picture(place / "rgb" / f"{number}.{suffix}", 640, 480, i)
            content = meta_of(hand, model, split == "train", version)
            write_meta(place / "meta" / f"{number}.pkl", content, protocol)
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    if truth and evaluation:
        rows = {
            "xyz": [(h.joints * GL)[HO3D_ORDER].tolist() for h in parts["evaluation"]],
            "verts": [(h.vertices * GL).tolist() for h in parts["evaluation"]],
        }
        for name, values in rows.items():
            (folder / f"evaluation_{name}.json").write_text(json.dumps(values))
    return parts["train"], parts["evaluation"]


def frame_names(count):
    """Two sequences whose list is in another order than the folder's."""
    return [f"{'SM1' if i % 2 else 'ABF10'}/{10 * (count - i):04d}" for i in range(count)]


def meta_of(hand, model, training, version="v2"):
    """A frame's metadata in OpenGL's frame: the wrist of the rest pose is what MANO turns about."""
    joints = (hand.joints * GL)[HO3D_ORDER]
    meta = {
        "camMat": K,
        "handJoints3D": joints if training else joints[0],
        "objTrans": np.array([0.1, 0, -0.6], np.float32),
        "objRot": np.zeros((3, 1)),
        "objName": "021_bleach_cleanser",
        "objLabel": 12,
        "objCorners3D": np.zeros((8, 3)),
        "objCorners3DRest": np.zeros((8, 3)),
        "camIDList": ["0", "1"],
    }
    if not training:
        return meta | {"handBoundingBox": [int(v) for v in box_of(hand)]}
    rest = model.shape(torch.as_tensor(hand.betas))[1][0].numpy()
    turn = Rotation.from_matrix(np.diag(GL) @ Rotation.from_rotvec(hand.orient).as_matrix())
    meta |= {
        "handPose": np.concatenate([turn.as_rotvec(), hand.pose]),
        "handBeta": hand.betas,
        "handTrans": joints[0] - rest,
    }
    return meta | ({"handVertContact": np.zeros(778, bool)} if version == "v3" else {})


def box_of(hand):
    flat = hand.joints @ K.T
    flat = flat[:, :2] / flat[:, 2:]
    return [*(flat.min(0) - 10), *(flat.max(0) + 10)]


def write_meta(path, content, protocol=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
