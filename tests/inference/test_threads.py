"""All that is computed for a few hands runs on one thread, the network's forward too; many hands may use more."""

import pytest
import torch
from test_reconstructor import IMAGE, detect, true_mesh
from told import ToldNetwork
from truth import INTRINSICS

from amvur.inference import reconstructor
from amvur.inference.reconstructor import Reconstructor
from amvur.threads import MANY_HANDS, threads_for


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Watched(ToldNetwork):
    """A network that notes on how many threads it is asked."""

    def __call__(self, images):
        self.threads.append(torch.get_num_threads())
        return super().__call__(images)


def test_every_part_of_a_reconstruction_runs_on_one_thread(monkeypatch):
    _, joints = true_mesh()
    detection = detect(joints)
    network = Watched()
    network.threads = []
    network.tell(joints, detection)
    parts = []

    def watch(name):
        original = getattr(reconstructor, name)

        def watched(*arguments, **options):
            parts.append((name, torch.get_num_threads()))
            return original(*arguments, **options)

        monkeypatch.setattr(reconstructor, name, watched)

    watch("fuse")
    watch("assemble")
    reconstruct = Reconstructor(detector="none", device="cpu", checkpoint=network.trained())
    (hand,) = reconstruct(IMAGE, intrinsics=INTRINSICS, detections=[detection])
    assert network.threads
    assert set(network.threads) == {1}
    assert set(parts) == {("fuse", 1), ("assemble", 1)}
    assert torch.get_num_threads() == 2, "the user's number again afterwards"
    hand.sample(2)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("hands", "threads"), [(1, 1), (MANY_HANDS - 1, 1), (MANY_HANDS, 2)])
def test_many_hands_may_use_more(hands, threads):
    with threads_for(hands):
        assert torch.get_num_threads() == threads
    with pytest.raises(KeyError), threads_for(hands):
        raise KeyError
    assert torch.get_num_threads() == 2
