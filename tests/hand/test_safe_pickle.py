"""The restricted unpickler: plain data come out right, and nothing that a pickle names is ever run."""

import base64
import builtins
import contextlib
import os
import pickle
import struct
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from limits import refused, within
from mano_file import mano_arrays, pickled, stand_in_chumpy
from scipy import sparse

from amvur.errors import InputError, ModelFileError
from amvur.hand.pickle_opcodes import PickleLimits
from amvur.hand.pickle_records import RecordError
from amvur.hand.safe_pickle import (
    MANO_ALLOWED,
    PLAIN_ALLOWED,
    TENSORS_ALLOWED,
    RefusedGlobalError,
    check_pickle,
    load_pickle,
    loads,
)

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def same(a, b):
    """Assert that two values are equal in all types and dtypes."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


METADATA = {
    "camMat": np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]]),
    "handJoints3D": np.arange(63, dtype=np.float32).reshape(21, 3),
    "objName": "cup",
    "objLabel": np.int64(3),
    "camIDList": ["0", "1", "é"],
    "handBoundingBox": [1, 2.5, True, None],
    "handPose": None,
    "contact": np.zeros((0, 3), np.uint8),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "text": np.array(["ab", "c"]),
    "scalar": np.float32(2.5),
    "bytes": b"\x00\xff",
    "set": {1, 2},
    "nested": {"tuple": (1, (2, [3]))},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metadata_round_trip(protocol):
    same(loads(pickle.dumps(METADATA, protocol), "meta.pkl"), METADATA)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_names_of_numpy_2(protocol):
    data = pickle.dumps(METADATA, protocol)
    if protocol >= 4:  # lengths are part of these texts
        for module in (b"numpy.core.multiarray", b"numpy.core.numeric"):
            data = data.replace(
                bytes([len(module)]) + module,
                bytes([len(module) + 1]) + module.replace(b".core", b"._core"),
            )
        data = data[:2] + data[11:]  # the frame's length no longer fits; frames may be left out
    else:
        data = data.replace(b"numpy.core.", b"numpy._core.")
    same(loads(data, "meta.pkl"), METADATA)


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(
        st.one_of(hnp.integer_dtypes(), hnp.floating_dtypes(sizes=(32, 64)), hnp.boolean_dtypes()),
        hnp.array_shapes(min_dims=0, min_side=0),
    ),
    st.sampled_from(PROTOCOLS),
)
def test_any_array_of_numbers_round_trips(array, protocol):
    same(
        loads(pickle.dumps([array, array.T], protocol), "x"),
        [array.astype(array.dtype.newbyteorder("=")), array.T.astype(array.dtype.newbyteorder("="))],
    )


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(JSON_LIKE, st.sampled_from(PROTOCOLS))
def test_any_plain_data_round_trip(value, protocol):
    same(loads(pickle.dumps(value, protocol), "x"), value)


def test_an_array_as_python_2_wrote_it():
    values = np.array([1.5, -2.0, 1e300])
    raw = values.tobytes()
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x03\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tb."
    )
    same(loads(data, "x"), values)


def test_shared_values_stay_shared_and_arrays_are_writable():
    array = np.arange(3.0)
    a, b = loads(pickle.dumps([array, array], 4), "x")
    assert a is b
    a[0] = 7


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sparse_matrices_and_chumpy(monkeypatch, protocol, rng):
    ch_class, select_class = stand_in_chumpy(monkeypatch)
    dense = rng.normal(size=(4, 7)) * (rng.uniform(size=(4, 7)) > 0.5)
    wide = rng.normal(size=(5, 3, 4))
    ch, select = ch_class(), select_class()
    ch.__dict__ = {"x": wide}
    indices = np.arange(60).reshape(5, 3, 4)[..., 1:3].ravel()
    select.__dict__ = {"a": ch, "idxs": indices, "preferred_shape": (5, 3, 2)}
    data = pickle.dumps([sparse.csc_matrix(dense), select, ch], protocol)
    matrix, selected, whole = loads(data, "x", MANO_ALLOWED)
    np.testing.assert_array_equal(matrix.toarray(), dense)
    np.testing.assert_array_equal(selected, wide[..., 1:3])
    np.testing.assert_array_equal(whole, wide)
    with pytest.raises(ModelFileError, match=r"is refused: it names '(chumpy|scipy)"):
        loads(data, "x", PLAIN_ALLOWED)


def test_the_old_place_of_csc_matrix():
    data = pickle.dumps(sparse.csc_matrix(np.eye(3)), 2).replace(b"scipy.sparse._csc", b"scipy.sparse.csc")
    np.testing.assert_array_equal(loads(data, "x", MANO_ALLOWED).toarray(), np.eye(3))


# --- what must not happen -------------------------------------------------------------------------


class Call:
    """Pickles as the call `function(*arguments)`, followed by a state if there is one."""

    def __init__(self, function, *arguments, state=None):
        self.function, self.arguments, self.state = function, arguments, state

    def __reduce__(self):
        call = (self.function, self.arguments)
        return call if self.state is None else (*call, self.state)


def short(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


def stack_global(module, name):
    return short(module) + short(name) + b"\x93"


def attacks(marker):
    """Pickles that make the file `marker` when Python's own unpickler reads them, by name."""
    command, code = f"touch '{marker}'", f"open({str(marker)!r}, 'w').close()"
    pop, run, done = b"0", b"\x85R", b"."
    text = short(command) + run + done
    plain = {
        "os.system": Call(os.system, command),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "in a list": [1, {"a": (Call(os.system, command),)}],
        "as a key": {Call(os.system, command): 1},
        "in an object array": np.array([Call(os.system, command), None], dtype=object),
        "as an array's state": Call(
            np.zeros(1).__reduce__()[0], np.ndarray, (0,), b"b", state=Call(os.system, command)
        ),
        "as a dtype's argument": Call(np.dtype, Call(os.system, command)),
        "open": Call(open, str(marker), "w"),
    }
    raw = {
        "posix.system by STACK_GLOBAL": b"\x80\x04" + stack_global("posix", "system") + text,
        "posix.system by GLOBAL": b"\x80\x02cposix\nsystem\n" + b"X" + struct.pack("<I", len(command))
        + command.encode() + run + done,
        "posix.system by INST": b"(S" + repr(command).encode() + b"\niposix\nsystem\n.",
        "posix.system by OBJ": b"\x80\x02(cposix\nsystem\nX" + struct.pack("<I", len(command))
        + command.encode() + b"o.",
        "a dotted name": b"\x80\x04" + stack_global("os", "path.os.system") + text,
        "a dotted name under an allowed module": b"\x80\x04" + stack_global("numpy", "os.system") + text,
        "a dotted name under an allowed class": b"\x80\x04"
        + stack_global("numpy", "ndarray.__class__.__base__.__subclasses__") + b")R" + pop
        + stack_global("posix", "system") + text,
        "numpy's runstring": b"\x80\x04" + stack_global("numpy.testing._private.utils", "runstring")
        + short(code) + b"}\x86R.",
        "getattr on a module": b"\x80\x04" + stack_global("builtins", "getattr")
        + stack_global("builtins", "__import__") + short("os") + run + short("system") + b"\x86R" + text,
    }  # fmt: skip
    return {**{name: pickle.dumps(value, 4) for name, value in plain.items()}, **raw}


