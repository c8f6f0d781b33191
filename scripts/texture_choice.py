"""What settings of the texture's fit make of held-out synthetic hands: a stage of `train_texture.py`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from safetensors.torch import load_file
from scipy import sparse
from scipy.sparse.linalg import lsqr
from shards import bits
from texture_data import NAMES, SEED, error_shares, shows_hand, spread_px, with_errors

from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.inference.texture.regression import (
    USUAL,
    FitSettings,
    VertexColors,
    load_regressor,
    pixel_equations,
    settle,
)
from amvur.inference.view import HandView, look_at_hand


@dataclass(frozen=True)
class HeldOut:
    """A held-out hand: whether its mesh is exact, what head and segmentation say of it, and the truth.

    `shown` and `behind` mark vertices that the rasteriser sees: those that the picture shows, and those that
    an object hides or that are not where the mesh has them; `hand` marks pixels that show the hand.
    """

    view: HandView
    word: VertexColors
    exact: bool
    shows: np.ndarray
    truth: np.ndarray
    shown: np.ndarray
    behind: np.ndarray
    interpolation: sparse.csr_array
    pixels: np.ndarray
    hand: np.ndarray

    def psnr(self, colors: np.ndarray) -> float:
        """Return the rendering's (dB), where the mesh covers the hand."""
        error = np.square(self.interpolation @ colors - self.pixels)[self.hand]
        return float(-10 * np.log10(error.mean()))

    def bound(self) -> np.ndarray:
        """Return the colors that render closest to the picture."""
        matrix, pixels = self.interpolation[self.hand], self.pixels[self.hand]
        return np.stack([lsqr(matrix, pixels[:, c], iter_lim=300)[0] for c in range(3)], -1).clip(0, 1)


def choose(args: argparse.Namespace) -> None:
    """Print errors of shown and hidden vertices' colors (of 255) and renderings (dB under the bound).

    Of the settings whose renderings, of exact meshes and of wrong ones, lie within 0.75 dB of the bound, the
    usual ones have the least error at shown vertices.
    """
    settings = candidates()
    rows: dict[FitSettings, dict[bool, list[tuple[float, ...]]]] = {
        s: {True: [], False: []} for s in settings
    }
    held: list[float] = []
    for case in held_out(args):
        best = case.psnr(case.bound())
        for found in settings:
            texture = settle(case.view, case.word, case.shows, found)
            off = np.abs(texture.colors - case.truth)
            if found == USUAL:
                assert texture.std is not None
                held.append(float((off < 1.645 * texture.std[:, None]).mean()))
            error = 255 * off.mean(1)
            gap = best - case.psnr(texture.colors)
            rows[found][case.exact].append((error[case.shown].mean(), error[case.behind].mean(), gap))
    print(f"stated 90 % intervals hold {np.mean(held):.3f} of all colors")
    for found, by in rows.items():
        told = [
            "{}: {:.2f} shown, {:.2f} hidden, {:.2f} dB".format(name, *np.mean(by[exact], 0))
            for name, exact in (("exact", True), ("wrong", False))
        ]
        changed = {n: v for n, v in vars(found).items() if v != getattr(USUAL, n)}
        print(*told, changed or "usual", sep=" | ")


def held_out(args: argparse.Namespace) -> Iterator[HeldOut]:
    """Yield the hands of a held-out shard, with errors of their meshes."""
    hand = HandModel(load_hand_model("open"))
    regressor = load_regressor(args.output, hand.arrays)
    stored = load_file(sorted((args.work / "pool").glob("*.safetensors"))[0])
    labels = {name: tensor[: args.held_out] for name, tensor in stored.items()}
    generator = torch.Generator().manual_seed(SEED)
    shares = error_shares(len(labels["betas"]), generator)
    parameters = with_errors(labels, generator, shares)
    vertices = hand(*(parameters[n] for n in NAMES[2:])).vertices
    spreads = spread_px(parameters, shares, hand, generator)
    for i, image in enumerate(labels["images"].numpy()):
        view = look_at_hand(image, vertices[i].numpy(), hand.faces.numpy(), labels["intrinsics"][i].numpy())
        if view is None or not view.visible.any():
            continue
        view = regressor.segmentation.with_maps(view)
        shown = bits(labels["unoccluded_vertices"][i], vertices.shape[1]).numpy()
        visible = view.visible
        matrix, pixels = pixel_equations(view)
        shows = shows_hand(view, bits(labels["mask"][i], image.shape[0] ** 2))
        if not ((shown & visible).any() and (visible & ~shown).any() and shows.sum() > 50):
            continue
        yield HeldOut(
            view,
            regressor.regress(view),
            bool(shares[i] == 0),
            regressor.segmentation(view, spreads[i].double().numpy() / view.pixel_px).shows,
            labels["vertex_colors"][i].numpy() / 255,
            shown & visible,
            visible & ~shown,
            matrix,
            pixels,
            shows,
        )


def candidates() -> list[FitSettings]:
    """Return the fits to choose among: the usual one, every setting changed, and the head alone (last)."""
    changes = {"pixel_std": (0.02, 0.05, 0.1), "enough": (0.2, 0.4, 0.6, 0.8, 1.0)}
    changed = [replace(USUAL, **{name: value}) for name, values in changes.items() for value in values]
    return [USUAL, *changed, replace(USUAL, pixel_std=100.0)]
