"""`synth-v1`: 2,000 synthetic pictures in equal strata of occlusion, skin tone and side; never trained on.

Which samples belong to it is stored (`assets/synth_v1.json`), not found again: a borderline occlusion that
rounds differently on another machine cannot exchange a sample. Whole numbers are verified by a hash, and
what was rendered by comparison with stored numbers, within a tolerance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from amvur.data.samples import HandBatch, concatenate
from amvur.data.synthetic.generator import RESERVED_SEEDS, SyntheticHands
from amvur.data.synthetic.scene import SceneConfig
from amvur.data.synthetic.shard_reader import check_shards, read_manifest, read_shards
from amvur.errors import InputError

NAME, COUNT = "synth-v1", 2000
HAND = "open-v1"
"""The hand that the set was made with: another one would give other pictures."""
OCCLUSION_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8)
TONE_EDGES = (1 / 3, 2 / 3)
TONES = ("light", "medium", "dark")
FIRST_INDEX = 1_000_000
"""Candidates of occlusion bin b are FIRST_INDEX · b, FIRST_INDEX · b + 1, ..."""
EDGE_MARGIN = 0.004
"""Samples nearer to the edge of a stratum were not chosen: rounding must not move them."""
TOLERANCE_PX, TOLERANCE_OCCLUSION = 0.05, 0.02
Cell = tuple[int, int, int]
"""A stratum: occlusion bin, is left, tone third."""
_ASSET = Path(__file__).parent / "assets" / "synth_v1.json"


@dataclass(frozen=True)
class Membership:
    """The N samples of a set: (occlusion bin, index, is left, tone third) each, and what they look like.

    `centers_px` are means of the 21 joints' places in the picture.
    """

    samples: Int64[np.ndarray, "N 4"]
    centers_px: Float[np.ndarray, "N 2"]
    occlusion: Float[np.ndarray, "N"]
    color_mean: tuple[float, float, float]
    hand_model_sha256: str

    def sha256(self) -> str:
        """Return the hash of the whole numbers."""
        return _hash(self.samples)


class BenchmarkSet:
    """The samples of `synth-v1` by their place in the set, 0 to 1999, at 224×224 with the open hand."""

    def __init__(self, name: str = NAME) -> None:
        """Load which samples belong to it; raises `InputError` for another name or another hand model."""
        if name != NAME:
            raise InputError(f"There is no benchmark set {name!r}; there is {NAME}.")
        self.membership = load_membership()
        self._hands = [stratum(number) for number in range(len(OCCLUSION_EDGES) - 1)]
        found = self._hands[0].model.arrays.sha256
        if found != self.membership.hand_model_sha256:
            raise InputError(
                f"{NAME} was made with the open hand {self.membership.hand_model_sha256[:12]}, found "
                f"{found[:12]}. Install the version of amvur that belongs to it."
            )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.membership.samples)

    def named_samples(self, positions: Sequence[int]) -> tuple[HandBatch, tuple[str, ...]]:
        """Return the samples at these places and the names of their kinds of pose."""
        rows = self.membership.samples[list(positions)]
        batches, kinds, order = [], list[str](), list[int]()
        for number, hands in enumerate(self._hands):
            chosen = np.flatnonzero(rows[:, 0] == number)
            if len(chosen):
                batch, names = hands.named_samples(rows[chosen, 1].tolist())
                batches.append(batch)
                kinds += names
                order += chosen.tolist()
        back = np.argsort(order)
        return _take(concatenate(batches), torch.from_numpy(back)), tuple(kinds[i] for i in back)

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on, in JSON's types."""
        identity = self._hands[0].identity()
        identity["scene"] = {**identity["scene"], "target_occlusion": list(OCCLUSION_EDGES)}
        return {**identity, "benchmark": NAME, "labels_sha256": self.membership.sha256()}


