"""Small batches are computed on one thread of torch; many hands may use more."""

import pytest
import torch

from amvur.threads import MANY_HANDS, threads_for


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("hands", "threads"), [(1, 1), (MANY_HANDS - 1, 1), (MANY_HANDS, 2)])
def test_many_hands_may_use_more(hands, threads):
    with threads_for(hands):
        assert torch.get_num_threads() == threads
    with pytest.raises(KeyError), threads_for(hands):
        raise KeyError
    assert torch.get_num_threads() == 2
