"""A reconstructor in a program: pickled, forked, in threads and pools, closed, made and dropped."""

import copy
import gc
import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from test_reconstructor import IMAGE, detect, true_mesh
from threadpoolctl import threadpool_limits
from truth import INTRINSICS

from amvur.inference.reconstructor import Reconstructor

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="no fork, or no list of threads there")


@pytest.fixture(scope="module")
def reconstructor():
    return Reconstructor(detector="none", texture="sampled")


@pytest.fixture(scope="module")
def wanted(reconstructor):
    return hands_of(reconstructor)


def hands_of(reconstructor):
    return reconstructor(IMAGE, intrinsics=INTRINSICS, detections=[detect(true_mesh()[1])])


def in_child(reconstructor, queue):
    queue.put(hands_of(reconstructor))


def test_it_pickles_to_how_it_was_made(reconstructor, wanted):
    data = pickle.dumps(reconstructor)
    assert len(data) < 1000
    for other in (pickle.loads(data), copy.deepcopy(reconstructor)):
        assert repr(other) == repr(reconstructor)
        assert hands_of(other) == wanted
    assert len(repr(reconstructor)) < 200


def test_a_hand_pickles_small(wanted):
    data = pickle.dumps(wanted[0])
    assert len(data) < 700_000
    again = pickle.loads(data)
    assert again == wanted[0]
    np.testing.assert_array_equal(again.sample(2, seed=1).joints, wanted[0].sample(2, seed=1).joints)


@LINUX
def test_it_works_in_a_fork_after_use(reconstructor, wanted):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(reconstructor, queue))
    child.start()
    assert queue.get(timeout=60) == wanted
    child.join(timeout=60)
    assert child.exitcode == 0


@LINUX
def test_it_works_in_a_pool_of_processes(reconstructor, wanted):
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        assert pool.submit(hands_of, reconstructor).result(timeout=60) == wanted


def test_threads_give_the_same_bytes(reconstructor, wanted):
    with ThreadPoolExecutor(3) as pool:
        assert all(hands == wanted for hands in pool.map(hands_of, [reconstructor] * 6))


@pytest.mark.skipif(np.__version__ < "2", reason="the OpenBLAS of numpy 1.26 shares out smaller products")
def test_the_users_number_of_blas_threads_changes_nothing(reconstructor, wanted):
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            assert hands_of(reconstructor) == wanted


def test_it_works_after_it_was_closed(wanted):
    with Reconstructor(detector="none", texture="sampled") as reconstructor:
        assert hands_of(reconstructor) == wanted
    assert hands_of(reconstructor) == wanted
    reconstructor.close()


@LINUX
def test_made_and_dropped_it_leaves_nothing():
    def use():
        hands_of(Reconstructor(detector="none"))
        gc.collect()
        with open("/proc/self/statm") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    use()
    threads, first = len(os.listdir("/proc/self/task")), use()
    last = [use() for _ in range(6)][-1]
    assert len(os.listdir("/proc/self/task")) <= threads
    assert last - first < 200  # MB; six that stay hold some 540
