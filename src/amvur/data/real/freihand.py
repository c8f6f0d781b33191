"""FreiHAND v2 (Zimmermann et al. 2019): its lists of annotations and its pictures, in our conventions.

Facts: axes are OpenCV's, metres, and the joints' order is ours; every hand is a right one. Training has
every hand four times, with other backgrounds and colors: picture i belongs to entry i mod N. MANO's pose
is relative to the file's mean pose.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from amvur.data.real.checks import (
    box_of_joints,
    check_camera,
    check_in_picture,
    check_mesh,
    check_place,
    project,
)
from amvur.data.real.layouts import FREIHAND, list_folder, require
from amvur.data.real.number_lists import NumberLists, read_numbers, sha256_of
from amvur.data.real.samples import HandSample
from amvur.errors import InputError

COLOR_VERSIONS: tuple[str, ...] = ("gs", "hom", "sample", "auto")
"""Green screen, and three ways to replace background and colors; in this order in training."""
SIZE_PX = 224
CENTRAL_BOX_PX = 150.0
"""Side of the hand's box where no joints are released: pictures are cut around their hands."""

_SHAPES = {"K": (3, 3), "xyz": (21, 3), "verts": (778, 3), "mano": (61,)}
_NEEDED = {"training": ("K", "xyz"), "evaluation": ("K",)}


class FreiHand:
    """One split of FreiHAND; lists stay on disk, a sample is read when it is asked for."""

    name = "FreiHAND"
    protocol = "freihand"

    def __init__(self, folder: Path, split: str) -> None:
        """Open `training` or `evaluation` of the folder FreiHAND_pub_v2.

        Raises `InputError` with the layout and the first thing missing, for lists that cannot be read or
        whose lengths disagree, and for missing pictures.
        """
        self.folder, self.split = folder, split
        require(folder, (f"{split}_{name}.json" for name in _NEEDED[split]), FREIHAND)
        require(folder, (f"{split}/rgb",), FREIHAND)
        self._lists = {
            name: NumberLists(path, shape)
            for name, shape in _SHAPES.items()
            if (path := self._path(name)).exists()
        }
        scale = self._path("scale")
        self._bones = read_numbers(scale) if scale.exists() else None
        self._entries = len(self._lists["K"])
        self._check_lengths()
        self._check_pictures()
        self._masks = {name for name in self._listed("mask")} if split == "training" else set[str]()

    def __len__(self) -> int:
        """Return the number of pictures: four for every entry in training."""
        return self._entries * (len(COLOR_VERSIONS) if self.split == "training" else 1)

    def __getitem__(self, index: int) -> HandSample:
        """Return picture `index`; raises `InputError` that names the file with bad labels.

        Where joints are withheld the box is the middle of the picture.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        entry, name = index % self._entries, f"{index:08d}.jpg"
        picture, where = f"{self.split}/rgb/{name}", f"{self._path('xyz')}, entry {entry}"
        intrinsics, joints, vertices = (self._row(what, entry) for what in ("K", "xyz", "verts"))
        assert intrinsics is not None
        check_camera(intrinsics, f"{self._path('K')}, entry {entry}")
        joints_2d = None if joints is None else _checked_2d(joints, intrinsics, where, picture)
        if joints is not None and vertices is not None:
            check_mesh(joints, vertices, f"{where}, and {self._path('verts').name}")
        return HandSample(
            key=f"{index:08d}",
            image_path=self.folder / picture,
            side="right",
            box_xyxy_px=_central_box() if joints_2d is None else box_of_joints(joints_2d),
            intrinsics=intrinsics,
            joints=joints,
            vertices=vertices,
            joints_2d=joints_2d,
            joint_confidence=None if joints is None else np.ones(21),
            bone_length=None if self._bones is None else float(self._bones[entry]),
            mask_path=self._mask(f"{entry:08d}.jpg"),
            **self._mano(entry),
        )

    def group(self, index: int) -> str:
        """Return what pictures of the same hand have in common: in training there are four of each."""
        return str(index % self._entries)

    def identity(self) -> dict[str, Any]:
        """Return hashes of the lists (pictures are not hashed) and where the boxes come from."""
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, Any]:
        names = [*self._lists, *(["scale"] if self._bones is not None else [])]
        return {
            "set": self.name,
            "split": self.split,
            "samples": len(self),
            "boxes": "labels" if "xyz" in self._lists else "central",
            "sha256": {name: sha256_of(self._path(name)) for name in names},
        }

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.split}_{name}.json"

    def _row(self, name: str, entry: int) -> np.ndarray | None:
        return self._lists[name][entry] if name in self._lists else None

    def _mano(self, entry: int) -> dict[str, Any]:
        """Return pose and shape; the place (joint 9 on its own camera ray) needs a hand model."""
        theta = self._row("mano", entry)
        if theta is None:
            return {}
        return {"global_orient": theta[:3], "hand_pose": theta[3:48], "betas": theta[48:58]}

    def _mask(self, name: str) -> Path | None:
        return self.folder / self.split / "mask" / name if name in self._masks else None

    def _listed(self, kind: str) -> frozenset[str]:
        folder = self.folder / self.split / kind
        return list_folder(folder, FREIHAND) if folder.exists() else frozenset()

    def _check_lengths(self) -> None:
        """Raise `InputError` for lists of different lengths: nobody knows which entry is whose."""
        lengths = {self._path(name).name: len(rows) for name, rows in self._lists.items()}
        if self._bones is not None:
            lengths[self._path("scale").name] = len(self._bones)
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise InputError(
                f"The lists in {self.folder} have different numbers of entries ({told}), so that they are "
                "not of the same release or one was changed. Unpack them again from one archive."
            )

    def _check_pictures(self) -> None:
        """Raise `InputError` that names the first missing picture."""
        there = self._listed("rgb")
        missing = [i for i in range(len(self)) if f"{i:08d}.jpg" not in there]
        if missing:
            raise InputError(
                f"{self.folder / self.split / 'rgb'} lacks {len(missing):,} of {len(self):,} pictures, first "
                f"{missing[0]:08d}.jpg ({self._entries:,} entries in the lists). Unpack the archive again; "
                "expected is",
                *FREIHAND.splitlines(),
            )


def _checked_2d(
    joints: Float[np.ndarray, "21 3"], intrinsics: Float[np.ndarray, "3 3"], where: str, picture: str
) -> Float[np.ndarray, "21 2"]:
    """Return the joints in the picture; raises `InputError` for what cannot be right."""
    check_place(joints, where, "OpenCV's (z forward)")
    joints_2d = project(joints, intrinsics)
    check_in_picture(joints_2d, SIZE_PX, SIZE_PX, where, picture)
    return joints_2d


def _central_box() -> Float[np.ndarray, "4"]:
    low, high = (SIZE_PX - CENTRAL_BOX_PX) / 2, (SIZE_PX + CENTRAL_BOX_PX) / 2
    return np.array([low, low, high, high])
