"""The options of the commands, as tyro shows them. No heavy imports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

MeshFormat = Literal["glb", "obj", "ply"]


@dataclass(frozen=True)
class Reconstruct:
    """Reconstruct every hand in photographs: mesh, joints, uncertainty, overlay picture.

    Writes STEM.json, STEM_overlay.png and, per hand, STEM_0.glb, STEM_1.glb, ... into the output
    folder; results of an earlier run on the same photograph are replaced as a whole.
    """

    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="PATH...")]
    """Photographs, or folders of photographs."""
    output: Path = Path("output")
    """Folder for the results; made if missing."""
    detector: str = "mediapipe"
    """mediapipe, none (then give --box), or the path of a hand_landmarker.task file."""
    box: Annotated[tuple[float, float, float, float] | None, arg(metavar="X0 Y0 X1 Y1")] = None
    """Where the hand is, in pixels of the displayed photograph: left, top, right, bottom."""
    side: Literal["auto", "left", "right"] = "auto"
    """Which hand it is, where the detector should not decide."""
    intrinsics: Annotated[tuple[float, float, float, float] | None, arg(metavar="FX FY CX CY")] = None
    """The camera in pixels of the displayed photograph: focal lengths and principal point."""
    fov: Annotated[float | None, arg(metavar="DEG")] = None
    """The camera's field of view over the longer side of the photograph, in degrees."""
    hand_model: str = "open"
    """open, or the path of your own MANO file (.pkl)."""
    checkpoint: str = "default"
    """default, none, or a folder with trained weights."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    texture: Literal["auto", "sampled", "regressed"] = "auto"
    """Colors of the skin: regressed (by a trained head, with uncertainty), sampled (from the photograph and
    completed over the surface), or auto: regressed for the open hand, sampled for others."""
    uv_texture: Annotated[int | None, arg(metavar="PX")] = None
    """Also put a texture picture of PX x PX pixels into the GLB (the open hand only)."""
    format: tuple[MeshFormat, ...] = ("glb",)
    """Kinds of mesh files to write; the JSON names the first."""


@dataclass(frozen=True)
class View:
    """Show a result (.glb or .json) in the browser."""

    path: Annotated[Positional[Path], arg(metavar="FILE.glb|FILE.json")]
    """The file to show."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on; the next free one is taken if it is in use."""


@dataclass(frozen=True)
class Export:
    """Convert results to other mesh files: a report (.json, all its hands) or a single .glb."""

    path: Annotated[Positional[Path], arg(metavar="IN.json|IN.glb")]
    """A file that `amvur reconstruct` wrote."""
    format: tuple[Literal["obj", "ply"], ...] = ("obj",)
    """Kinds of mesh files to write."""
    output: Path | None = None
    """Folder for the files; by default that of the input."""


@dataclass(frozen=True)
class Synthesize:
    """Render synthetic hands with exact labels into shards for training (WebDataset).

    Writes shard-000000.tar, ... with manifest.json, statistics.json and contact_sheet.png. The same
    options give the same files; an interrupted run is continued by the same command.
    """

    output: Path
    """Folder for the set; made if missing. A set of other options in it is never overwritten."""
    count: int | None = None
    """Number of pictures. A finished set can be continued to a larger number."""
    seed: int | None = None
    """What the set depends on: other seeds give other pictures. 0 by default."""
    size: int = 224
    """Width and height of the pictures in pixels."""
    backgrounds: Path | None = None
    """A folder with photographs to put behind the hands; otherwise backgrounds are drawn."""
    hand_model: str = "open"
    """open, or the path of your own MANO file (.pkl)."""
    shard_size: int = 1000
    """Pictures in a shard."""
    image_format: Literal["jpg", "png"] | None = None
    """jpg (quality 95, full-resolution chroma; the default) or png (lossless, three times the size)."""
    workers: int = 0
    """Processes that render; 0 renders in this one."""
    benchmark: Literal["synth-v1"] | None = None
    """Write a benchmark set instead, which is never to be trained on; count, seed and all are its own."""


@dataclass(frozen=True)
class Evaluate:
    """Score a trained network on a data set, or any method's prediction file as the official evaluations do.

    A network: --checkpoint DIR --data synth-v1|FOLDER --output DIR. Predictions are exported first, then
    scored; the same command again goes on with an interrupted export or scores anew. Writes results.json
    and prints a table. With --reconstruct the hands are those of `amvur reconstruct`.

    A file: --protocol freihand|ho3d --predictions FILE --ground-truth DIR. Prints one JSON object with the
    official keys: mean errors in centimetres, areas and F-scores from 0 to 1.
    """

    checkpoint: str | None = None
    """default, or a folder with trained weights; with --reconstruct also none."""
    reconstruct: bool = False
    """Score what `amvur reconstruct` makes of hands in their boxes: detector, network and fit together."""
    data: Annotated[str | None, arg(metavar="synth-v1|FOLDER")] = None
    """synth-v1, or the folder of FreiHAND, HO3D v2 or v3, own labels, or of `amvur synthesize`."""
    split: str = "evaluation"
    """Which part of the data set: evaluation or training."""
    output: Annotated[Path | None, arg(metavar="DIR|FILE")] = None
    """Folder of predictions and results; with --protocol a file for the scores."""
    limit: int | None = None
    """Take the first samples only."""
    batch_size: int = 32
    """Pictures that the network sees at once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    hand_model: str | None = None
    """Path of the MANO file: to reconstruct with, or that the network was trained with, if it was moved."""
    joints_only: bool = False
    """Export and score no vertices."""
    cache: Annotated[Path | None, arg(metavar="DIR")] = None
    """Render synth-v1 once into this folder, for this and other checkpoints (0.3 GB)."""
    workers: int = 0
    """Processes that render the cache; 0 renders in this one."""
    submission: Annotated[Path | None, arg(metavar="pred.zip")] = None
    """Also write what the data set's online evaluation accepts (MANO networks only)."""
    json: bool = False
    """Print results.json instead of the table."""
    protocol: Literal["freihand", "ho3d"] | None = None
    """Whose official evaluation of a file: FreiHAND's, or that of HO3D v2 and v3."""
    predictions: Annotated[Path | None, arg(metavar="pred.json|pred.zip")] = None
    """The predictions, [joints, vertices] of all samples in the dataset's order."""
    ground_truth: Annotated[Path | None, arg(metavar="DIR")] = None
    """The folder with evaluation_xyz.json and evaluation_verts.json."""