NAMES = sorted(attacks("x"))
RUNS_ONLY_WITH_OLD_NUMPY = {"a dotted name under an allowed module", "numpy's runstring"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("allowed", [PLAIN_ALLOWED, MANO_ALLOWED], ids=["plain", "mano"])
def test_an_attack_is_refused_and_does_nothing(tmp_path, name, allowed):
    marker, path = tmp_path / "marker", tmp_path / "evil.pkl"
    path.write_bytes(attacks(marker)[name])
    with pytest.raises(ModelFileError, match=r"evil\.pkl is refused: it names '.+', .*Nothing in it was run"):
        load_pickle(path, allowed)
    assert not marker.exists()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RUNS_ONLY_WITH_OLD_NUMPY])
def test_the_attacks_are_real(tmp_path, name):
    """Python's own unpickler falls for them, so that the test above proves something."""
    marker = tmp_path / "marker"
    with contextlib.suppress(Exception):  # some fail afterwards
        pickle.loads(attacks(marker)[name])
    assert marker.exists()


def array_pickle(shape=(2,), spec="f8", data=b"\x00" * 16, kind=np.ndarray, state_dtype=None):
    """The pickle of an array with any of its parts replaced."""
    dtype = Call(np.dtype, spec, False, True, state=state_dtype or (3, "<", None, None, None, -1, -1, 0))
    make = np.zeros(1).__reduce__()[0]
    return pickle.dumps(Call(make, kind, (0,), b"b", state=(1, shape, dtype, False, data)), 4)


