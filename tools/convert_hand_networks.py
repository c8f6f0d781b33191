"""Convert the palm and hand-landmark networks in mediapipe's wheel into the ONNX files that ship, once.

    pip download --no-deps mediapipe==0.10.21
    python tools/convert_hand_networks.py mediapipe-0.10.21-….whl

Writes `src/amvur/detect/assets/{palm_detection,hand_landmarks}.onnx` and `networks.json` with the hashes of
what was read and written. The networks are Apache-2.0 (NOTICE).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zipfile
from pathlib import Path

from amvur.detect.tflite_conversion import OPSET, to_onnx

ASSETS = Path(__file__).resolve().parent.parent / "src" / "amvur" / "detect" / "assets"
MEMBERS = {
    "palm_detection": "mediapipe/modules/palm_detection/palm_detection_full.tflite",
    "hand_landmarks": "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
}


def convert(wheel: Path, output: Path) -> dict[str, object]:
    """Write both networks into `output`; return the record of what was read and written."""
    record: dict[str, object] = {"source": wheel.name, "licence": "Apache-2.0", "opset": OPSET}
    with zipfile.ZipFile(wheel) as archive:
        for name, member in MEMBERS.items():
            data = archive.read(member)
            made = to_onnx(data, f"{wheel.name}:{member}").SerializeToString(deterministic=True)
            (output / f"{name}.onnx").write_bytes(made)
            record[name] = {
                "member": member,
                "source_sha256": hashlib.sha256(data).hexdigest(),
                "sha256": hashlib.sha256(made).hexdigest(),
                "bytes": len(made),
            }
    (output / "networks.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--output", type=Path, default=ASSETS)
    args = parser.parse_args()
    print(json.dumps(convert(args.wheel, args.output), indent=2))


if __name__ == "__main__":
    main()
