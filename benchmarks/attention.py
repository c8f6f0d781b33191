"""The AMVUR head in its three forms: time, memory and how far they agree. python benchmarks/attention.py

Dense (the textbook), factored (what training runs) and folded (what inference runs), at the paper's width
(ResNet-50: 2,048 + 3) with the open hand's template, beside the ResNet-50 that it sits on. `--vertices 778`
takes every second vertex, as many as MANO has. Prints one JSON object; every figure is of the same run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from timing import median_ms

from amvur.hand.open_hand import load_open_hand
from amvur.models.amvur import AmvurConfig, AmvurHead
from amvur.models.folded import FoldedHead

FORMS = ("dense", "factored", "folded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vertices", type=int, default=0, help="how many; 0: all of the open hand")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--dense-batches", type=int, nargs="*", default=[1], help="batches for the dense form"
    )
    parser.add_argument("--memory-of", nargs=2, metavar=("FORM", "BATCH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    head = make_head(args.vertices)
    if args.memory_of:
        print(peak_mb(head, args.memory_of[0], int(args.memory_of[1])))
        return
    result: dict[str, object] = {
        "vertices": len(head.vertices),
        "threads": args.threads,
        "resnet50_ms": resnet_ms(),
    }
    for batch in (1, 32):
        forms = FORMS if batch in args.dense_batches else FORMS[1:]
        result[f"batch_{batch}"] = measure(head, batch, forms, args.vertices)
    result["agreement"] = agreement(args.vertices)
    print(json.dumps(result, indent=1))


def make_head(vertices: int, dtype: torch.dtype = torch.float32) -> AmvurHead:
    torch.manual_seed(0)
    arrays = load_open_hand("right")
    template, joints = (torch.tensor(a).float() for a in (arrays.v_template, arrays.joint_template))
    template = template[:: 2 if vertices else 1][: vertices or None]
    head = AmvurHead(template, joints, AmvurConfig()).to(dtype).eval()
    # a new head's last layer is 0: every form would agree on that
    torch.nn.init.normal_(head.mean.last.weight, std=0.02)
    return head


def form_of(head: AmvurHead, name: str) -> Callable[[torch.Tensor], torch.distributions.Normal]:
    return {"dense": head.dense, "factored": head, "folded": FoldedHead(head) if name == "folded" else None}[
        name
    ]


def measure(head: AmvurHead, batch: int, forms: tuple[str, ...], vertices: int) -> dict[str, object]:
    feature = torch.randn(batch, 2048)
    found: dict[str, object] = {}
    with torch.inference_mode():
        for name in forms:
            form = form_of(head, name)
            found[f"{name}_ms"] = median_ms(lambda f=form: f(feature), 3 if name == "dense" else 15)
            found[f"{name}_peak_mb"] = run_for_memory(name, batch, vertices)
    if "dense" in forms:
        for name in FORMS[1:]:
            found[f"dense_over_{name}"] = round(found["dense_ms"] / found[f"{name}_ms"], 1)
    return found


def run_for_memory(name: str, batch: int, vertices: int) -> int:
    """Peak memory (MB) above that before the call, in a process of its own."""
    command = [sys.executable, __file__, "--vertices", str(vertices), "--memory-of", name, str(batch)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peak_mb(head: AmvurHead, name: str, batch: int) -> int:
    form, feature = form_of(head, name), torch.randn(batch, 2048)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak is counted anew
    before = _status_kb("VmRSS")
    with torch.inference_mode():
        form(feature)
    return (_status_kb("VmHWM") - before) // 1024


def _status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def resnet_ms() -> float:
    network, picture = timm.create_model("resnet50", num_classes=0).eval(), torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        return median_ms(lambda: network(picture), 9)


def agreement(vertices: int) -> dict[str, float]:
    """Largest relative differences to the dense form, of outputs and (factored) of gradients."""
    found = {}
    for dtype in (torch.float64, torch.float32):
        head = make_head(vertices, dtype)
        feature = torch.randn(1, 2048, dtype=dtype)
        reference = head.dense(feature)
        gradients = torch.autograd.grad(
            reference.log_prob(torch.zeros_like(reference.loc)).mean(), list(head.parameters())
        )
        ours = head(feature)
        own = torch.autograd.grad(ours.log_prob(torch.zeros_like(ours.loc)).mean(), list(head.parameters()))
        largest = max(float(g.abs().max()) for g in gradients)
        key = str(dtype).removeprefix("torch.")
        found[f"factored_{key}"] = _relative(ours.loc, reference.loc)
        found[f"gradients_{key}"] = (
            max(float((a - b).abs().max()) for a, b in zip(own, gradients, strict=True)) / largest
        )
        with torch.no_grad():
            found[f"folded_{key}"] = _relative(FoldedHead(head)(feature).loc, reference.loc)
    return found


def _relative(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float(((ours - reference).abs().max() / reference.abs().max()).detach())


if __name__ == "__main__":
    main()
