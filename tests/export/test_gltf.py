"""GLB files, read back by two independent readers (trimesh and pygltflib)."""

import dataclasses
import io
import json
import struct

import numpy as np
import pygltflib
import pytest
import trimesh
from factories import make_hand
from scipy.spatial.transform import Rotation

from amvur.errors import OutputError
from amvur.export import glb_bytes, read_glb, write_glb, write_obj, write_ply
from amvur.export.gltf import joint_matrices, top_four
from amvur.hand.joints import BONE_JOINTS, BONE_NAMES, JOINT_NAMES, TIP_JOINTS
from amvur.hand.kinematics import HandState, rotation_matrices
from amvur.hand.open_hand import load_open_hand
from amvur.hand.posing import HandPoser
from amvur.structures import UvTexture

HALF_TURN = np.array([1.0, -1.0, -1.0])


def array(gltf, accessor):
    """The values of an accessor, decoded by the letter of the glTF 2.0 specification."""
    entry = gltf.accessors[accessor]
    view = gltf.bufferViews[entry.bufferView]
    dtype = {5121: np.uint8, 5125: np.uint32, 5126: np.float32}[entry.componentType]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[entry.type]
    assert view.byteStride is None
    assert (view.byteOffset + (entry.byteOffset or 0)) % dtype().itemsize == 0
    blob = gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    values = np.frombuffer(blob, dtype, entry.count * width)
    return values.reshape(-1, width) if width > 1 else values


def global_matrices(gltf):
    """Every node's matrix in the scene, from translations and quaternions."""
    matrices = {}

    def visit(node, parent):
        matrix = np.eye(4)
        if gltf.nodes[node].rotation is not None:
            matrix[:3, :3] = Rotation.from_quat(gltf.nodes[node].rotation).as_matrix()
        if gltf.nodes[node].translation is not None:
            matrix[:3, 3] = gltf.nodes[node].translation
        assert node not in matrices, "a node has two parents"
        matrices[node] = parent @ matrix
        for child in gltf.nodes[node].children or []:
            visit(child, matrices[node])

    for root in gltf.scenes[gltf.scene].nodes:
        visit(root, np.eye(4))
    return matrices


def skin(gltf, index=0):
    """Vertices as a viewer that honours skins shows them."""
    node = next(n for n in gltf.nodes if n.mesh == index)
    attributes = gltf.meshes[index].primitives[0].attributes
    world, joints = global_matrices(gltf), gltf.skins[node.skin].joints
    inverse = array(gltf, gltf.skins[node.skin].inverseBindMatrices).reshape(-1, 4, 4)
    palette = np.stack([world[j] @ m.T.astype(np.float64) for j, m in zip(joints, inverse, strict=True)])
    weights, influences = array(gltf, attributes.WEIGHTS_0), array(gltf, attributes.JOINTS_0)
    points = np.c_[array(gltf, attributes.POSITION), np.ones(len(weights))]
    return np.einsum("vn,vnij,vj->vi", weights, palette[influences][:, :, :3], points)


@pytest.fixture(params=["right", "left"])
def hand(request):
    return make_hand(3, request.param)


@pytest.fixture
def gltf(hand):
    return pygltflib.GLTF2.load_from_bytes(glb_bytes([hand]))


def test_viewers_that_ignore_skins_show_the_reconstruction(hand, tmp_path):
    write_glb(tmp_path / "hand.glb", [hand])
    mesh = trimesh.load(tmp_path / "hand.glb", process=False, force="mesh")
    np.testing.assert_allclose(mesh.vertices, hand.vertices * HALF_TURN, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, hand.faces)
    np.testing.assert_allclose(mesh.vertex_attributes["_STD_MM"].ravel(), 1000 * hand.vertices_std, rtol=1e-6)


def test_viewers_that_honour_skins_show_the_reconstruction(hand, gltf):
    np.testing.assert_allclose(skin(gltf), hand.vertices * HALF_TURN, atol=1e-6)


def test_faces_point_outward_and_normals_agree(gltf):
    attributes = gltf.meshes[0].primitives[0].attributes
    faces = array(gltf, gltf.meshes[0].primitives[0].indices).reshape(-1, 3)
    mesh = trimesh.Trimesh(array(gltf, attributes.POSITION), faces, process=False)
    assert mesh.volume > 0
    normals = array(gltf, attributes.NORMAL)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert (np.einsum("fi,fi->f", mesh.face_normals, normals[faces].mean(1)) > 0).mean() > 0.99