def test_the_array_pickle_itself_is_sound():
    same(loads(array_pickle(), "x"), np.zeros(2))


def test_an_array_of_a_class_that_is_not_numpys():
    with pytest.raises(ModelFileError, match=r"names 'builtins\.list'"):
        loads(array_pickle(kind=list), "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (3,)}, "in 16 bytes"),
        ({"shape": (2**40,)}, "shape"),
        ({"shape": (2**31 - 1,) * 4}, "in 16 bytes"),
        ({"shape": (-2, -1)}, "shape"),
        ({"shape": "ab"}, "shape"),
        ({"spec": "O8", "data": [1, 2]}, "not of numbers or text"),
        ({"spec": "V8"}, "not of numbers or text"),
        ({"spec": "f8,f8"}, "not of numbers or text"),
        ({"spec": [("a", "O")]}, "not of numbers or text"),
        ({"data": [1, 2]}, "contents are a list"),
        ({"data": 16}, "contents are a int"),
        ({"state_dtype": (3, "|", None, ("a",), {"a": 0}, 8, 1, 0)}, "array of records"),
        ({"state_dtype": (3, "x", None, None, None, -1, -1, 0)}, "malformed type"),
        ({"state_dtype": (3,)}, "malformed type"),
    ],
)
def test_an_array_with_impossible_parts(change, message):
    with pytest.raises(ModelFileError, match=message):
        loads(array_pickle(**change), "x")


ARRAY = stack_global("numpy", "ndarray")
MAKE = stack_global("numpy.core.multiarray", "_reconstruct")
OBJECT = stack_global("builtins", "object")
REBUILD = stack_global("copy_reg", "_reconstructor")
ENCODE = stack_global("_codecs", "encode")
STATE = b"}" + short("__call__") + ENCODE + b"s"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (MAKE + ARRAY + b"J\xff\xff\xff\x7f\x85C\x01b\x87R", "unknown kind"),  # an array of 2 GB
        (MAKE + MAKE + b"K\x00\x85C\x01b\x87R", "unknown kind"),
        (ARRAY + b"J\xff\xff\xff\x7f\x85R", "TypeError"),
        (ARRAY + b")\x81", "array without contents"),
        (ARRAY, "holds a type"),
        (ENCODE, "holds a EncodeLatin1"),
        (REBUILD + ENCODE + OBJECT + b"N\x87R", "unknown kind"),
        (REBUILD + ARRAY + ARRAY + b"N\x87R", "unknown kind"),
        (REBUILD + ARRAY + OBJECT + b"}\x87R", "unknown kind"),
        (REBUILD + OBJECT + OBJECT + b"N\x87R", "bare ObjectMarker"),
        (ENCODE + short("ab") + short("rot13") + b"\x86R", "codec"),
        (ENCODE + short("ab") + short("zlib_codec") + b"\x86R", "codec"),
        (ENCODE + STATE + b"b", "state to a function"),
        (ENCODE + b"N" + STATE + b"\x86b", "state to a function"),
        (ARRAY + STATE + b"b", "TypeError"),  # state for the class itself
        (stack_global("builtins", "bytes") + b"J\xff\xff\xff\x7f\x85R", "TypeError"),
        (stack_global("builtins", "set") + b"K\x05\x85R", "set of no list"),
        (b"J\x01\x00\x00\x00Q", "persistent id"),
        (b"\x82\x01", "extension code"),
        (b"]\x94h\x00a", "contains itself"),
        (b"N" * 30_000, "opcodes"),
        (b"Nr\xff\xff\xff\x7f", "impossible place"),
        (b"Np99999999\n", "impossible place"),
        (b"Np-5\n", "impossible place"),
        (b"\x8e" + struct.pack("<Q", 2**60), "cut short"),
        (b"\x96" + struct.pack("<Q", 2**60), "cut short"),
        (b"B" + struct.pack("<I", 2**32 - 1), "cut short"),
        (b"\xfe", "unknown opcode"),
        (b"R", "not a readable pickle"),
        (b"", "not a readable pickle"),
    ],
)
def test_other_misuse_is_refused(body, message):
    with pytest.raises(ModelFileError, match=message):
        loads(b"\x80\x04" + body + b".", "x")


