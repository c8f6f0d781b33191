"""Texture by a head and a photograph: evidence at vertices, the fit against a dense solution, mirror images."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial import cKDTree

torch = pytest.importorskip("torch")

from amvur.checkpoint import save_checkpoint
from amvur.errors import InputError, ModelFileError
from amvur.hand.loading import load_hand_model
from amvur.hand.model import HandModel
from amvur.inference.silhouette.segmentation import shipped_segmentation
from amvur.inference.texture.evidence import feature_width, vertex_evidence
from amvur.inference.texture.regression import (
    OUTPUTS,
    FitSettings,
    TextureRegressor,
    VertexColors,
    conjugate_gradients,
    default_texture,
    fit_to_photo,
    load_regressor,
    pixel_equations,
    settle,
)
from amvur.inference.texture.sampling import SKIN_COLOR
from amvur.inference.texture.texturing import make_texturing
from amvur.inference.view import look_at_hand
from amvur.models.landmark_trunk import LandmarkTrunk
from amvur.models.texture import TextureConfig, TextureHead, VertexEvidence
from amvur.onnx_network import OnnxNetwork
from amvur.pretrained import load_texture_head
from amvur.render import rasterize

CAMERA = np.array([[420.0, 0, 160], [0, 420.0, 120], [0, 0, 1]])
SIZE = (240, 320)


@cache
def model():
    return HandModel(load_hand_model("open"))


LEVELS = LandmarkTrunk().level_widths


class TorchHead(OnnxNetwork):
    """A texture head in torch, asked as its ONNX network is."""

    def __init__(self, head):
        self.head = head

    def __call__(self, items):
        tensors = {name: torch.from_numpy(values) for name, values in items.items()}
        with torch.no_grad():
            word = self.head(
                VertexEvidence(*(tensors[n] for n in ("features", "colors", "visible", "pooled"))),
                keys=tensors["keys"],
            )
        return {name: getattr(word, name).numpy() for name in OUTPUTS}


def posed():
    """An open right hand, its back to the camera, in the middle of the picture."""
    turn, pose = torch.tensor([[0.3, 0.5, 1.2]]), torch.full((1, 45), 0.05)
    mesh = model()(turn, pose, torch.zeros(1, 10), torch.tensor([[-0.004, 0.076, 0.45]]))
    return mesh.vertices[0].numpy(), model().faces.numpy()


def gradient_picture():
    """Red grows to the right, green downward, one step of 255 in `SCALE` pixels."""
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] + 0.5
    return np.stack([x * 0.75, y, 100 + 0 * x], -1).round().astype(np.uint8)


def covered(vertices, faces):
    """The picture's pixels that a mesh covers."""
    mesh, camera = torch.from_numpy(vertices)[None].double(), torch.from_numpy(CAMERA)[None]
    return rasterize(mesh, torch.as_tensor(faces), camera, *SIZE).mask[0].numpy()


LAWN = np.array([0.2, 0.6, 0.15])


def painted(vertices, faces, skin):
    """A view of a hand of one color on a lawn."""
    image = np.where(covered(vertices, faces)[..., None], skin, LAWN)
    return look_at_hand((255 * image).round().astype(np.uint8), vertices, faces, CAMERA)


def inner_distance(view):
    """How far (px of the crop) vertices lie from what the mesh does not cover."""
    y, x = np.nonzero(~view.raster.mask)
    return cKDTree(np.column_stack([x, y]) + 0.5).query(view.pixels)[0]


@cache
def regressor(seed=3):
    torch.manual_seed(seed)
    head = TextureHead(TextureConfig(feature_width(LEVELS), LEVELS[-1], hidden=16))
    torch.nn.init.normal_(head.read_out.last.weight, std=0.2)
    return TextureRegressor(TorchHead(head.eval()), model().arrays, shipped_segmentation())


