"""FreiHAND v2 in miniature: the files and their format, with a few made-up hands."""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).parent))
from mini_hands import FREIHAND_SETTINGS, mini_hands, write_picture

K = np.array([[480.0, 0, 112], [0, 481, 110], [0, 0, 1]])


def write_freihand(folder, mano, training=3, evaluation=3, truth=True, seed=0):
    """Write both splits (0: leave one out) and return their hands: (training, evaluation)."""
    hands = mini_hands(mano, training + evaluation, FREIHAND_SETTINGS, regressed=True, seed=seed)
    parts = {"training": hands[:training], "evaluation": hands[training:]}
    for split, part in parts.items():
        if part:
            _write_lists(folder, split, part, split == "training", truth)
            for i in range(len(part) * (4 if split == "training" else 1)):
                write_picture(folder / split / "rgb" / f"{i:08d}.jpg", 224, 224, i)
    for i in range(training):
        mask = np.zeros((224, 224), np.uint8)
        mask[60 + i : 160, 60:150] = 255
        (folder / "training" / "mask").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / "training" / "mask" / f"{i:08d}.jpg")
    return parts["training"], parts["evaluation"]


def _write_lists(folder, split, hands, training, truth):
    folder.mkdir(parents=True, exist_ok=True)
    lists = {
        "K": [K.tolist() for _ in hands],
        "scale": [float(np.linalg.norm(h.joints[9] - h.joints[10])) for h in hands],
    }
    if training or truth:
        lists |= {"xyz": [h.joints.tolist() for h in hands], "verts": [h.vertices.tolist() for h in hands]}
    if training:
        lists["mano"] = [[theta_of(h).tolist()] for h in hands]
    for name, rows in lists.items():
        (folder / f"{split}_{name}.json").write_text(json.dumps(rows))


def theta_of(hand):
    """MANO's 61 numbers: pose 48, shape 10, the root (joint 9) in the picture, and its scale."""
    u, v, z = K @ hand.joints[9]
    focal = (K[0, 0] + K[1, 1]) / 2
    return np.concatenate([hand.orient, hand.pose, hand.betas, [u / z, v / z, focal / z]])
