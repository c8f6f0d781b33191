"""How likely a hand is a wrong one: from features to a probability, wider intervals and a warning."""

import numpy as np
import pytest
from limits import refused
from scipy.special import expit

from amvur.errors import InputError
from amvur.inference.calibration import FEATURES, calibration_from, load_calibrations
from amvur.inference.doubt import Doubt, doubt_from
from amvur.inference.network.trained import load_trained

VALUES = {"coefficients": [-1.0, 0.5, 0.0, 0.0, 0.0, 2.0, 1.0], "bound": 0.1, "widening": [0.4, 0.2]}


@pytest.fixture
def doubt():
    return doubt_from(VALUES)


def test_the_probability_is_logistic(doubt):
    features = np.array([1.0, 2.0, 5.0, 0.3, 0.1, 0.25, -0.5])
    odds = -1 + 0.5 * 2 + 2 * 0.25 - 0.5
    assert doubt.log_odds(features) == pytest.approx(odds)
    assert doubt.probability(features) == pytest.approx(expit(odds))
    assert doubt.probability(1e9 * features) <= 1


@pytest.mark.parametrize(
    ("odds", "factor", "unsure"),
    [(-9.0, 1, False), (0.0, np.exp(0.4), False), (1.0, np.exp(0.6), True), (99.0, 3.5, True)],
)
def test_doubt_widens_and_is_told(doubt, odds, factor, unsure):
    features = np.array([-odds, *[0.0] * 6])  # the first coefficient is -1
    assert doubt.factor(features) == pytest.approx(factor)
    assert doubt.unsure(features) == unsure


@pytest.mark.parametrize(
    "change",
    [
        {"coefficients": [1.0] * 8}, {"coefficients": [float("nan")] * 7}, {"coefficients": "x"}, {"bound": None},
        {"bound": float("inf")}, {"widening": [1.0]}, {"widening": [1.0, -0.1]}, {"widening": 3},
    ],
)  # fmt: skip
def test_what_is_no_doubt_is_refused(change):
    with refused(InputError, "doubt"):
        calibration_from({"coefficients": [1.0], "floor_m": [0.0] * 21, "doubt": VALUES | change})


def test_a_calibration_without_doubt_has_none():
    assert calibration_from({"coefficients": [1.0], "floor_m": [0.0] * 21}).doubt is None


def test_what_ships_doubts_more_what_was_seen_worse():
    network = load_trained("default").calibrations["network"]
    for calibration in (load_calibrations().detector, network):
        usual = np.eye(len(FEATURES))[0]
        worse = usual + np.array([0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 1.0])
        assert isinstance(calibration.doubt, Doubt)
        assert calibration.doubt.probability(usual) < 0.2 < 0.5 < calibration.doubt.probability(worse)
        assert not calibration.doubt.unsure(usual)
        assert calibration.doubt.unsure(worse)
