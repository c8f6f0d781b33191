"""A training run small enough for tests: drawn pictures, a random hand, a network of two layers.

As a program (`python tiny_run.py KIND FOLDER PROCESSES [DATA]`) it is what the tests kill and multiply.
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.distributions import Normal
from torch.utils.data import IterableDataset, get_worker_info

sys.path.append(str(Path(__file__).parents[1]))
from factories import random_hand

from amvur.data.samples import HandBatch
from amvur.hand.model import HandModel
from amvur.training.config import TrainingConfig
from amvur.training.loop import train
from amvur.training.run_options import Parts, RunOptions

PX, VERTICES = 16, 23
FOCAL = 40.0


class TinySource:
    """`SyntheticHands`' face; sample i depends on seed and i only."""

    def __init__(self, seed=0, px=PX, bad=None, ends=None, dies=None):
        self.seed, self.px, self.bad, self.ends, self.dies = seed, px, bad, ends, dies
        self.hand = HandModel(random_hand())

    def stream(self, start, count, batch_size):
        return TinyStream(self, start, batch_size)

    def identity(self):
        return {"seed": self.seed, "px": self.px}

    def batch(self, indices):
        if self.dies is not None and indices[-1] >= self.dies:
            raise RuntimeError("the renderer broke")
        rows = [self._sample(i) for i in indices]
        values = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        if self.bad is not None and self.bad in indices:
            values["betas"][list(indices).index(self.bad), 0] = float("nan")
        return HandBatch(**values)

    def _sample(self, index):
        g = torch.Generator().manual_seed(1000 * self.seed + index)
        orient, pose, betas = (torch.randn(n, generator=g) * 0.3 for n in (3, 45, 10))
        transl = torch.tensor([0.02, -0.01, 0.6]) + 0.02 * torch.randn(3, generator=g)
        mesh = self.hand(orient, pose, betas, transl)
        intrinsics = torch.tensor([[FOCAL, 0, self.px / 2 + 1.3], [0, FOCAL, self.px / 2 - 0.7], [0, 0, 1]])
        flat = mesh.joints @ intrinsics.T
        no = torch.zeros(VERTICES, dtype=torch.bool)
        color = torch.zeros(VERTICES, 3)
        return {
            "images": torch.randint(0, 256, (self.px, self.px, 3), generator=g, dtype=torch.uint8),
            "intrinsics": intrinsics,
            "vertices": mesh.vertices,
            "joints": mesh.joints,
            "joints_2d": flat[:, :2] / flat[:, 2:],
            "joint_states": torch.zeros(21, dtype=torch.int64),
            "global_orient": orient,
            "hand_pose": pose,
            "betas": betas,
            "transl": transl,
            "vertex_albedo": color,
            "vertex_colors": color,
            "visible_vertices": no,
            "unoccluded_vertices": no,
            "mask": torch.zeros(self.px, self.px, dtype=torch.bool),
            "is_left": torch.tensor(False),
            "occlusion": torch.tensor(0.0),
            "skin_tone": torch.tensor(0.5),
            "index": torch.tensor(index),
        }


class TinyStream(IterableDataset):
    def __init__(self, source, start, batch_size):
        self.source, self.start, self.batch_size = source, start, batch_size

    def __iter__(self):
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        while self.source.ends is None or self.start + number * self.batch_size < self.source.ends:
            first = self.start + number * self.batch_size
            yield self.source.batch(range(first, first + self.batch_size))
            number += count


@dataclass(frozen=True)
class TinyPrediction:
    joints: Normal


class TinyNetwork(nn.Module):
    """Pooled pixels to joints; with a batch norm and dropout where asked, since both keep a state."""

    def __init__(self, stateful=True):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8) if stateful else nn.Identity()
        self.drop = nn.Dropout(0.2 if stateful else 0.0)
        self.last = nn.Linear(8 * 49, 63)
        self.register_buffer("hand", torch.ones(4), persistent=False)

    def forward(self, images):
        loc = self.last(self.drop(self.norm(self.first(images)).relu().flatten(1))).unflatten(1, (21, 3))
        return TinyPrediction(Normal(loc, torch.ones_like(loc), validate_args=False))


def objective(prediction, targets, step, generator):
    """A squared error, with noise so that the generator matters."""
    noise = 0.01 * torch.randn(targets.joints.shape, generator=generator)
    error = (prediction.joints.loc - 10 * targets.joints - noise).square().mean()
    return error, {"squared": error}


def quiet_objective(prediction, targets, step, generator):
    error = (prediction.joints.loc - 10 * targets.joints).square().mean()
    return error, {"squared": error}


def parts(stateful=True, loss=objective, px=PX):
    torch.manual_seed(5)
    return Parts(TinyNetwork(stateful), {"kind": "tiny"}, px, HandModel(random_hand()), loss)


def config(**changes):
    values = {"steps": 6, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 2, "pool_size": 24}
    values |= {"pool_start": 8, "pool_per_step": 3, "log_every": 1, "evaluate_every": 3, "held_out": 8}
    return TrainingConfig(**(values | changes))


def go(folder, *, run=None, made=None, source=None, **changes):
    options = RunOptions(device="cpu", show_progress=False, **(run or {}))
    made, source = made or parts(), source or TinySource(0)
    return train(made, config(**changes), Path(folder), source, TinySource(9), options)


def killed_at(step, number_of_signal=signal.SIGKILL):
    """An objective that kills its own process, without any clean-up."""

    def loss(prediction, targets, number, generator):
        if number == step:
            os.kill(os.getpid(), number_of_signal)
        return objective(prediction, targets, number, generator)

    return loss


def interrupted_at(step):
    """An objective during which Ctrl-C is pressed."""
    return killed_at(step, signal.SIGINT)


def weights(folder):
    return torch.load(Path(folder) / "state.pt", weights_only=True)


def main(kind, folder, processes, data=None):
    torch.set_num_threads(1)
    source = None
    if data is not None:
        from tiny_photos import mixture_of

        source = mixture_of(Path(data))
    if kind == "killed":
        go(folder, made=parts(loss=killed_at(3)), source=source, save_every_s=0.0)
    run = {"augment": None, "devices": int(processes)}
    go(folder, made=parts(False, quiet_objective), run=run, steps=4)


if __name__ == "__main__":
    main(*sys.argv[1:])