def test_what_a_fit_saw_is_kept():
    vertices, faces = posed()
    image = gradient_picture()
    view = look_at_hand(image, vertices, faces, CAMERA)
    (before,) = regressor().segmentation([view], [2.0 / view.pixel_px])
    fresh = regressor()(image, vertices, faces, CAMERA, mesh_std_px=np.full(len(vertices), 2.0))
    again = regressor()(image, vertices, faces, CAMERA, before=before)
    np.testing.assert_allclose(again.colors, fresh.colors, atol=1e-4)
    np.testing.assert_allclose(again.shows, fresh.shows, atol=1e-4)
    assert again.view.picture is view.picture
    moved = vertices + np.array([0.004, 0, 0], dtype=np.float32)
    beside = regressor()(image, moved, faces, CAMERA, before)
    assert beside.view.crop is view.crop
    assert (beside.view.raster.mask != view.raster.mask).any()
    np.testing.assert_array_equal(beside.shows, before.pixels.shows)


def test_evidence_is_the_picture_at_the_projected_vertices():
    vertices, faces = posed()
    view = look_at_hand(gradient_picture(), vertices, faces, CAMERA)
    evidence = vertex_evidence(
        view, model().arrays.v_template, shipped_segmentation().with_maps([view])[0].maps
    )
    assert evidence.features.shape == (len(vertices), feature_width(LEVELS))
    places = vertices @ CAMERA.T
    places = places[:, :2] / places[:, 2:]
    wanted = np.column_stack([places[:, 0] * 0.75, places[:, 1]]) / 255
    assert np.abs(evidence.colors[:, :2] - wanted).max() < 0.006
    normals = np.linalg.norm(evidence.features[:, -8:-5], axis=1)  # of 14 numbers, after 6 coordinates
    np.testing.assert_allclose(normals, 1, atol=1e-4)
    assert evidence.visible.mean() == pytest.approx(0.5, abs=0.15)


def test_the_fit_is_the_dense_solution_of_the_normal_equations():
    vertices, faces = posed()
    view = look_at_hand(gradient_picture(), vertices, faces, CAMERA)
    rng = np.random.default_rng(0)
    count = len(vertices)
    mean, std = rng.uniform(0.2, 0.8, (count, 3)), rng.uniform(0.03, 0.2, count)
    matrix, pixels = pixel_equations(view)
    weight = rng.uniform(0, 1, len(pixels)) / 0.05**2
    dense = matrix.toarray()
    right = dense.T @ (weight[:, None] * pixels) + mean / std[:, None] ** 2
    solution = np.linalg.solve(dense.T @ (weight[:, None] * dense) + np.diag(std**-2.0), right)
    found = fit_to_photo(matrix, pixels, weight, mean, std)
    assert np.abs(found - solution.clip(0, 1)).mean() < 2e-3
    untouched = fit_to_photo(matrix, pixels, np.zeros(len(pixels)), mean, std)
    np.testing.assert_allclose(untouched, mean, atol=1e-6)


def word(colors, std, logit):
    return VertexColors(
        np.float32(colors),
        np.full(len(colors), std, dtype=np.float32),
        np.full(len(colors), logit, dtype=np.float32),
    )


def everywhere(probability):
    return np.full((224, 224), probability, dtype=np.float32)


def test_a_photo_is_believed_where_it_shows_skin_and_its_share_is_the_uncertainty():
    """A hand of one color that the head has a little wrong, a green picture about it."""
    vertices, faces = posed()
    skin, wrong = np.array([0.8, 0.6, 0.5]), np.array([0.75, 0.6, 0.5])
    view, known = painted(vertices, faces, skin), word(np.tile(wrong, (len(vertices), 1)), 0.05, 4.0)
    texture = settle(view, known, everywhere(1.0))
    inner = texture.visible & (inner_distance(view) > 3)
    assert np.abs(texture.colors - skin)[inner].mean() < 0.2 * np.abs(wrong - skin).mean()
    np.testing.assert_allclose(
        texture.colors[~texture.visible], np.tile(wrong, ((~texture.visible).sum(), 1)), atol=1e-6
    )
    moved = np.sqrt(np.square(texture.colors - wrong).mean(1))
    np.testing.assert_allclose(texture.std, np.hypot(1.13 * 0.05, moved), atol=1e-5)
    hidden = settle(view, known, everywhere(0.0))
    np.testing.assert_allclose(hidden.colors, np.tile(wrong, (len(vertices), 1)), atol=1e-6)


