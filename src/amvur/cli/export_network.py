"""`amvur export-network`: from a checkpoint's weights to the ONNX network that inference runs."""

from __future__ import annotations

from pathlib import Path

from amvur.cli.options import ExportNetwork
from amvur.cli.terminal import say, tell
from amvur.errors import AmvurError, InputError, OutputError


def run_export_network(options: ExportNetwork) -> int:
    """Write the network and say where it is; returns 0.

    Raises `ModelFileError` for a checkpoint that cannot be used, and `OutputError` where nothing can be
    written or a file of another program has the name.
    """
    from amvur.whole_files import check_place, write_file

    if options.output is None:
        tell(*map(str, add_networks(options.checkpoint, options.hand_model)))
        return 0
    if options.output.suffix != ".onnx":
        raise InputError(f"--output wants the name of a file that ends with .onnx, found {options.output}.")
    check_place(options.output)
    from amvur.pretrained import networks_of

    say("writing and checking the network: half a minute")
    networks = networks_of(options.checkpoint, options.hand_model)
    if len(networks) > 1:
        raise InputError(f"{options.checkpoint} has {len(networks)} networks. Leave --output out.")
    (data,) = networks.values()
    _check_onnx(options.output)
    write_file(options.output, data)
    tell(str(options.output))
    return 0


def add_networks(folder: Path, hand_model: str | None = None) -> list[Path]:
    """Put its networks into a checkpoint's folder and return their files."""
    from amvur.checkpoint_folder import add_onnx
    from amvur.pretrained import networks_of

    say("writing and checking the network that reconstructing needs: half a minute")
    networks = networks_of(folder, hand_model)
    add_onnx(folder, networks)
    return [folder / name for name in networks]


def try_to_add_networks(folder: Path) -> None:
    """Do so at the end of a training, whose weights are safe whatever happens."""
    try:
        add_networks(folder)
    except AmvurError as error:
        say(f"no network for reconstructing: {error}", f"Try again: amvur export-network {folder}")


def _check_onnx(path: Path) -> None:
    """Raise `OutputError` for a file that is no network of ours: it would be overwritten."""
    import onnx

    if not path.exists():
        return
    try:
        own = onnx.load(str(path), load_external_data=False).producer_name == "amvur"
    except Exception:  # whatever protobuf raises
        own = False
    if not own:
        raise OutputError(f"{path} is no network of amvur, so it is not overwritten. Move it away.")
