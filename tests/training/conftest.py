"""Trainings in tests end without their ONNX network, which takes half a minute: `test_export_network` makes one."""

import pytest


@pytest.fixture(autouse=True)
def exported(monkeypatch):
    """The folders whose networks would be made."""
    folders = []
    monkeypatch.setattr("amvur.cli.train.try_to_add_networks", folders.append)
    return folders