def test_a_vertex_takes_the_fitted_color_in_full_if_enough_of_its_pixels_are_skin():
    vertices, faces = posed()
    skin, wrong = np.array([0.8, 0.6, 0.5]), np.array([0.7, 0.6, 0.5])
    view, known = painted(vertices, faces, skin), word(np.tile(wrong, (len(vertices), 1)), 0.05, 4.0)
    half, full, more = (
        settle(view, known, everywhere(0.2), FitSettings(enough=enough)).colors - wrong
        for enough in (0.4, 0.2, 0.1)
    )
    np.testing.assert_allclose(half, full / 2, atol=1e-6)
    np.testing.assert_allclose(more, full, atol=1e-6)


def test_what_an_unsure_mesh_covers_of_the_lawn_stays_off_the_hand():
    """The mesh lies 6 px beside the hand in the picture: against that picture taken for skin all over."""
    vertices, faces = posed()
    skin = np.array([0.8, 0.6, 0.5])
    moved = vertices + np.array([6 / 420 * 0.45, 0, 0], dtype=np.float32)
    image = (255 * np.where(covered(vertices, faces)[..., None], skin, LAWN)).round().astype(np.uint8)
    view = look_at_hand(image, moved, faces, CAMERA)
    known = word(np.tile(skin, (len(vertices), 1)), 0.08, 2.0)
    believed = settle(view, known, everywhere(1.0))
    told = regressor()(image, moved, faces, CAMERA, mesh_std_px=np.full(len(vertices), 6.0)).shows
    judged = settle(view, known, told)
    error = [np.abs(t.colors - skin).mean(1)[t.visible] for t in (believed, judged)]
    assert np.abs(LAWN - skin).mean() > 0.3
    assert error[0].mean() > 0.02
    assert error[1].mean() < 0.3 * error[0].mean()
    infinite = regressor()(image, moved, faces, CAMERA, mesh_std_px=np.full(len(vertices), np.inf))
    assert np.isfinite(infinite.colors).all()
    assert infinite.shows.shape == (224, 224)


def test_conjugate_gradients_solve_in_as_many_steps_as_there_are_unknowns():
    from scipy import sparse

    rng = np.random.default_rng(0)
    factor = rng.normal(size=(9, 6))
    system, right = factor.T @ factor + np.eye(6), rng.normal(size=(6, 2))
    found = conjugate_gradients(sparse.csr_array(system), right, np.zeros((6, 2)), steps=6)
    np.testing.assert_allclose(found, np.linalg.solve(system, right), atol=1e-8)


def test_pixel_equations_rebuild_the_picture_of_painted_vertices():
    vertices, faces = posed()
    view = look_at_hand(gradient_picture(), vertices, faces, CAMERA)
    matrix, pixels = pixel_equations(view)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-5)
    # a plane of colors over the crop is what vertices painted with it interpolate to, but for perspective
    places = view.pixels
    y, x = view.raster.mask.nonzero()
    interpolated = matrix @ places
    assert np.abs(interpolated - np.column_stack([x + 0.5, y + 0.5])).max() < 0.2
    assert pixels.shape == (len(x), 3)


def test_colors_are_colors_and_what_no_camera_sees_is_not_seen():
    texture = regressor()(gradient_picture(), *posed(), CAMERA)
    assert ((texture.colors >= 0) & (texture.colors <= 1)).all()
    assert (texture.seen[~texture.visible] == 0).all()


def test_a_hand_outside_of_the_picture_or_behind_the_camera_gets_a_skin_color():
    vertices, faces = posed()
    for shift in ([3.0, 0, 0], [0, 0, -2.0]):
        texture = regressor()(gradient_picture(), vertices + np.float32(shift), faces, CAMERA)
        assert texture.std is None
        assert not texture.visible.any()
        np.testing.assert_allclose(texture.colors, np.tile(SKIN_COLOR, (len(vertices), 1)), atol=1e-6)


