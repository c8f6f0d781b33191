"""A set that `amvur synthesize` wrote as one of the sets of a mixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amvur.data.synthetic.generator import RESERVED_SEEDS
from amvur.data.synthetic.shard_index import IndexedShards
from amvur.errors import InputError
from amvur.training.mixture import ShuffledSet
from amvur.training.targets import LabelledImages, as_right_hands


class StoredHands(ShuffledSet):
    """Stored synthetic hands with 3D labels."""

    def __init__(self, name: str, folder: Path, image_px: int, hand_sha256: str, seed: int = 0) -> None:
        """Open a finished set; `hand_sha256` is the hash of the hand model that is trained.

        Raises `InputError` for a set that is unfinished or damaged, has pictures of another size or of
        another hand model, or is a benchmark's.
        """
        self._shards = IndexedShards(folder)
        super().__init__(name, len(self._shards), seed)
        made = self._shards.configuration
        if "benchmark" in made or made.get("seed") in RESERVED_SEEDS.values():
            raise InputError(
                f"{folder} is a benchmark set, which is never trained on. Make one of another seed."
            )
        if made.get("size_px") != image_px:
            raise InputError(
                f"{folder} has pictures of {made.get('size_px')} px, the network wants {image_px}. "
                f"Make it with: amvur synthesize --size {image_px}."
            )
        if made.get("hand_model_sha256") != hand_sha256:
            raise InputError(
                f"{folder} was made with the hand model {made.get('hand_model')} "
                f"({str(made.get('hand_model_sha256'))[:12]}), which is not the one that is trained "
                f"({hand_sha256[:12]}). Give both commands the same --hand-model."
            )

    def image(self, index: int) -> LabelledImages:
        """Read a sample; raises `InputError` for a damaged one."""
        return as_right_hands(self._shards[index])

    def identity(self) -> dict[str, Any]:
        """Return all that the pictures depend on."""
        held_out = self.count - len(self.places)
        return {**self._shards.identity(), "order_seed": self.seed, "held_out": held_out}