def test_our_stand_ins_are_the_same_after_an_attack():
    before = dict(PLAIN_ALLOWED)
    for body in (ARRAY + STATE + b"b", ENCODE + STATE + b"b", ARRAY + b"N" + STATE + b"\x86b"):
        with pytest.raises(ModelFileError):
            loads(b"\x80\x04" + body + b".", "x")
    assert dict(PLAIN_ALLOWED) == before
    assert loads(pickle.dumps(b"\x00\xff", 2), "x") == b"\x00\xff"


def test_a_small_file_cannot_ask_for_large_arrays(monkeypatch):
    _, select_class = stand_in_chumpy(monkeypatch)
    indices, selected = np.zeros(20_000, dtype=np.int64), np.zeros(20_000)
    for _ in range(50):
        outer = select_class()
        outer.__dict__ = {"a": selected, "idxs": indices, "preferred_shape": (20_000,)}
        selected = outer
    data = pickle.dumps(selected, 2)
    assert loads(data, "x", MANO_ALLOWED).shape == (20_000,)
    with pytest.raises(ModelFileError, match="larger than allowed"):
        loads(data, "x", MANO_ALLOWED, limits=PickleLimits(array_bytes=2_000_000))


@pytest.mark.parametrize("indices", [[100], [-1000]])
def test_a_selection_beyond_its_array(monkeypatch, indices):
    _, select_class = stand_in_chumpy(monkeypatch)
    select = select_class()
    select.__dict__ = {"a": np.zeros(5), "idxs": np.array(indices), "preferred_shape": (1,)}
    with pytest.raises(ModelFileError, match="IndexError"):
        loads(pickle.dumps(select, 2), "x", MANO_ALLOWED)


@pytest.mark.parametrize("part", ["indices", "indptr"])
def test_a_sparse_matrix_that_points_outside(part):
    matrix = sparse.csc_matrix(np.eye(3))
    getattr(matrix, part)[-1] = 1000
    with pytest.raises(ModelFileError, match=r"ind(ices|ex values) must be|index pointer"):
        loads(pickle.dumps(matrix, 2), "x", MANO_ALLOWED)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\x80\x04" + tail + b"."))