def save(folder, **changes):
    head = regressor().head.head
    settings = {**vars(head.config), **changes}
    save_checkpoint(folder, settings, head.state_dict(), hand_model="open")


@pytest.mark.skipif(default_texture() is None, reason="no texture head ships with this version")
def test_the_shipped_network_says_what_its_weights_say_in_torch():
    vertices, faces = posed()
    view = look_at_hand(gradient_picture(), vertices, faces, CAMERA)
    again = load_regressor(default_texture(), model().arrays)
    head = TorchHead(load_texture_head(default_texture()))
    ours = TextureRegressor(head, model().arrays, again.segmentation).regress(view)
    for found, wanted in zip(vars(again.regress(view)).values(), vars(ours).values(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("changes", [{"magic": 1}, {"hidden": 17}])
def test_a_checkpoint_of_another_kind_is_refused(tmp_path, changes):
    save(tmp_path / "head", **changes)
    with pytest.raises(ModelFileError, match="head"):
        load_texture_head(tmp_path / "head")
    with pytest.raises(ModelFileError, match="export-network"):
        load_regressor(tmp_path / "head", model().arrays)


def test_a_head_of_other_evidence_is_refused(tmp_path):
    config = TextureConfig(features=feature_width(LEVELS), pooled=1152, hidden=16)
    state = TextureHead(config).state_dict()
    save_checkpoint(tmp_path, vars(config), state, hand_model="open")
    with pytest.raises(ModelFileError, match="1152"):
        load_regressor(tmp_path, model().arrays)


def test_choices(monkeypatch):
    assert make_texturing("sampled", model().arrays).regressor is None
    with pytest.raises(ModelFileError, match="painted"):
        make_texturing("painted", model().arrays)
    with pytest.raises(InputError, match="16 to 8192"):
        make_texturing("sampled", model().arrays, 4)
    monkeypatch.setattr("amvur.inference.texture.texturing.default_texture", lambda: None)
    assert make_texturing("auto", model().arrays).regressor is None
    with pytest.raises(ModelFileError, match="no texture head"):
        make_texturing("regressed", model().arrays)


@pytest.mark.skipif(default_texture() is None, reason="no texture head ships with this version")
def test_the_shipped_head_knows_skin_from_an_object():
    """A hand of one color whose middle a green card hides: the card is not painted on the skin."""
    vertices, faces = posed()
    skin, card = np.array([200, 150, 125]), np.array([20, 160, 60])
    image = np.full((*SIZE, 3), 90, dtype=np.uint8)
    view = look_at_hand(image, vertices, faces, CAMERA)
    y, x = view.raster.mask.nonzero()
    column, row = view.crop.invert_points(np.column_stack([x + 0.5, y + 0.5])).astype(int).T
    image[row, column] = skin
    middle = vertices @ CAMERA.T
    cx, cy = np.median(middle[:, :2] / middle[:, 2:], 0).astype(int)
    image[cy - 18 : cy + 18, cx - 18 : cx + 18] = card
    texture = make_texturing("regressed", model().arrays)(image, vertices, faces, CAMERA)[0]
    places = (middle[:, :2] / middle[:, 2:] - [cx, cy]).__abs__().max(1)
    behind, free = texture.visible & (places < 12), texture.visible & (places > 26)
    assert texture.seen[behind].mean() < texture.seen[free].mean() - 0.2
    assert texture.shown[free].mean() > 0.6 > 0.4 > texture.shown[behind].mean()
    assert not texture.shown[~texture.visible].any()
    unsure = replace(texture, seen=None)
    np.testing.assert_array_equal(unsure.shown, texture.visible)
    error = np.abs(texture.colors * 255 - skin).mean(1)
    assert error[behind].mean() < 0.5 * np.abs(skin - card).mean()
    assert error[~texture.visible].mean() < 25
