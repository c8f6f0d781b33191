"""`amvur` with a preset `small` for weak training: few weights, a row in the log for every step."""

import signal
import sys
from dataclasses import replace

from amvur.cli import main
from amvur.training.presets import PRESETS

SMALL = replace(
    PRESETS["tiny"],
    objective=PRESETS["weak"].objective,
    training=replace(PRESETS["tiny"].training, batch_size=2, pool_size=6, held_out=1, log_every=1),
)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run in the background of a shell
    PRESETS["small"] = SMALL
    main(sys.argv[1:])
