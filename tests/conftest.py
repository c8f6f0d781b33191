"""Shared by all tests; being here also lets them import `factories` from this folder.

Turns on the checking of all shapes and types that `amvur`'s signatures and dataclasses state (jaxtyping
with beartype), which must come before anything of `amvur` is imported; `test_typing.py` proves it is on.
"""

import contextlib
import importlib.util
import pkgutil
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import install_import_hook

# numba compiles these functions and cannot see through a wrapper around them.
COMPILED = {"amvur._raster_numba"}


def _checked_modules():
    package = importlib.util.find_spec("amvur")
    names = {f"amvur.{module.name}" for module in pkgutil.iter_modules(package.submodule_search_locations)}
    return sorted(names - COMPILED)


with contextlib.suppress(ModuleNotFoundError):  # inference and its tests go without PyTorch
    import torch

    # Many small tensors: a second thread costs more than it gives, much more on a busy machine.
    torch.set_num_threads(1)

install_import_hook(_checked_modules(), "type_checker.checked")


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


@pytest.fixture(scope="session")
def mano(tmp_path_factory):
    """A made-up right MANO, as an .npz."""
    sys.path.append(str(Path(__file__).parent / "hand"))
    from mano_file import mano_arrays

    path = tmp_path_factory.mktemp("mano") / "MANO_RIGHT.npz"
    np.savez(path, **mano_arrays())
    return path