def test_trimesh_shows_the_colours(hand, tmp_path):
    """As the base color's picture, which Blender and three.js show too: they all ignore or multiply `COLOR_0`."""
    write_glb(tmp_path / "hand.glb", [hand])
    mesh = trimesh.load(tmp_path / "hand.glb", process=False, force="mesh")
    shown = mesh.visual.to_color().vertex_colors[:, :3]
    np.testing.assert_array_equal(shown, np.rint(255 * hand.vertex_colors))


def test_colours_are_attributes_too_and_linear(hand, gltf):
    attributes = vars(gltf.meshes[0].primitives[0].attributes)
    colors = np.column_stack([array(gltf, attributes[key]) for key in ("_RED", "_GREEN", "_BLUE")])
    expected = ((hand.vertex_colors.astype(float) + 0.055) / 1.055) ** 2.4  # all are above the toe
    np.testing.assert_allclose(colors, expected, rtol=1e-5)
    assert attributes["COLOR_0"] is None, "programs would multiply the picture by it"


def test_attributes_of_our_own_are_scalars_of_one_type(hand):
    """Blender's importer mixes up those of several types, in some of its starts: then nothing is imported."""
    hand = dataclasses.replace(hand, vertex_colors_std=hand.vertices_std)
    count = len(hand.vertices)
    uv = np.zeros((count, 2), np.float32)
    textured = UvTexture(np.zeros((8, 8, 3), np.uint8), uv, hand.faces, np.arange(count))
    for each in (hand, dataclasses.replace(hand, uv_texture=textured)):
        gltf = pygltflib.GLTF2.load_from_bytes(glb_bytes([each]))
        attributes = vars(gltf.meshes[0].primitives[0].attributes)
        own = [gltf.accessors[index] for key, index in attributes.items() if key.startswith("_")]
        assert len(own) == 6
        assert {(accessor.type, accessor.componentType) for accessor in own} == {("SCALAR", 5126)}


def test_the_hand_stands_upright_in_front_of_the_camera(hand, gltf):
    world = global_matrices(gltf)
    place = {gltf.nodes[n].name.split("_hand_")[-1]: m[:3, 3] for n, m in world.items()}
    assert place["wrist"][2] < 0, "in front of a glTF camera is −z"
    image_up = hand.joints[12, 1] < hand.joints[0, 1]
    assert (place["middle_tip"][1] > place["wrist"][1]) == image_up
    for bone, joint in enumerate(BONE_JOINTS):
        np.testing.assert_allclose(place[BONE_NAMES[bone]], hand.joints[joint] * HALF_TURN, atol=1e-6)
    for tip in TIP_JOINTS:
        np.testing.assert_allclose(place[JOINT_NAMES[tip]], hand.joints[tip] * HALF_TURN, atol=1e-6)


def test_structure_is_that_of_the_specification(gltf):
    primitive = gltf.meshes[0].primitives[0]
    position = gltf.accessors[primitive.attributes.POSITION]
    values = array(gltf, primitive.attributes.POSITION)
    assert np.float32(position.min).tolist() == values.min(0).tolist()
    assert np.float32(position.max).tolist() == values.max(0).tolist()
    assert array(gltf, primitive.indices).max() < position.count
    assert len(gltf.skins[0].joints) == 21
    assert gltf.skins[0].skeleton == gltf.skins[0].joints[0]
    assert len({node.name for node in gltf.nodes}) == len(gltf.nodes)
    weights, joints = (
        array(gltf, primitive.attributes.WEIGHTS_0),
        array(gltf, primitive.attributes.JOINTS_0),
    )
    np.testing.assert_allclose(weights.sum(1, dtype=np.float64), 1, atol=2e-7)
    assert not joints[weights == 0].any()
    assert gltf.materials[0].doubleSided
    assert gltf.materials[0].pbrMetallicRoughness.metallicFactor == 0
    assert gltf.samplers[0].wrapS == gltf.samplers[0].wrapT == 33071
    last_row = array(gltf, gltf.skins[0].inverseBindMatrices)[:, 3::4]
    np.testing.assert_array_equal(last_row, np.tile([0, 0, 0, 1], (21, 1)))


def test_extras_name_side_score_units_and_frame(hand, gltf):
    extras = next(node.extras for node in gltf.nodes if node.mesh == 0)
    assert extras["side"] == hand.side
    assert extras["score"] == pytest.approx(hand.score, abs=1e-6)
    assert extras["units"] == "m"
    assert "y up" in extras["frame"]