def test_noise_is_refused_or_harmless(data):
    try:
        value = loads(data, "x", MANO_ALLOWED)
    except ModelFileError:
        return
    assert not isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.ModuleType)
    assert value is not builtins


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_cut_anywhere_gives_a_clear_error(protocol):
    data = pickle.dumps(METADATA, protocol)
    for end in [0, 1, 2, *range(3, len(data), max(1, len(data) // 60)), len(data) - 1]:
        with pytest.raises(ModelFileError, match="cut short"):
            loads(data[:end], "x")


def test_messages_name_the_file_and_the_remedy(tmp_path):
    path = tmp_path / "model.pkl"
    with pytest.raises(ModelFileError, match=r"Cannot read .*model\.pkl.*Check the path"):
        load_pickle(path)
    path.write_bytes(pickle.dumps(os.system))
    with pytest.raises(ModelFileError, match=r"model\.pkl.*'posix\.system'.*Ask your teacher"):
        load_pickle(path, remedy="Ask your teacher.")
    with pytest.raises(InputError):
        load_pickle(path, error=InputError)
    with pytest.raises(ModelFileError, match=r"model\.pkl is not read.*bytes, more than the 5"):
        load_pickle(path, limits=PickleLimits(file_bytes=5))
    path.write_text(base64.b64encode(b"<html>not found</html>").decode())
    with pytest.raises(ModelFileError, match="not a readable pickle"):
        load_pickle(path)


def test_deep_nesting_is_an_error_not_a_crash():
    with pytest.raises(ModelFileError):
        loads(b"\x80\x04" + b"]" * 15_000 + b"a" * 14_999 + b".", "x", limits=PickleLimits(opcodes=10**6))
    with pytest.raises(ModelFileError):
        loads(b"\x80\x04}" + b"N" + b"\x85" * 19_000 + b"Ns.", "x")


# --- what would take for ever, or all memory -----------------------------------------------------


def doubled(times):
    """Opcodes of a tuple of two references to the tuple before, `times` over: 2^times values in few bytes."""
    return b")\x94" + b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86\x94" for n in range(times))


def only(times):
    """The same, leaving just the last on the stack."""
    return b"(" + doubled(times) + b"1h" + bytes([times])


SET = stack_global("builtins", "set")
DTYPE = stack_global("numpy", "dtype")
SCALAR = stack_global("numpy.core.multiarray", "scalar")
DEEP = only(60)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"}" + DEEP + b"Ns", "a tuple as a key"),
        (b"}(" + DEEP + b"Nu", "a tuple as a key"),
        (b"(" + DEEP + b"Nd", "a tuple as a key"),
        (b"\x8f(" + DEEP + b"\x90", "a tuple as a key"),
        (b"(" + DEEP + b"\x91", "a tuple as a key"),
        (SET + b"](" + DEEP + b"e\x85R", "a tuple as a key"),
        (SET + b"]" + DEEP + b"a\x85R", "a tuple as a key"),
        (b"}" + b"(\x91" + b"Ns", "a frozenset as a key"),
        (b"}" + DTYPE + b")\x81Ns", "a DtypeRecord as a key"),
        (MAKE + ARRAY + DEEP + b"C\x01b\x87R", "unknown kind"),
        (MAKE + DEEP + b"K\x00\x85C\x01b\x87R", "unknown kind"),
        (ENCODE + short("ab") + DEEP + b"\x86R", "codec"),
        (ENCODE + DEEP + short("latin1") + b"\x86R", "codec"),
        (SCALAR + DTYPE + DEEP + b"\x85RC\x08abcdefgh\x86R", "not of numbers or text"),
        (SCALAR + DTYPE + short("f8") + b"\x85R" + DEEP + b"\x86R", "contents are a tuple"),
        (DEEP, "larger than allowed when written out"),
        (b"]" + DEEP + b"a", "larger than allowed when written out"),
        (b"}K\x01" + DEEP + b"s", "larger than allowed when written out"),
    ],
)
def test_nothing_nested_is_hashed_compared_printed_or_returned(body, message):
    data = b"\x80\x04" + body + b"."
    assert len(data) < 500
    with refused(ModelFileError, rf"x is refused: .*{message}"):
        loads(data, "x", MANO_ALLOWED)


@pytest.mark.parametrize("part", ["shape", "spec", "state_dtype", "data"])
def test_a_message_about_an_array_is_short(part):
    sound = array_pickle(**{part: "PLACE"}) if part != "state_dtype" else array_pickle(state_dtype="PLACE")
    data = sound.replace(short("PLACE"), DEEP).replace(b"\x95", b"\x95", 1)
    data = data[:2] + data[11:]  # without the frame, whose length no longer fits
    with refused(ModelFileError, "x is "):
        loads(data, "x")


def test_values_that_are_shared_a_little_are_fine():
    data = b"\x80\x04" + only(10) + b"."
    value = loads(data, "x")
    for _ in range(10):
        assert value[0] is value[1]
        value = value[0]


@pytest.mark.parametrize(
    "number",
    [
        b"\x8b" + struct.pack("<i", 10**7) + b"\x7f" * 10**7, b"\x8a\xff" + b"\x7f" * 255 * 2,
        b"I" + b"7" * 10**6 + b"\n", b"L0x" + b"7" * 10**6 + b"L\n", b"F" + b"7" * 10**6 + b"\n", b"p" + b"7" * 10**6 + b"\n",
    ],
    ids=["LONG4", "LONG1", "INT", "LONG", "FLOAT", "PUT"],
)  # fmt: skip
def test_long_numbers_are_refused_unread(number):
    with refused(ModelFileError, "x is "):
        loads(b"\x80\x04" + number + b".", "x")


