"""MANO from made-up files, against an independent forward pass; no file of MANO is needed."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mano_file import (
    FLIP,
    OPENPOSE_FROM_MANO_AND_TIPS,
    PARENTS,
    TIPS,
    mano_arrays,
    mirrored,
    pickled,
    stand_in_chumpy,
)
from scipy.spatial.transform import Rotation

torch = pytest.importorskip("torch")

from amvur.errors import ModelFileError
from amvur.hand.loading import load_hand_model
from amvur.hand.mano import (
    FREIHAND_MANO,
    HO3D_MANO,
    ManoPca,
    ManoSettings,
    convert_mano,
    load_mano,
    load_mano_pca,
    tip_vertices,
)
from amvur.hand.model import HandModel
from amvur.hand.model_arrays import mirror_arrays

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture
def chumpy(monkeypatch):
    return stand_in_chumpy(monkeypatch)


@pytest.fixture
def right(tmp_path, chumpy):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickled(mano_arrays(), chumpy))
    return path


@pytest.fixture
def right_model(right):
    return HandModel(load_mano(right), torch.float64)


def random_parameters(rng):
    return rng.normal(size=3), rng.normal(size=45) * 0.4, rng.normal(size=10), rng.normal(size=3)


def forward_by_loops(raw, orient, pose, betas, transl, *, flat, tips):
    """MANO written out vertex by vertex after `formats.md` §3; returns vertices, chain and regressed joints."""
    shaped = np.array([raw["v_template"][v] + raw["shapedirs"][v] @ betas for v in range(778)])
    joints = np.array([sum(raw["J_regressor"][j, v] * shaped[v] for v in range(778)) for j in range(16)])
    pose = pose if flat else pose + raw["hands_mean"]
    rotations = [Rotation.from_rotvec(r).as_matrix() for r in np.concatenate([orient, pose]).reshape(16, 3)]
    feature = [
        r[row, column] - (row == column) for r in rotations[1:] for row in range(3) for column in range(3)
    ]
    posed = np.array([shaped[v] + raw["posedirs"][v] @ np.array(feature) for v in range(778)])
    chain = []
    for k in range(16):
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = rotations[k], joints[k] - (joints[PARENTS[k]] if k else 0)
        chain.append(chain[PARENTS[k]] @ step if k else step)
    skinned = np.zeros((778, 3))
    for k in range(16):
        moved = (posed - joints[k]) @ chain[k][:3, :3].T + chain[k][:3, 3]
        skinned += raw["weights"][:, k : k + 1] * moved
    skinned += transl
    ends = [skinned[v] for v in tips]
    posed_joints = np.array([*(matrix[:3, 3] + transl for matrix in chain), *ends])
    regressed = np.array([*(raw["J_regressor"] @ skinned), *ends])
    return skinned, posed_joints[OPENPOSE_FROM_MANO_AND_TIPS], regressed[OPENPOSE_FROM_MANO_AND_TIPS]


@pytest.mark.parametrize("tips", TIPS)
@pytest.mark.parametrize("flat", [True, False])
def test_forward_is_manos(right, rng, flat, tips):
    raw = mano_arrays()
    model = HandModel(load_mano(right, settings=ManoSettings(flat, tips)), torch.float64)
    parameters = random_parameters(rng)
    vertices, chain, regressed = forward_by_loops(raw, *parameters, flat=flat, tips=TIPS[tips])
    mesh = model(*(torch.as_tensor(p) for p in parameters))
    np.testing.assert_allclose(mesh.vertices, vertices, atol=1e-10)
    np.testing.assert_allclose(mesh.joints, chain, atol=1e-10)
    np.testing.assert_allclose(model.regress_joints(mesh.vertices), regressed, atol=1e-10)
    assert np.abs(chain - regressed).max() > 1e-3  # the two definitions are two


def test_float32_is_close(right, right_model, rng):
    parameters = [torch.as_tensor(p) for p in random_parameters(rng)]
    mesh = HandModel(load_mano(right))(*(p.float() for p in parameters))
    np.testing.assert_allclose(mesh.vertices, right_model(*parameters).vertices, atol=2e-6)


def test_both_joint_definitions_agree_at_the_rest_pose(right):
    model = HandModel(load_mano(right, settings=HO3D_MANO), torch.float64)
    betas = torch.linspace(-1, 1, 10, dtype=torch.float64)
    mesh = model(torch.zeros(3).double(), torch.zeros(45).double(), betas)
    np.testing.assert_allclose(mesh.joints, model.regress_joints(mesh.vertices), atol=1e-12)
    np.testing.assert_allclose(mesh.joints, mesh.rest_joints, atol=1e-12)


def test_a_flat_pose_is_the_relative_pose_plus_the_mean(right, right_model, rng):
    orient, pose, betas, transl = (torch.as_tensor(p) for p in random_parameters(rng))
    flat = HandModel(load_mano(right, settings=ManoSettings(flat_hand_mean=True)), torch.float64)
    relative = pose - torch.as_tensor(mano_arrays()["hands_mean"])
    ours = right_model(orient, relative, betas, transl).vertices
    np.testing.assert_allclose(ours, flat(orient, pose, betas, transl).vertices, atol=1e-12)


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol(tmp_path, chumpy, protocol):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickled(mano_arrays(), chumpy, protocol))
    arrays, raw = load_mano(path), mano_arrays()
    np.testing.assert_array_equal(arrays.shapedirs, raw["shapedirs"])
    np.testing.assert_array_equal(arrays.posedirs, raw["posedirs"])
    np.testing.assert_array_equal(arrays.faces, raw["f"])
    np.testing.assert_array_equal(arrays.pose_mean, raw["hands_mean"])
    assert arrays.name == "MANO_RIGHT.pkl"
    assert len(arrays.sha256) == 64


def test_principal_components(right, rng):
    pca, raw = load_mano_pca(right), mano_arrays()
    few = rng.normal(size=(2, 4, 6))
    expected = sum(few[..., i : i + 1] * raw["hands_components"][i] for i in range(6))
    np.testing.assert_allclose(pca.axis_angle(torch.as_tensor(few)), expected, atol=1e-14)
    np.testing.assert_array_equal(pca.mean, raw["hands_mean"])
    assert pca.axis_angle(torch.zeros(3, 45)).dtype == torch.float32


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(1, 45))
def test_components_are_linear_and_lose_nothing(seed, count):
    rng = np.random.default_rng(seed)
    components, _ = np.linalg.qr(rng.normal(size=(45, 45)))
    pca = ManoPca(components, np.zeros(45))
    a, b = (torch.as_tensor(rng.normal(size=(3, count))) for _ in range(2))
    np.testing.assert_allclose(
        pca.axis_angle(a + 2 * b), pca.axis_angle(a) + 2 * pca.axis_angle(b), atol=1e-12
    )
    padded = torch.cat([a, torch.zeros(3, 45 - count, dtype=a.dtype)], -1)
    np.testing.assert_allclose(pca.axis_angle(a), pca.axis_angle(padded), atol=1e-14)
    np.testing.assert_allclose(pca.axis_angle(padded) @ components.T, padded, atol=1e-12)


def test_tip_tables():
    for name, expected in TIPS.items():
        assert tip_vertices(name, "right") == expected
    assert tip_vertices("manopth", "left") == (745, 317, 445, 556, 673)
    assert tip_vertices("freihand", "left") == TIPS["freihand"]


# --- sides ----------------------------------------------------------------------------------------


def assert_same_hand(ours, expected):
    """Compare all arrays; faces may begin at another corner."""
    assert ours.side == expected.side
    for key in ("v_template", "shapedirs", "posedirs", "lbs_weights", "joint_template", "joint_shapedirs"):
        np.testing.assert_allclose(getattr(ours, key), getattr(expected, key), atol=1e-14, err_msg=key)
    for key in ("joint_regressor", "pose_axes", "pose_limits", "rest_angles", "pose_mean", "faces"):
        np.testing.assert_allclose(getattr(ours, key), getattr(expected, key), atol=1e-12, err_msg=key)


def test_left_file_with_the_distributed_defect_is_the_mirrored_right_hand(tmp_path, right, chumpy):
    path = tmp_path / "MANO_LEFT.pkl"
    path.write_bytes(pickled(mirrored(mano_arrays(), defect=True), chumpy))
    assert_same_hand(load_mano(path), mirror_arrays(load_mano(right)))


def test_left_file_that_was_mended(tmp_path, right, chumpy):
    path = tmp_path / "MANO_LEFT.pkl"
    path.write_bytes(pickled(mirrored(mano_arrays(), defect=False), chumpy))
    mended = load_mano(path, settings=ManoSettings(fix_left_shapedirs=False))
    assert_same_hand(mended, mirror_arrays(load_mano(right)))


def test_mirror_twice_is_the_identity(right):
    arrays = load_mano(right)
    assert_same_hand(mirror_arrays(mirror_arrays(arrays)), arrays)


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_mirrored_parameters_give_the_mirrored_mesh(random_arrays_of_mano, seed):
    rng = np.random.default_rng(seed)
    orient, pose, betas, transl = random_parameters(rng)
    model = HandModel(random_arrays_of_mano, torch.float64)
    other = HandModel(mirror_arrays(random_arrays_of_mano), torch.float64)
    mesh = model(*(torch.as_tensor(p) for p in (orient, pose, betas, transl)))
    flipped = (orient * -FLIP, pose * np.tile(-FLIP, 15), betas, transl * FLIP)
    mirror = other(*(torch.as_tensor(p) for p in flipped))
    np.testing.assert_allclose(mirror.vertices, mesh.vertices * torch.as_tensor(FLIP), atol=1e-12)
    np.testing.assert_allclose(mirror.joints, mesh.joints * torch.as_tensor(FLIP), atol=1e-12)
    regressed = other.regress_joints(mirror.vertices)
    np.testing.assert_allclose(
        regressed, model.regress_joints(mesh.vertices) * torch.as_tensor(FLIP), atol=1e-12
    )


@pytest.fixture(scope="module")
def random_arrays_of_mano(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("mano") / "MANO_RIGHT.pkl"
        path.write_bytes(pickled(mano_arrays(), stand_in_chumpy(patch)))
        return load_mano(path)


def test_the_side_comes_from_the_name_or_the_curl_or_the_caller(tmp_path, chumpy):
    raw = mano_arrays()
    for name, content, side in (
        ("mano_right_v1.2.pkl", raw, "right"),
        ("Mano_Left.pkl", raw, "left"),
        ("hand.pkl", raw, "right"),
        ("hand.pkl", mirrored(raw), "left"),
        ("left_or_right.pkl", mirrored(raw), "left"),
    ):
        path = tmp_path / name
        path.write_bytes(pickled(content, chumpy))
        assert load_mano(path).side == side
    assert load_mano(path, side="right").side == "right"
    path.write_bytes(pickled({**raw, "hands_mean": np.zeros(45)}, chumpy))
    with pytest.raises(ModelFileError, match=r"left_or_right\.pkl is a left or a right hand. Name the side"):
        load_mano(path)


# --- load_hand_model ------------------------------------------------------------------------------


def test_a_right_file_alone_serves_both_sides(right):
    assert_same_hand(load_hand_model(str(right), "right"), load_mano(right))
    assert_same_hand(load_hand_model(right, "left"), mirror_arrays(load_mano(right)))


def test_a_left_file_alone_serves_both_sides(tmp_path, chumpy):
    path = tmp_path / "MANO_LEFT.pkl"
    path.write_bytes(pickled(mirrored(mano_arrays()), chumpy))
    assert_same_hand(load_hand_model(path, "right"), mirror_arrays(load_mano(path)))


def test_the_other_file_beside_is_taken(right, chumpy):
    raw = mano_arrays(seed=1)
    right.with_name("MANO_LEFT.pkl").write_bytes(pickled(mirrored(raw), chumpy))
    ours = load_hand_model(right, "left")
    assert ours.name == "MANO_LEFT.pkl"
    np.testing.assert_array_equal(ours.v_template, raw["v_template"] * FLIP)
    assert load_hand_model(right.with_name("MANO_LEFT.pkl"), "right").name == "MANO_RIGHT.pkl"


def test_settings_reach_mano(right):
    ours = load_hand_model(right, "right", HO3D_MANO)
    assert not ours.pose_mean.any()
    assert ours.tip_vertices.tolist() == [[tip] for tip in TIPS["ho3d"]]


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(ModelFileError, match=r"found no file .*nothing\.pkl. Give 'open' or"):
        load_hand_model(tmp_path / "nothing.pkl")


def test_npz_made_once(tmp_path, right):
    convert_mano(right, tmp_path / "mano_right.npz")
    with np.load(tmp_path / "mano_right.npz", allow_pickle=False) as data:
        assert "shapedirs" in data.files
    assert_same_hand(load_mano(tmp_path / "mano_right.npz"), load_mano(right))
    (tmp_path / "mano_right.npz").rename(tmp_path / "MANO_RIGHT.NPZ")
    assert_same_hand(load_mano(tmp_path / "MANO_RIGHT.NPZ"), load_mano(right))


# --- wrong files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"posedirs": None}, r"lacks MANO's 'posedirs'; it has \['J'"),
        (
            {"posedirs": np.zeros((778, 3, 207))},
            r"'posedirs' should be \(778, 3, 135\), found \(778, 3, 207\)",
        ),
        ({"weights": [[1.0]]}, r"'weights' should be \(778, 16\), found None"),
        ({"v_template": np.zeros((6890, 3))}, r"is a SMPL or SMPL-H body \(\(6890, 3\) vertices\), not MANO"),
        ({"v_template": np.zeros((10475, 3))}, "is an SMPL-X body"),
        ({"v_template": np.zeros((1234, 3))}, "is another model"),
        ({"v_template": np.zeros(())}, "is another model"),
        ({"v_template": np.full((778, 3), np.nan)}, "'v_template' should hold finite numbers"),
        ({"f": np.zeros((1538, 3))}, "'f' should hold integers"),
        ({"f": np.full((1538, 3), 778)}, "faces name vertices beyond 778"),
        ({"kintree_table": np.zeros((2, 16), np.uint32)}, "another skeleton"),
    ],
)
def test_wrong_contents_are_explained(tmp_path, chumpy, change, message):
    raw = {**mano_arrays(), **change}
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(pickled({key: value for key, value in raw.items() if value is not None}, chumpy))
    with pytest.raises(ModelFileError, match=rf"MANO_RIGHT\.pkl.*{message}.*or use the open hand"):
        load_mano(path)


@pytest.mark.parametrize("suffix", ["pkl", "npz"])
def test_other_files_are_explained(tmp_path, right, suffix):
    path = tmp_path / f"right.{suffix}"
    for content in (b"", b"version https://git-lfs.github.com/spec/v1\n", right.read_bytes()[:5000]):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=rf"right\.{suffix}.*or use the open hand"):
            load_mano(path)
    with pytest.raises(ModelFileError, match=r"nothing"):
        load_mano(tmp_path / f"nothing.{suffix}")
    path = tmp_path / "list_right.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ModelFileError, match="holds a list, not MANO's dictionary"):
        load_mano(path)


def test_an_npz_with_objects_is_refused(tmp_path, right):
    path = tmp_path / "right.npz"
    np.savez(path, v_template=np.array([{}], dtype=object))
    with pytest.raises(ModelFileError, match=r"right\.npz is .*not an \.npz of plain arrays"):
        load_mano(path)


def test_unknown_tips():
    with pytest.raises(Exception, match=r"tips|Choose one of"):
        tip_vertices("elbow", "right")


def test_the_default_is_freihands():
    assert ManoSettings() == FREIHAND_MANO
