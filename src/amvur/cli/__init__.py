"""The command line: `amvur reconstruct | view | export | synthesize | label | train | evaluate |
export-network | info`.

Nothing heavy is imported here, so that `amvur --help` answers at once.

Exit status: 0 when every file was processed, 1 when some failed (the others are written), 2 when
nothing was processed because the request itself cannot be carried out (wrong usage, an unusable
hand model, detector or device, an output folder that cannot be written to), 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import tyro

from amvur.cli.options import (
    Evaluate,
    Export,
    ExportNetwork,
    Info,
    Label,
    Reconstruct,
    Synthesize,
    Train,
    View,
)
from amvur.cli.terminal import StreamError, escaped, prepare_streams, say, tell, told_warnings
from amvur.errors import AmvurError, InputError

Command = (
    Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")]
    | Annotated[View, tyro.conf.subcommand("view")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Synthesize, tyro.conf.subcommand("synthesize")]
    | Annotated[Label, tyro.conf.subcommand("label")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[ExportNetwork, tyro.conf.subcommand("export-network")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    prepare_streams()
    try:
        with told_warnings():
            status = _main(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except AmvurError as error:
        say(*map(str, error.args))
        status = 2
    except StreamError as error:
        say(str(error))
        status = 1
    except KeyboardInterrupt:
        say("stopped. Files that were being written are discarded.")
        status = 130
    sys.exit(status)


def _main(given: list[str]) -> int:
    """Read the arguments, carry out what they ask for and return the exit status."""
    empty = [argument for argument in given if re.fullmatch(r"(--[\w-]+=)?", argument)]
    if empty:
        raise InputError(
            f"An argument is empty ({empty[0]!r}: a variable that was not set?). This folder's name is ."
        )
    if given == ["--version"]:
        tell(f"amvur {version('amvur')}")
        return 0
    with escaped(*given):
        command: Command = tyro.cli(
            Command,
            prog="amvur",
            description="A 3D hand with texture and calibrated uncertainty from one photograph.",
            args=given,
            config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes),
        )
    return run(command)


_TRAINING = ("torch", "torchvision", "timm", "lightning_fabric", "roma", "safetensors", "onnx", "onnxscript")
"""Packages of the extra `train`."""


def run(command: Command) -> int:
    """Carry out a command and return its exit status; `InputError` where packages for it are missing."""
    try:
        return _run(command)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _TRAINING:
            raise
        raise InputError(
            f"This needs {error.name}, which is not installed. Training and its kin bring it: "
            "pip install 'amvur[train]'."
        ) from error


def _run(command: Command) -> int:
    """Carry out a command and return its exit status."""
    if isinstance(command, Reconstruct):
        from amvur.cli.reconstruct import run_reconstruct

        return run_reconstruct(command)
    if isinstance(command, View):
        from amvur.viewer.server import view

        view(command.path, command.host, command.port, tell)
        return 0
    if isinstance(command, Export):
        from amvur.cli.convert import run_export

        return run_export(command)
    if isinstance(command, Synthesize):
        from amvur.cli.synthesize import run_synthesize

        return run_synthesize(command)
    if isinstance(command, Evaluate):
        from amvur.cli.evaluate import run_evaluate

        return run_evaluate(command)
    if isinstance(command, Label):
        from amvur.cli.label import run_label

        return run_label(command)
    if isinstance(command, Train):
        from amvur.cli.train import run_train

        return run_train(command)
    if isinstance(command, ExportNetwork):
        from amvur.cli.export_network import run_export_network

        return run_export_network(command)
    from amvur.cli.info import run_info

    return run_info()
