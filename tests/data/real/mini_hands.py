"""Made-up hands before a camera, posed by a made-up MANO: what miniature data sets are written from."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

sys.path.append(str(Path(__file__).parents[2] / "hand"))
from mano_file import mano_arrays

from amvur.hand.mano import ManoSettings, load_mano
from amvur.hand.model import HandModel

GL = np.array([1.0, -1.0, -1.0])
HO3D_ORDER = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]  # formats.md §0


@dataclass(frozen=True)
class MiniHand:
    """One hand in OpenCV's frame (m, our order) and the parameters that pose it there."""

    orient: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    joints: np.ndarray
    vertices: np.ndarray


def write_mano(path, seed=0):
    """Write a made-up right MANO as an .npz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **mano_arrays(seed))
    return path


def mini_hands(mano, count, settings, *, regressed, seed=0):
    """Pose `count` hands before the camera; joints from the posed mesh (FreiHAND) or the chain (HO3D)."""
    rng = np.random.default_rng(seed)
    model = HandModel(load_mano(mano, "right", settings), torch.float64)
    hands = []
    for _ in range(count):
        orient = Rotation.random(random_state=int(rng.integers(1 << 30))).as_rotvec()
        pose, betas = 0.2 * rng.normal(size=45), rng.normal(size=10)
        place = np.array([0.02, -0.01, 0.6]) + 0.02 * rng.normal(size=3)
        values = [torch.as_tensor(v) for v in (orient, pose, betas)]
        transl = place - model(*values).joints[0].numpy()
        mesh = model(*values, torch.as_tensor(transl))
        joints = model.regress_joints(mesh.vertices) if regressed else mesh.joints
        hands.append(MiniHand(orient, pose, betas, transl, joints.numpy(), mesh.vertices.numpy()))
    return hands


def write_picture(path, width, height, seed=0):
    """Blocks of random colors: quickly written, small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (height // 32, width // 32, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)
    image.save(path, **({"compress_level": 1} if path.suffix == ".png" else {}))


FREIHAND_SETTINGS = ManoSettings(flat_hand_mean=False, tips="freihand")
HO3D_SETTINGS = ManoSettings(flat_hand_mean=True, tips="ho3d")