def test_two_hands_have_two_skeletons():
    hands = [make_hand(0), make_hand(1), make_hand(2, "left")]
    gltf = pygltflib.GLTF2.load_from_bytes(glb_bytes(hands))
    assert [m.name for m in gltf.meshes] == ["right_hand", "right_hand_1", "left_hand"]
    for index, hand in enumerate(hands):
        np.testing.assert_allclose(skin(gltf, index), hand.vertices * HALF_TURN, atol=1e-6)
    scene = trimesh.load(io.BytesIO(glb_bytes(hands)), file_type="glb", process=False)
    assert len(scene.geometry) == 3


def test_every_skeleton_has_a_node_of_its_own():
    """Blender makes an armature of the node above a skeleton, and names it so: one for all if they share it."""
    hands = [make_hand(0), make_hand(1), make_hand(2, "left")]
    gltf = pygltflib.GLTF2.load_from_bytes(glb_bytes(hands))
    parents = {child: node for node in gltf.nodes for child in node.children or []}
    above = [parents[skin.joints[0]] for skin in gltf.skins]
    assert [node.name for node in above] == ["right_hand", "right_hand_1", "left_hand"]
    assert all(len(node.children) == 1 for node in above)
    assert len({node.name for node in gltf.nodes}) == len(gltf.nodes)


