"""Texture pictures: an atlas without overlap, photograph and vertex colors where each belongs, and the GLB."""

import io
from dataclasses import replace

import numpy as np
import pygltflib
import pytest
from factories import make_hand
from PIL import Image
from posed import posed

from amvur.errors import InputError
from amvur.export import glb_bytes, read_glb
from amvur.hand.loading import load_hand_model
from amvur.hand.texture_coordinates import load_texture_coordinates
from amvur.inference.texture.atlas import bake
from amvur.inference.texture.regression import Texture
from amvur.structures import UvTexture

CAMERA = np.array([[420.0, 0, 160], [0, 420.0, 120], [0, 0, 1]])


def areas(atlas):
    a, b, c = (atlas.uv[atlas.faces[:, k]] for k in range(3))
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_atlas_belongs_to_the_mesh_and_nothing_lies_on_another(side):
    atlas, arrays = load_texture_coordinates("open", side), load_hand_model("open", side)
    np.testing.assert_array_equal(atlas.vertices[atlas.faces], arrays.faces)
    assert set(atlas.vertices) == set(range(len(arrays.v_template)))
    assert atlas.uv.min() > 0
    assert atlas.uv.max() < 1
    signed = areas(atlas)
    assert (signed < 0).all() or (signed > 0).all()
    from amvur.inference.texture.atlas import _texels

    face, _ = _texels(atlas, 512)
    covered = np.bincount(face[face >= 0], minlength=len(atlas.faces)) / 512**2
    assert covered.sum() == pytest.approx(np.abs(signed).sum(), rel=0.005)
    assert np.abs(covered - np.abs(signed)).sum() < 0.15 * np.abs(signed).sum()


def test_other_hand_models_have_no_atlas():
    with pytest.raises(InputError, match="MANO_RIGHT"):
        load_texture_coordinates("MANO_RIGHT.pkl")


def hand_in_front():
    vertices, _ = posed([0.3, 0.5, 1.2], transl=(0.05, 0.02, 0.45))
    return vertices.astype(np.float32), load_hand_model("open").faces


def test_texels_come_from_the_photograph_where_it_shows_skin_and_else_from_vertices():
    vertices, faces = hand_in_front()
    y, x = np.mgrid[0:240, 0:320] + 0.5
    image = np.stack([x * 0.75, y, 0 * x], -1).round().astype(np.uint8)
    blue = np.tile(np.float32([0, 0, 1]), (len(vertices), 1))
    seen = np.ones(len(vertices), dtype=bool)
    atlas = load_texture_coordinates("open")
    texture = Texture(blue, seen)
    baked = bake(image, vertices, faces, CAMERA, texture, atlas, 256)
    assert baked.pixels.shape == (256, 256, 3)
    photo = baked.pixels[..., 2] < 5
    assert 0.1 < photo.mean() < 0.9
    # where the photograph is, the texel's own place in the photograph is its color
    points = (baked.uv * 256).astype(int).clip(0, 255)
    places = vertices[baked.vertices] @ CAMERA.T
    places = places[:, :2] / places[:, 2:] * [0.75, 1]
    taken = photo[points[:, 1], points[:, 0]]
    differences = np.abs(baked.pixels[points[:, 1], points[:, 0], :2] - places)[taken]
    assert np.median(differences) < 1.5
    assert np.quantile(differences, 0.95) < 5
    skin = np.ones((224, 224), dtype=np.float32)
    half = skin.copy()
    half[:, :112] = 0  # an object before one side of the hand
    unseen, object_before, before_one_side, free = (
        bake(image, vertices, faces, CAMERA, t, atlas, 64).pixels
        for t in (
            replace(texture, visible=~seen),
            *(replace(texture, shows=shows) for shows in (0 * skin, half, skin)),
        )
    )
    assert (unseen == [0, 0, 255]).all()
    assert (object_before == [0, 0, 255]).all()
    parts = [(pixels[..., 2] < 5).mean() for pixels in (before_one_side, free)]
    assert 0.1 * parts[1] < parts[0] < 0.9 * parts[1]


def test_a_glb_holds_the_picture_and_keeps_vertex_colors():
    hand = make_hand(2)
    rng = np.random.default_rng(0)
    seam = rng.choice(len(hand.vertices), 40, replace=False)
    vertices = np.concatenate([np.arange(len(hand.vertices)), seam])
    faces = hand.faces.copy()
    for extra, vertex in enumerate(seam):  # the first face at the vertex takes the vertex's second point
        face, corner = np.argwhere(hand.faces == vertex)[0]
        faces[face, corner] = len(hand.vertices) + extra
    picture = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    uv = rng.uniform(0, 1, (len(vertices), 2)).astype(np.float32)
    std = rng.uniform(0.01, 0.1, len(hand.vertices)).astype(np.float32)
    hand = replace(hand, uv_texture=UvTexture(picture, uv, faces, vertices), vertex_colors_std=std)
    data = glb_bytes([hand, make_hand(3, "left")])
    gltf = pygltflib.GLTF2().load_from_bytes(data)
    primitive = gltf.meshes[0].primitives[0]
    assert primitive.attributes.COLOR_0 is None
    material = gltf.materials[primitive.material].pbrMetallicRoughness
    image = gltf.images[gltf.textures[material.baseColorTexture.index].source]
    view = gltf.bufferViews[image.bufferView]
    stored = gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored))), picture)
    accessor = gltf.accessors[primitive.attributes.TEXCOORD_0]
    assert (accessor.type, accessor.count) == ("VEC2", len(vertices))
    plain = gltf.meshes[1].primitives[0]
    assert plain.material != primitive.material


def test_a_textured_glb_is_read_back_with_its_colors(tmp_path):
    hand = make_hand(2)
    count = len(hand.vertices)
    uv = np.zeros((count, 2), dtype=np.float32)
    texture = UvTexture(np.zeros((16, 16, 3), dtype=np.uint8), uv, hand.faces, np.arange(count))
    path = tmp_path / "hand.glb"
    path.write_bytes(glb_bytes([replace(hand, uv_texture=texture)]))
    np.testing.assert_allclose(read_glb(path)[0].colors, hand.vertex_colors, atol=1e-6)
