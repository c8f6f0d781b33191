"""Record what MediaPipe's own runtime says of two pictures, for the tests of the converted networks.

    pip install mediapipe==0.10.21 onnx tflite
    python tools/record_hand_networks.py

Writes `tests/detect/recorded_networks.npz`: the drawn hand of the tests as each network sees it, and the raw
outputs of mediapipe's graph (of the palm network's boxes, those of its 64 best anchors).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "tests" / "detect" / "recorded_networks.npz"
BEST = 64


def run(model: Path, picture: np.ndarray, outputs: int) -> list[np.ndarray]:
    """Return the raw outputs of a TFLite network on an (S, S, 3) uint8 picture, by mediapipe's graph."""
    from mediapipe.python import packet_creator, packet_getter
    from mediapipe.python._framework_bindings import calculator_graph, image_frame

    names = [f"floats_{index}" for index in range(outputs)]
    found: dict[str, np.ndarray] = {}
    graph = calculator_graph.CalculatorGraph(graph_config=graph_text(model, len(picture), names))

    def receive(name: str, packet: object) -> None:
        found[name] = np.array(packet_getter.get_float_list(packet), dtype=np.float32)

    for name in names:
        graph.observe_output_stream(name, receive, False)
    graph.start_run({})
    frame = packet_creator.create_image_frame(image_format=image_frame.ImageFormat.SRGB, data=picture)
    graph.add_packet_to_input_stream("image", frame.at(1))
    graph.wait_until_idle()
    graph.close()
    return [found[name] for name in names]


def graph_text(model: Path, size_px: int, names: Sequence[str]) -> str:
    """The graph in MediaPipe's text format (its calculators' names and options are public API)."""
    path = str(model).replace("\\", "\\\\").replace('"', '\\"')
    streams = range(len(names))
    lines = [
        'input_stream: "image"',
        *(f'output_stream: "{name}"' for name in names),
        'node { calculator: "ImageToTensorCalculator"',
        '  input_stream: "IMAGE:image" output_stream: "TENSORS:input"',
        "  options { [mediapipe.ImageToTensorCalculatorOptions.ext] {",
        f"    output_tensor_width: {size_px} output_tensor_height: {size_px}",
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
            for index, name in enumerate(names)
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests" / "detect"))
    from drawn_hand import draw_hand

    spec = find_spec("mediapipe")
    if spec is None or spec.origin is None:
        sys.exit("mediapipe is not installed: pip install mediapipe==0.10.21")
    modules = Path(spec.origin).parent / "modules"
    palm, hand = (np.ascontiguousarray(draw_hand(size)[0]) for size in (192, 224))
    boxes, logits = run(modules / "palm_detection" / "palm_detection_full.tflite", palm, 2)
    best = np.argsort(-logits)[:BEST]
    landmarks = run(modules / "hand_landmark" / "hand_landmark_full.tflite", hand, 4)
    np.savez_compressed(
        OUTPUT,
        palm_picture=palm,
        palm_best=best,
        palm_boxes=boxes.reshape(-1, 18)[best],
        palm_logits=logits,
        hand_picture=hand,
        **{f"hand_{index}": values for index, values in enumerate(landmarks)},
    )
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
