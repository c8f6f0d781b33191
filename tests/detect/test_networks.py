"""Networks run by onnxruntime leave no trace."""

import os
import subprocess
import sys

RUN = """
import numpy as np
from amvur.detect.networks import Network, shipped_network
network = Network(shipped_network("palm_detection"), 192, (2016 * 18, 2016))
network(np.zeros((1, 192, 192, 3), np.uint8))
"""


def test_nothing_is_written_beside_and_nothing_reported(tmp_path):
    """onnxruntime keeps a number of the machine in the user's cache, and reports, unless told not to."""
    places = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "LOCALAPPDATA")
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    for name in places:
        (tmp_path / name).mkdir()
        environment[name] = str(tmp_path / name)
    subprocess.run([sys.executable, "-c", RUN], env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