def stratum(number: int) -> SyntheticHands:
    """Return the source of the samples of occlusion bin `number`."""
    config = SceneConfig(target_occlusion=(OCCLUSION_EDGES[number], OCCLUSION_EDGES[number + 1]))
    return SyntheticHands(RESERVED_SEEDS[NAME], hand_model=HAND, config=config, allow_reserved_seed=True)


def load_membership() -> Membership:
    """Return which samples belong to the set; raises `InputError` if the file is missing or damaged."""
    if not _ASSET.is_file():
        raise InputError(
            f"The samples of {NAME} are not chosen in this version of amvur: {_ASSET.name} is missing. "
            "A checkout makes it with: python benchmarks/synthetic.py select."
        )
    try:
        content = json.loads(_ASSET.read_bytes())
        membership = Membership(
            np.array(content["samples"], dtype=np.int64),
            np.array(content["centers_px"]),
            np.array(content["occlusion"]),
            tuple(content["color_mean"]),
            content["hand_model_sha256"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{_ASSET} cannot be read ({error}). Install amvur again.") from error
    if membership.sha256() != content["labels_sha256"]:
        raise InputError(f"{_ASSET} does not have the hash that it states. Install amvur again.")
    return membership


def check_benchmark(folder: Path) -> str:
    """Verify that a folder holds `synth-v1`; return a line that says so, or raise `InputError`.

    The stored bytes must be those that were written, bin, index, side and tone of all samples those of
    the set, joints within 0.05 px, occlusion within 0.02 and mean colors within one step of 255.
    """
    configuration = read_manifest(folder)["configuration"]
    if configuration.get("benchmark") != NAME:
        raise InputError(
            f"{folder} holds no {NAME}. Make it: amvur synthesize --benchmark {NAME} --output DIR."
        )
    check_shards(folder)
    wanted, found = load_membership(), describe(read_shards(folder), configuration["hand_model_sha256"])
    if found.sha256() != wanted.sha256():
        raise InputError(
            f"{folder} is not {NAME}: labels {found.sha256()[:12]}, wanted {wanted.sha256()[:12]}."
        )
    differences = {
        "joints (px)": (np.abs(found.centers_px - wanted.centers_px).max(), TOLERANCE_PX),
        "occlusion": (np.abs(found.occlusion - wanted.occlusion).max(), TOLERANCE_OCCLUSION),
        "mean color": (np.abs(np.subtract(found.color_mean, wanted.color_mean)).max(), 1.0),
    }
    for name, (difference, tolerance) in differences.items():
        if difference > tolerance:
            raise InputError(
                f"{folder} is not {NAME}: {name} differ by {difference:.3g}, allowed are {tolerance}. "
                "It was rendered by another version of amvur."
            )
    return f"{NAME}: {len(wanted.samples)} samples verified, labels sha256 {wanted.sha256()}"


def describe(batches: Iterable[HandBatch], hand_model_sha256: str) -> Membership:
    """Return what a set's samples are; the bins from their indices."""
    rows, centers, occlusion, color_sum, pixels = [], [], [], np.zeros(3), 0
    for batch in batches:
        columns = (batch.index // FIRST_INDEX, batch.index, batch.is_left.long(), tone_third(batch.skin_tone))
        rows.append(torch.stack(columns, -1).numpy())
        centers.append(batch.joints_2d.double().mean(1).numpy())
        occlusion.append(batch.occlusion.double().numpy())
        color_sum += batch.images.long().sum((0, 1, 2)).numpy()
        pixels += batch.images[..., 0].numel()
    mean = tuple((color_sum / pixels).tolist())
    return Membership(
        np.concatenate(rows), np.concatenate(centers), np.concatenate(occlusion), mean, hand_model_sha256
    )


def select(count: int = COUNT) -> tuple[Membership, int]:
    """Choose the set's samples anew; return them and how many had to be rendered.

    Only for making a new version of the set: `python benchmarks/synthetic.py select`.
    """
    room = _cell_sizes(count)
    chosen: dict[Cell, list[Membership]] = {cell: [] for cell in room}
    rendered = sum(_fill_stratum(number, room, chosen) for number in range(len(OCCLUSION_EDGES) - 1))
    # One sample of every cell, then the next of every cell, ...: any part of the set is balanced.
    turns = max(map(len, chosen.values()))
    samples = [chosen[cell][turn] for turn in range(turns) for cell in sorted(room) if turn < room[cell]]
    return _joined(samples), rendered


def _fill_stratum(number: int, room: Mapping[Cell, int], chosen: dict[Cell, list[Membership]]) -> int:
    """Render candidates of an occlusion bin until its cells are full; return how many were rendered."""
    low, high = OCCLUSION_EDGES[number] + EDGE_MARGIN, OCCLUSION_EDGES[number + 1] - EDGE_MARGIN
    hands = stratum(number)
    open_cells = {cell for cell in room if cell[0] == number and room[cell]}
    for batch in hands.batches(FIRST_INDEX * number, None, 1):
        occlusion, tone = float(batch.occlusion), float(batch.skin_tone)
        cell = (number, int(batch.is_left), int(tone_third(batch.skin_tone)))
        clear = all(abs(tone - edge) > EDGE_MARGIN for edge in TONE_EDGES)
        if cell in open_cells and clear and (low <= occlusion or number == 0) and occlusion < high:
            chosen[cell].append(describe([batch], hands.model.arrays.sha256))
            if len(chosen[cell]) == room[cell]:
                open_cells.remove(cell)
        if not open_cells:
            return int(batch.index) - FIRST_INDEX * number + 1
    raise AssertionError("endless")


def _joined(parts: Sequence[Membership]) -> Membership:
    """Join memberships of equally many pictures each."""
    mean = np.mean([part.color_mean for part in parts], axis=0).tolist()
    return Membership(
        np.concatenate([part.samples for part in parts]),
        np.concatenate([part.centers_px for part in parts]),
        np.concatenate([part.occlusion for part in parts]),
        (mean[0], mean[1], mean[2]),
        parts[0].hand_model_sha256,
    )


def write_membership(membership: Membership, path: Path = _ASSET) -> None:
    """Write the file that says which samples belong to the set."""
    content = {
        "benchmark": NAME,
        "seed": RESERVED_SEEDS[NAME],
        "hand_model_sha256": membership.hand_model_sha256,
        "labels_sha256": membership.sha256(),
        "columns": ["occlusion_bin", "index", "is_left", "tone_third"],
        "color_mean": [round(value, 3) for value in membership.color_mean],
        "samples": membership.samples.tolist(),
        "centers_px": membership.centers_px.round(2).tolist(),
        "occlusion": membership.occlusion.round(3).tolist(),
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def tone_third(skin_tone: Float[Tensor, "B"]) -> Int64[Tensor, "B"]:
    """Return 0, 1 or 2 for light, medium and dark skin."""
    return torch.bucketize(skin_tone.double(), torch.tensor(TONE_EDGES, dtype=torch.float64))


def _cell_sizes(count: int) -> dict[Cell, int]:
    """Share `count` out over (bin, is left, tone third) as evenly as whole numbers allow."""
    bins = len(OCCLUSION_EDGES) - 1
    cells = [(b, left, tone) for left in range(2) for tone in range(len(TONES)) for b in range(bins)]
    return {cell: count // len(cells) + (i < count % len(cells)) for i, cell in enumerate(cells)}


def _hash(numbers: Int64[np.ndarray, "N 4"]) -> str:
    """Return the sha256 of whole numbers, the same on every machine."""
    return hashlib.sha256(np.ascontiguousarray(numbers, dtype="<i8").tobytes()).hexdigest()


def _take(batch: HandBatch, order: Int64[Tensor, "B"]) -> HandBatch:
    """Return the samples of a batch in another order."""
    return HandBatch(**{field.name: getattr(batch, field.name)[order] for field in fields(HandBatch)})