@pytest.mark.parametrize("write", [write_glb, write_obj, write_ply])
def test_a_file_without_a_hand_is_refused(write, tmp_path):
    with pytest.raises(OutputError, match="no hand to write"):
        write(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("field", ["vertex_colors_std", "score", "joints", "T_camera_bone"])
def test_numbers_that_are_not_finite_are_refused(field):
    hand = make_hand(0)
    if field == "T_camera_bone":
        broken = np.full_like(hand.skeleton.T_camera_bone, np.nan)
        hand = dataclasses.replace(hand, skeleton=dataclasses.replace(hand.skeleton, T_camera_bone=broken))
    else:
        shape = {"vertex_colors_std": hand.vertices_std, "joints": hand.joints}.get(field)
        value = float("nan") if shape is None else np.full_like(shape, np.nan)
        hand = dataclasses.replace(hand, **{field: value})
    with pytest.raises(OutputError, match="not finite"):
        glb_bytes([hand])


def test_four_weights_stay_close_to_sixteen_in_another_pose(hand):
    """Open the hand again from its bind pose, with all weights and with the four that are kept."""
    pivots = hand.skeleton.rest_joints
    rest = np.tile(np.eye(4), (16, 1, 1))
    rest[:, :3, 3] = pivots
    motion = rest @ np.linalg.inv(joint_matrices(hand)[:16])
    points = np.c_[hand.vertices * HALF_TURN, np.ones(len(hand.vertices))]
    joints, weights = top_four(hand.skeleton.lbs_weights)
    exact = np.einsum("vb,bij,vj->vi", hand.skeleton.lbs_weights, motion[:, :3], points)
    kept = np.einsum("vn,vnij,vj->vi", weights, motion[joints][:, :, :3], points)
    assert np.linalg.norm(exact - kept, axis=1).max() < 5e-4


def open_hand_bones(model, rng):
    """Random joint angles within the open hand's limits: rest-to-posed matrices of its bones."""
    limits, axes = model.arrays.pose_limits, model.arrays.pose_axes
    angles = limits[..., 0] + rng.uniform(size=(15, 3)) * (limits[..., 1] - limits[..., 0])
    turns = np.concatenate(
        [np.zeros((1, 3)), np.einsum("ka,kai->ki", angles, axes) + model.arrays.pose_mean.reshape(15, 3)]
    )
    mesh = model(HandState(rotation_matrices(turns)[None], np.zeros((1, 10)), np.zeros((1, 3))))
    matrices = np.tile(np.eye(4), (16, 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = mesh.bone_rotation[0], mesh.bone_origin[0]
    return matrices, np.c_[mesh.vertices[0], np.ones(len(mesh.vertices[0]))]


def test_four_weights_of_the_open_hand_stay_within_the_documented_bounds():
    model = HandPoser(load_open_hand("right"), np.float64)
    weights = model.arrays.lbs_weights
    joints, kept = top_four(weights.astype(np.float32))
    rng, errors = np.random.default_rng(0), []
    for _ in range(10):
        (bind, points), (other, _) = open_hand_bones(model, rng), open_hand_bones(model, rng)
        motion = (other @ np.linalg.inv(bind))[:, :3]
        exact = np.einsum("vb,bij,vj->vi", weights, motion, points)
        errors.append(
            np.linalg.norm(exact - np.einsum("vn,vnij,vj->vi", kept, motion[joints], points), axis=1)
        )
    assert np.percentile(errors, 99) < 5e-4
    assert np.max(errors) < 2e-3


@pytest.mark.parametrize(
    ("poses", "mean_mm", "most_mm", "worst_mm"), [("likely", 0.5, 3, 10), ("within limits", 0.8, 6, 25)]
)
def test_back_to_the_rest_pose_by_the_skeleton_is_as_near_as_documented(poses, mean_mm, most_mm, worst_mm):
    """Bones turned back move the reconstructed mesh to the rest mesh, but for what blended weights lose."""
    torch = pytest.importorskip("torch")
    from amvur.hand.model import HandModel
    from amvur.hand.prior import make_prior

    model = HandModel(load_open_hand("right"), torch.float64)
    rng = np.random.default_rng(1)
    if poses == "likely":
        prior = make_prior(model)
        pose = prior.axis_angle(prior.sample(100, torch.Generator().manual_seed(1)).double())
    else:
        limits, axes = model.arrays.pose_limits, model.arrays.pose_axes
        angles = limits[..., 0] + rng.uniform(size=(100, 15, 3)) * (limits[..., 1] - limits[..., 0])
        pose = torch.from_numpy(np.einsum("nka,kai->nki", angles, axes).reshape(100, 45))
    betas = torch.from_numpy(rng.normal(size=(100, 10)))
    mesh = model(torch.zeros(100, 3, dtype=torch.float64), pose, betas)
    rest = model.shape(betas)[0].numpy()
    joints, weights = top_four(model.arrays.lbs_weights.astype(np.float32))
    errors = []
    for index in range(100):
        turned_back = mesh.bone_rotation[index].numpy().transpose(0, 2, 1)
        local = mesh.vertices[index].numpy()[:, None] - mesh.bone_origin[index].numpy()[joints]
        pivots = mesh.rest_joints[index].numpy()[list(BONE_JOINTS)][joints]
        back = np.einsum("vnij,vnj->vni", turned_back[joints], local) + pivots
        moved = np.einsum("vn,vni->vi", weights, back)
        errors.append(1000 * np.linalg.norm(moved - rest[index], axis=1))
    assert np.mean(errors) < mean_mm
    assert np.percentile(errors, 99) < most_mm
    assert np.max(errors) < worst_mm


def test_reader_returns_what_was_written(hand, tmp_path):
    write_glb(tmp_path / "hand.glb", [hand])
    (mesh,) = read_glb(tmp_path / "hand.glb")
    np.testing.assert_array_equal(mesh.vertices, hand.vertices * HALF_TURN.astype(np.float32))
    np.testing.assert_array_equal(mesh.faces, hand.faces)
    np.testing.assert_allclose(mesh.colors, hand.vertex_colors, atol=1e-6)
    np.testing.assert_allclose(mesh.std_mm, 1000 * hand.vertices_std, rtol=1e-6)
    np.testing.assert_array_equal(mesh.visible, hand.visible)


@pytest.mark.parametrize("name", ["COLOR_0", "_COLOR"])
def test_reader_knows_files_of_earlier_versions(hand, tmp_path, name):
    """They had vertex colors as one attribute of three numbers: rename and widen what is written now."""
    data = glb_bytes([hand])
    size = int.from_bytes(data[12:16], "little")
    document, buffer = json.loads(data[20 : 20 + size]), data[28 + size :]
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    for key in ("_RED", "_GREEN", "_BLUE"):
        del attributes[key]
    linear = (((hand.vertex_colors.astype(float) + 0.055) / 1.055) ** 2.4).astype(np.float32)
    attributes[name] = len(document["accessors"])
    view = len(document["bufferViews"])
    entry = {"bufferView": view, "componentType": 5126, "count": len(linear), "type": "VEC3"}
    document["accessors"].append(entry)
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(buffer), "byteLength": linear.nbytes})
    buffer += linear.tobytes()
    document["buffers"] = [{"byteLength": len(buffer)}]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(buffer), b"BIN\0") + buffer
    )
    (tmp_path / "old.glb").write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    (mesh,) = read_glb(tmp_path / "old.glb")
    np.testing.assert_allclose(mesh.colors, hand.vertex_colors, atol=1e-6)
