"""Miniature sets in the official formats, and the official evaluations written out as one plain loop."""

import json

import numpy as np
from scipy.integrate import trapezoid
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from amvur.evaluation.files import HandSet

HO3D_ORDER = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]  # formats.md §0


def make_truth(rng, count=5):
    """Random points in a box like a hand's before the camera, HO3D's axes not yet applied."""
    template = (rng.random((778, 3)) - 0.5) * [0.18, 0.09, 0.03]
    mix = rng.random((21, 778)) ** 40
    mix /= mix.sum(1, keepdims=True)
    rotation = Rotation.random(count, rng).as_matrix()
    place = (rng.random((count, 1, 3)) - 0.5) * [0.2, 0.15, 0.4] + [0, 0, 0.7]
    vertices = np.round(template @ rotation.transpose(0, 2, 1) + place, 7)
    return HandSet(np.round(mix @ vertices, 7), vertices)


def make_noisy(truth, rng, sigma=0.004):
    """Predictions that are turned, scaled, moved and noisy."""
    turn = Rotation.from_rotvec(0.06 * rng.standard_normal((len(truth.joints), 3))).as_matrix()
    center = truth.vertices.mean(1, keepdims=True)
    move = 0.004 * rng.standard_normal((len(truth.joints), 1, 3))

    def warp(points):
        moved = 1.03 * (points - center) @ turn.transpose(0, 2, 1) + center + move
        return np.round(moved + sigma * rng.standard_normal(points.shape), 7)

    return HandSet(warp(truth.joints), warp(truth.vertices))


def to_ho3d(hands):
    flip = np.array([1.0, -1.0, -1.0])
    return HandSet((hands.joints * flip)[:, HO3D_ORDER], hands.vertices * flip)


def write_truth(folder, hands):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation_xyz.json").write_text(json.dumps(hands.joints.tolist()))
    (folder / "evaluation_verts.json").write_text(json.dumps(hands.vertices.tolist()))
    return folder


def prediction_text(hands):
    return json.dumps([hands.joints.tolist(), hands.vertices.tolist()])


def length(vectors):
    """In the official scripts' own steps: curves at a threshold of 0 feel the last bit."""
    return np.sqrt(np.sum(np.square(vectors), axis=-1))


def loop_align(target, source):
    a, b = target - target.mean(0), source - source.mean(0)
    a_norm, b_norm = np.linalg.norm(a) + 1e-8, np.linalg.norm(b) + 1e-8
    turn, stretch = orthogonal_procrustes(a / a_norm, b / b_norm)
    return (b / b_norm) @ turn.T * stretch * a_norm + target.mean(0)


def loop_bone(target, source):
    bone = length(source[4] - source[0])
    moved = (source / bone if bone > 0 else source) * length(target[4] - target[0])
    return moved - moved[0] + target[0]


def loop_f(target, source, threshold):
    distance = cdist(target, source)
    a, b = (distance.min(0) < threshold).mean(), (distance.min(1) < threshold).mean()
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


def loop_figures(pairs):
    """Mean in cm and AUC of (target, prediction) pairs."""
    errors = np.array([length(t - p) for t, p in pairs])
    thresholds = np.linspace(0, 0.05, 100)
    correct = (errors[:, :, None] <= thresholds).mean(0)
    areas = trapezoid(correct, thresholds, axis=-1) / 0.05
    return 100 * errors.mean(), np.mean(areas)


def loop_scores(prediction, truth, protocol):
    """The official scores, sample by sample and point by point."""
    joints = list(zip(truth.joints, prediction.joints, strict=True))
    meshes = list(zip(truth.vertices, prediction.vertices, strict=True))
    aligned = [(t, loop_align(t, p)) for t, p in meshes]
    short = {"freihand": "xyz_al", "ho3d": "xyz_procrustes_al"}[protocol]
    sets = {
        "xyz": joints,
        short: [(t, loop_align(t, p)) for t, p in joints],
        "mesh": meshes,
        "mesh_al": aligned,
    }
    if protocol == "ho3d":
        sets["xyz_scale_trans_al"] = [(t, loop_bone(t, p)) for t, p in joints]
    scores = {}
    for key, pairs in sets.items():
        scores[f"{key}_mean3d"], scores[f"{key}_auc3d"] = loop_figures(pairs)
    for mm in (5, 15):
        scores[f"f_score_{mm}"] = np.mean([loop_f(t, p, mm / 1000) for t, p in meshes])
        scores[f"f_al_score_{mm}"] = np.mean([loop_f(t, p, mm / 1000) for t, p in aligned])
    return scores
