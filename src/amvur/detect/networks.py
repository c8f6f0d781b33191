"""MediaPipe's TFLite networks as plain functions of an image, run by the graph runtime in its wheel.

`mp.solutions.hands` hides its networks behind a tracker that accepts no region of interest and drops the
scores. A graph of four calculators (image → tensor → network → split → floats) gives every raw output, so
this package decides itself where to look, how often, and how sure it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from amvur.errors import DetectorError
from amvur.structures import RgbImage

_CHATTER = re.compile(
    rb"Created TensorFlow Lite XNNPACK delegate|before absl::InitializeLog\(\)"
    rb"|inference_feedback_manager|landmark_projection_calculator|gl_context"
)


_LONGEST_TRY_S = 60


class Network:
    """One TFLite network with a square RGB input, from a file, run on the CPU.

    `network(image)` takes `(size, size, 3)` uint8 and returns the raw outputs, flat, in the file's order.
    Raises `DetectorError` when the file cannot be used. Safe to call from several threads, one at a time.
    """

    def __init__(self, model: Path, size_px: int, output_sizes: Sequence[int]) -> None:
        """Load `model` with an input `size_px` pixels wide and outputs of `output_sizes` numbers."""
        if not model.is_file():
            raise DetectorError(
                f"The detector needs the network {model}, which does not exist. Reinstall it with: "
                f"pip install --force-reinstall mediapipe==0.10.21"
            )
        self.model = model
        self.size_px = size_px
        self._names = tuple(f"floats_{index}" for index in range(len(output_sizes)))
        self._floats: dict[str, Float[np.ndarray, "_"]] = {}
        self._timestamp = 0
        self._lock = threading.Lock()
        with _quiet_startup():
            self._packets, self._graph = self._start()
            try:
                # The first run builds the network's kernels and prints about it: do both here.
                found = [len(output) for output in self(np.zeros((size_px, size_px, 3), np.uint8))]
                if found != list(output_sizes):
                    raise DetectorError(
                        f"{model} is another network: wanted outputs {output_sizes}, found {found}."
                    )
            except DetectorError:
                self.close()
                raise

    def __call__(self, image: RgbImage) -> tuple[Float[np.ndarray, "_"], ...]:
        """Run the network on one image and return its outputs."""
        if image.shape != (self.size_px, self.size_px, 3):
            raise ValueError(
                f"{self.model.name} wants ({self.size_px}, {self.size_px}, 3), found {image.shape}"
            )
        with self._lock:
            if self._graph is None:
                raise DetectorError("This detector was closed. Make a new one.")
            self._timestamp += 1
            self._floats.clear()
            try:
                self._graph.add_packet_to_input_stream("image", self._packets(image).at(self._timestamp))
                self._graph.wait_until_idle()
                return tuple(self._floats[name] for name in self._names)
            except (RuntimeError, ValueError, KeyError) as error:
                raise DetectorError(f"The network {self.model} could not be run: {error}") from error

    def close(self) -> None:
        """Free the network; closing twice does nothing."""
        with self._lock:
            graph, self._graph = self._graph, None
            if graph is not None:
                # A graph that failed reports its failure again when closed; it was already raised.
                with contextlib.suppress(RuntimeError, ValueError):
                    graph.close()

    def _start(self) -> tuple[Any, Any]:
        """Build the graph; mediapipe is imported here because that takes a second."""
        try:
            from mediapipe.python import packet_creator, packet_getter
            from mediapipe.python._framework_bindings import calculator_graph, image_frame
        except ImportError as error:
            raise DetectorError(
                f"The MediaPipe detector needs the package mediapipe==0.10.21, which could not be imported "
                f"({error}). Install it with: pip install mediapipe==0.10.21"
            ) from error

        def to_packet(image: RgbImage) -> Any:
            srgb = image_frame.ImageFormat.SRGB
            return packet_creator.create_image_frame(image_format=srgb, data=np.ascontiguousarray(image))

        def receive(name: str, packet: Any) -> None:
            self._floats[name] = np.array(packet_getter.get_float_list(packet))

        try:
            graph = calculator_graph.CalculatorGraph(graph_config=self._graph_text())
            for name in self._names:
                graph.observe_output_stream(name, receive, False)
            graph.start_run({})
        except (RuntimeError, ValueError) as error:
            raise DetectorError(f"The network {self.model} could not be loaded: {error}") from error
        return to_packet, graph

    def _graph_text(self) -> str:
        """The graph in MediaPipe's text format (its calculators' names and options are public API)."""
        path = str(self.model).replace("\\", "\\\\").replace('"', '\\"')
        streams = range(len(self._names))
        lines = [
            'input_stream: "image"',
            *(f'output_stream: "{name}"' for name in self._names),
            'node { calculator: "ImageToTensorCalculator"',
            '  input_stream: "IMAGE:image" output_stream: "TENSORS:input"',
            "  options { [mediapipe.ImageToTensorCalculatorOptions.ext] {",
            f"    output_tensor_width: {self.size_px} output_tensor_height: {self.size_px}",
            "    output_tensor_float_range { min: 0 max: 1 } } } }",
            'node { calculator: "InferenceCalculator"',
            '  input_stream: "TENSORS:input" output_stream: "TENSORS:output"',
            "  options { [mediapipe.InferenceCalculatorOptions.ext] {",
            f'    model_path: "{path}" delegate {{ xnnpack {{ num_threads: 1 }} }} }} }} }}',
            'node { calculator: "SplitTensorVectorCalculator" input_stream: "output"',
            *(f'  output_stream: "tensor_{index}"' for index in streams),
            "  options { [mediapipe.SplitVectorCalculatorOptions.ext] {",
            *(f"    ranges {{ begin: {index} end: {index + 1} }}" for index in streams),
            "  } } }",
            *(
                f'node {{ calculator: "TensorsToFloatsCalculator" '
                f'input_stream: "TENSORS:tensor_{index}" output_stream: "FLOATS:{name}" }}'
                for index, name in enumerate(self._names)
            ),
        ]
        return "\n".join(lines)


def check_runs(model: Path, size_px: int, output_sizes: Sequence[int]) -> None:
    """Raise `DetectorError` for a network that ends the process that runs it, as TFLite does for some damage.

    Tried in a process of its own (two seconds); any other fault is left for `Network` to tell.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        return  # a program that is not Python cannot be asked to run a few lines
    code = (
        "from pathlib import Path; from amvur.detect.networks import Network; "
        f"Network(Path({str(model)!r}), {size_px}, {list(output_sizes)})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code]
    try:
        tried = subprocess.run(command, env=environment, capture_output=True, timeout=_LONGEST_TRY_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DetectorError(f"The network {model} could not be tried: {error}. Give another file.") from error
    if tried.returncode not in (0, 1):
        raise DetectorError(
            f"The network {model} is damaged: running it ends with {tried.returncode}. Give another file."
        )


@contextlib.contextmanager
def _quiet_startup() -> Iterator[None]:
    """Hold back what C++ code prints on standard error, then print it without the known chatter.

    MediaPipe writes to file descriptor 2 itself, past Python's `sys.stderr`, and offers no way to choose.
    """
    try:
        saved = os.dup(2)
    except OSError:  # a process without standard error has nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            kept = b"".join(line for line in held if not _CHATTER.search(line))
            if kept:
                sys.stderr.write(kept.decode(errors="replace"))
                sys.stderr.flush()
