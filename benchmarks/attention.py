"""The factored AMVUR head against the dense one: time and memory. python benchmarks/attention.py

At the paper's width (ResNet-50, 2,048 + 3) with the open hand's template. Prints one JSON object.
"""

from __future__ import annotations

import json

import torch
from timing import median_ms

from amvur.hand.open_hand import load_open_hand
from amvur.models.amvur import AmvurConfig, AmvurHead


def main() -> None:
    arrays = load_open_hand("right")
    template, joints = (torch.tensor(a).float() for a in (arrays.v_template, arrays.joint_template))
    head = AmvurHead(template, joints, AmvurConfig()).eval()
    result: dict[str, object] = {"vertices": len(template), "width": 2051, "threads": torch.get_num_threads()}
    for batch in (1, 8):
        feature = torch.randn(batch, 2048)
        with torch.no_grad():
            factored = median_ms(lambda f=feature: head(f), 9)
            dense = median_ms(lambda f=feature: head.dense(f), 1 if batch > 1 else 3)
            difference = float((head(feature).loc - head.dense(feature).loc).abs().max())
        result[f"batch_{batch}"] = {
            "factored_ms": factored,
            "dense_ms": dense,
            "ratio": round(dense / factored, 1),
            "largest_difference_m": difference,
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