def test_numbers_of_many_digits_are_numbers():
    assert loads(pickle.dumps(2**500), "x") == 2**500


LONG = b"X" + struct.pack("<I", 2 * 10**6) + b"y\0\0\0" * 500_000 + b"\x94"  # memo 0


@pytest.mark.parametrize(
    ("each", "count"),
    [
        (ENCODE + b"h\x00" + short("latin1") + b"\x86R0", 1500),
        (SCALAR + DTYPE + short("U500000") + b"\x85Rh\x00\x86R0", 1500),
    ],
    ids=["encode", "text"],
)
def test_calls_that_copy_a_long_text_are_paid_for(each, count):
    data = b"\x80\x02" + LONG + each * count + b"N."
    with refused(ModelFileError, "its calls make more than is allowed", megabytes=40):
        loads(data, "x", limits=PickleLimits(array_bytes=10**8))


def test_sets_of_one_list_over_and_over_are_paid_for():
    data = b"\x80\x04](" + b"K\x01" * 4000 + b"e\x94" + (SET + b"h\x00\x85R") * 1500 + b"N."
    with refused(ModelFileError, "its calls make more than is allowed", megabytes=60):
        loads(data, "x", limits=PickleLimits(array_bytes=10**7))


@pytest.mark.parametrize("kind", ["S900000", "U225000"])
def test_a_selection_of_long_texts_is_refused_before_it_is_made(monkeypatch, kind):
    _, select_class = stand_in_chumpy(monkeypatch)
    select = select_class()
    text = np.array(["x"]).astype(kind)
    select.__dict__ = {"a": text, "idxs": np.zeros(1000, np.int64), "preferred_shape": (1000,)}
    data = pickle.dumps(select, 2)
    assert len(data) < 3 * 10**6
    with refused(ModelFileError, "arrays are larger than allowed", megabytes=40):
        loads(data, "x", MANO_ALLOWED)


def test_an_empty_array_of_nothing_is_refused():
    with refused(ModelFileError, "items without a size", megabytes=10):
        loads(array_pickle(shape=(2**31 - 1,), spec="S0", data=b""), "x")


def test_one_text_named_often_does_not_grow():
    data = b"\x80\x02" + b"(" + LONG + b"h\x00" * 5000 + b"l."
    with refused(ModelFileError, "larger than allowed when written out", megabytes=40):
        loads(data, "x")


def test_state_is_for_records_only():
    with refused(ModelFileError, "it gives state to a list"):
        loads(b"\x80\x02]}b.", "x")


def test_a_file_of_mano_is_read_quickly(monkeypatch):
    data = pickled(mano_arrays(), stand_in_chumpy(monkeypatch))
    with within(1.0, 60):
        assert len(loads(data, "x", MANO_ALLOWED)) > 10


def test_a_pickle_of_torch_is_looked_at_before_torch_reads_it():
    named = stack_global("collections", "OrderedDict") + b")R"
    check_pickle(b"\x80\x04" + named + short("a") + b"Ns}b.", TENSORS_ALLOWED)
    with pytest.raises(RecordError, match="a tuple as a key"), within(1.0):
        check_pickle(b"\x80\x04" + named + DEEP + b"Ns.", TENSORS_ALLOWED)
    with pytest.raises(RefusedGlobalError, match=r"posix\.system"):
        check_pickle(pickle.dumps(os.system), TENSORS_ALLOWED)


@pytest.mark.parametrize("spec", ["U2", "<U2", ">U2"])
def test_a_text_of_no_letters_is_refused(spec):
    """numpy takes it, and fails where it is printed."""
    code = 0x110000.to_bytes(4, "big" if spec[0] == ">" else "little")
    data = array_pickle(
        shape=(1,),
        spec="U2",
        data=code + bytes(4),
        state_dtype=(3, spec[0] if spec[0] in "<>" else "<", None, None, None, 8, 4, 8),
    )
    with refused(ModelFileError, "no letters"):
        loads(data, "x")