@dataclass(frozen=True)
class Label:
    """Label your own photographs with the detector's 2D joints, as training on them needs.

    Writes one COCO-style JSON file. The same command again goes on, and labels what is new or changed.
    """

    folder: Annotated[Positional[Path], arg(metavar="DIR")]
    """The folder of photographs."""
    output: Annotated[Path | None, arg(metavar="labels.json")] = None
    """The file; DIR/labels.json by default, where `amvur train --data DIR` looks for it."""
    detector: str = "mediapipe"
    """mediapipe, or the path of a hand_landmarker.task file."""


@dataclass(frozen=True)
class Train:
    """Train a network on synthetic hands, real data sets, your own labelled photographs, or a mixture.

    Writes last/ (the weights, a checkpoint folder), state.pt (to go on from) and log.csv into the output
    folder; a killed run is continued by the same command with --resume.
    """

    output: Path
    """Folder of the run; made if missing."""
    preset: str = "default"
    """Name of the settings; a wrong one lists them all."""
    resume: bool = False
    """Go on with the run in the output folder; begins one where there is none."""
    steps: int | None = None
    """Number of steps; the preset's by default."""
    batch_size: int | None = None
    """Pictures a step, over all devices together."""
    max_seconds: float | None = None
    """Time of the whole run, resumed parts included: it ends then, and the learning rate follows."""
    stop_after: float | None = None
    """Pause after so many seconds, to be continued with --resume."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    devices: int = 1
    """Processes (GPUs) on every machine."""
    nodes: int = 1
    """Number of machines."""
    workers: int = 0
    """Processes that render pictures, for each device; 0 renders in the training process."""
    pool_size: int | None = None
    """Pictures kept to be drawn from."""
    held_out: int | None = None
    """Pictures not trained on, on which the network is measured meanwhile: of the data at hand (a fifth at
    most), rendered ones of another seed. 0 measures nothing."""
    keep_pool: bool = False
    """Save the pictures in the output folder too, so that a restart need not render them again."""
    seed: int | None = None
    """What pictures and first weights depend on."""
    hand_model: str | None = None
    """open, or the path of your own MANO file (.pkl)."""
    backgrounds: Path | None = None
    """A folder with photographs to put behind the hands; otherwise backgrounds are drawn."""
    backbone: str | None = None
    """Another backbone than the preset's: a name of timm's, or mediapipe_hand."""
    pretrained: Annotated[str | None, arg(metavar="download|FILE")] = None
    """Begin with weights of the backbone: timm's (download), or a file of them (.safetensors, .pth)."""
    learning_rate: float | None = None
    """The highest learning rate."""
    optimizer: Literal["adamw", "adam"] | None = None
    """How weights follow the gradient."""
    weights: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="TERM=W")] = ()
    """Give it once for every term of the objective that is to weigh otherwise; a wrong name lists them."""
    prior_std_mm: float | None = None
    """Standard deviation of the prior-net's distribution of vertices, P(V|I)."""
    no_augment: bool = False
    """Show the pictures as they are."""
    data: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="synthetic|DIR[=WEIGHT]")] = ()
    """Give it once for every set: synthetic (rendered meanwhile), or the folder of a data set, of labelled
    photographs or of `amvur synthesize`; with =WEIGHT its share of the pictures."""
    start: str | None = None
    """Begin with the weights (and the network) of a checkpoint folder; default is the shipped one."""


@dataclass(frozen=True)
class ExportNetwork:
    """Turn a checkpoint's weights into the ONNX network that reconstructing needs; `amvur train` does so too.

    Without --output it becomes part of the checkpoint's folder.
    """

    checkpoint: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """The checkpoint: a folder that `amvur train` wrote, such as RUN/last."""
    output: Annotated[Path | None, arg(metavar="FILE.onnx")] = None
    """A file for other programs: pictures in, vertices and joints out (docs/networks.md)."""
    hand_model: str | None = None
    """Where the hand model of the training lies now, if not where it lay then."""


@dataclass(frozen=True)
class Info:
    """Print versions, devices, hand models, detector and licences."""
