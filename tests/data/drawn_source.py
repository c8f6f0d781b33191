"""A source of samples that costs nothing: noise for pictures, the seed and the index decide everything."""

import time

import numpy as np
import torch

from amvur.data.samples import HandBatch, concatenate
from amvur.errors import InputError

KINDS = ("library", "prior")


class DrawnSource:
    """Stands in for `SyntheticHands`: pictures of `size` px, meshes of 30 vertices."""

    def __init__(self, seed=0, size=32, pause_s=0.0):
        self.seed, self.size, self.pause_s = seed, size, pause_s

    def identity(self):
        return {"amvur": "test", "seed": self.seed, "size_px": self.size, "hand_model_sha256": "0" * 64}

    def named_samples(self, positions):
        if self.pause_s:
            time.sleep(self.pause_s)
        if not len(positions):
            raise InputError("no positions")
        kinds = tuple(KINDS[position % 2] for position in positions)
        return concatenate([drawn_sample(self.seed, position, self.size) for position in positions]), kinds


def drawn_sample(seed, index, size):
    rng = np.random.default_rng([seed, index])

    def number(*shape):
        return torch.from_numpy(rng.normal(size=(1, *shape)).astype(np.float32))

    def flag(*shape):
        return torch.from_numpy(rng.random((1, *shape)) < 0.5)

    def unit(*shape):
        return torch.from_numpy(rng.random((1, *shape), dtype=np.float32))

    return HandBatch(
        images=torch.from_numpy(rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8)),
        intrinsics=number(3, 3),
        vertices=number(30, 3),
        joints=number(21, 3),
        joints_2d=number(21, 2),
        joint_states=torch.from_numpy(rng.integers(0, 4, (1, 21))),
        global_orient=number(3),
        hand_pose=number(45),
        betas=number(10),
        transl=number(3),
        vertex_albedo=unit(30, 3),
        vertex_colors=unit(30, 3),
        visible_vertices=flag(30),
        unoccluded_vertices=flag(30),
        mask=flag(size, size),
        is_left=flag(),
        occlusion=unit(),
        skin_tone=unit(),
        index=torch.tensor([index]),
    )
