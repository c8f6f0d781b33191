import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn

from amvur.data.synthetic import effects
from amvur.data.synthetic.background import mix_spectra
from amvur.data.synthetic.scene import SceneConfig, streams


@pytest.fixture(scope="module")
def picture():
    rows = torch.linspace(0, 1, 64)
    smooth = torch.stack(
        [rows[:, None] * rows, rows[:, None].expand(64, 64), rows.flip(0)[None].expand(64, 64)], -1
    )
    return (smooth + 0.05 * torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(1))).clamp(0, 1)[
        None
    ]


def drawn(count, config=None):
    rngs = streams(1, torch.arange(count), 0)
    return effects.draw_effects(rngs, config or SceneConfig(), torch.zeros(1))


def test_cosines_are_scipys():
    block = torch.rand(8, 8, dtype=torch.float64)
    basis = effects._cosines(block)
    np.testing.assert_allclose(basis @ block @ basis.T, dctn(block.numpy(), norm="ortho"), atol=1e-12)


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_jpeg_is_close_to_pils(picture, quality):
    ours = effects.jpeg(picture, torch.tensor([float(quality)]))[0].numpy() * 255
    stream = io.BytesIO()
    Image.fromarray(effects.to_bytes(picture)[0].numpy()).save(stream, "JPEG", quality=quality, subsampling=2)
    theirs = np.asarray(Image.open(stream), dtype=np.float32)
    assert np.abs(ours - theirs).mean() < 0.25 * np.abs(theirs - picture[0].numpy() * 255).mean() + 0.5


def test_jpeg_of_quality_zero_changes_nothing(picture):
    assert torch.equal(effects.jpeg(picture, torch.zeros(1)), picture)


def test_blur_keeps_a_constant_and_depends_on_its_own_picture_only(picture):
    draws = drawn(6)
    flat = torch.full((6, 64, 64, 3), 0.4)
    torch.testing.assert_close(effects.blur(flat, draws), flat, atol=1e-5, rtol=0)
    many = effects.blur(picture.expand(6, -1, -1, -1), draws)
    assert many.std(dim=0).mean() > 0


def test_motion_blur_spreads_along_its_way():
    draws = drawn(1)
    line = effects.CameraEffects(
        **(vars(draws) | {"motion_px": torch.tensor([[80.0, 0.0]]), "defocus_px": torch.zeros(1)})
    )
    dot = torch.zeros(1, 224, 224, 3)
    dot[0, 112, 112] = 1
    spread = effects.blur(dot, line)[0, ..., 0] > 1e-3
    assert spread.any(0).sum() > 2 * spread.any(1).sum()


def test_noise_is_a_window_of_one_row(picture):
    draws = drawn(2)
    noise = effects.SensorNoise(torch.device("cpu"))
    twice = noise.add(picture.expand(2, -1, -1, -1), draws)
    assert not torch.equal(twice[0], twice[1])
    assert torch.equal(noise.add(picture.expand(2, -1, -1, -1), draws), twice)


def test_tone_is_monotonic_and_in_range():
    draws = drawn(20, SceneConfig(grayscale_rate=0.0))
    gray = torch.linspace(0, 4, 50)[None, :, None].expand(20, 50, 3)
    toned = effects.tone(gray, draws)
    assert toned.min() >= 0
    assert toned.max() <= 1
    assert (toned.mean(-1).diff(dim=1) > -1e-3).all()


def test_spectra_mix_amplitudes_and_keep_phases(picture):
    other = picture.flip(1) * 0.3
    same = mix_spectra(picture, other, torch.zeros(1))
    assert torch.equal(same, picture)
    mixed = mix_spectra(picture, other, torch.ones(1))
    assert (mixed - picture).abs().mean() > 1e-3
    torch.testing.assert_close(mix_spectra(picture, picture, torch.ones(1)), picture, atol=1e-5, rtol=0)
