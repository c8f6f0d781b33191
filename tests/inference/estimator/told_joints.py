"""The truth as a network would tell it."""

import numpy as np
from scipy.spatial.transform import Rotation
from truth import project_numpy

from amvur.inference.estimator.observation import NetworkObservations


def told_joints(truth, seed=0, amount=1.0):
    """The hands' own joints with errors of `amount` standard deviations by axis."""
    rng, points = np.random.default_rng(seed), truth.hand.place(truth.hand.joints, truth.state)
    relative, flat = points - points[:, :1], project_numpy(points)
    std, flat_std = rng.uniform(0.002, 0.006, relative.shape), rng.uniform(1, 4, flat.shape)
    turn = Rotation.random(len(truth), random_state=seed).as_matrix()
    return NetworkObservations(
        relative_joints=relative + (amount * std * rng.normal(size=std.shape)) @ turn,
        relative_weight=turn[:, None] / std[..., None],
        joints_2d=flat + amount * flat_std * rng.normal(size=flat.shape),
        joints_2d_weight=1 / flat_std,
    )
