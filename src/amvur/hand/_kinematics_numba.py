"""The inner loops of `amvur.hand.kinematics`: a chain of bones, and points on them with their derivatives."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from amvur.compiled import compiled

# `no_type_check` also keeps the tests' shape checker from wrapping what numba compiles.


@compiled
@no_type_check
def chain(
    local: np.ndarray,
    pivots: np.ndarray,
    pivot_dirs: np.ndarray,
    parents: np.ndarray,
    rotation: np.ndarray,
    origin: np.ndarray,
    origin_dirs: np.ndarray,
) -> None:
    """Fill rotations (B,16,3,3), origins (B,16,3) and what betas do to these (B,16,3,10) from wrist to tips.

    `local` are the bones' own turns, `pivots` (B,16,3) and `pivot_dirs` (16,3,10) where they turn at rest;
    `origin` comes with the root's filled in. A parent comes before its children.
    """
    for b in range(len(local)):
        rotation[b, 0] = local[b, 0]
        origin_dirs[b, 0] = pivot_dirs[0]
        for bone in range(1, 16):
            up = parents[bone]
            turn = rotation[b, up]
            for i in range(3):
                origin[b, bone, i] = origin[b, up, i]
                origin_dirs[b, bone, i] = origin_dirs[b, up, i]
                for j in range(3):
                    origin[b, bone, i] += turn[i, j] * (pivots[b, bone, j] - pivots[b, up, j])
                    for k in range(10):
                        offset = pivot_dirs[bone, j, k] - pivot_dirs[up, j, k]
                        origin_dirs[b, bone, i, k] += turn[i, j] * offset
                    total = 0.0
                    for k in range(3):
                        total += turn[i, k] * local[b, bone, k, j]
                    rotation[b, bone, i, j] = total


@compiled
@no_type_check
def overlaps(
    centers: np.ndarray, radii: np.ndarray, pairs: np.ndarray, least: float, found: np.ndarray
) -> None:
    """Fill `found` (B,K) with by how much spheres of pairs overlap beyond `least`; 0 where they do not.

    `centers` (B,N,3) and `radii` (B,N) in metres.
    """
    for b in range(len(centers)):
        for k in range(len(pairs)):
            one, other = pairs[k]
            reach = radii[b, one] + radii[b, other] - least
            x = centers[b, one, 0] - centers[b, other, 0]
            y = centers[b, one, 1] - centers[b, other, 1]
            z = centers[b, one, 2] - centers[b, other, 2]
            squared = x * x + y * y + z * z
            if reach > 0.0 and squared < reach * reach:
                found[b, k] = reach - np.sqrt(squared)


@compiled
@no_type_check
def derivatives(  # noqa: C901 (loops that a compiler wants in one piece)
    rest: np.ndarray,
    rest_dirs: np.ndarray,
    weights: np.ndarray,
    rotation: np.ndarray,
    origin: np.ndarray,
    shift: np.ndarray,
    fixed_dirs: np.ndarray,
    parents: np.ndarray,
    placed: np.ndarray,
    jacobian: np.ndarray,
) -> None:
    """Fill `placed` (B,M,3) and `jacobian` (B,M,3,61), which must be zero.

    `rest` (B,M,3) includes the betas; `rest_dirs` and `weights` may have one row for all hands. Bone c takes
    a point at rest x to `rotation[c] @ x + shift[c]`; `fixed_dirs` is what betas do to `shift`.
    """
    levers = np.zeros((16, 3))
    for b in range(len(rest)):
        d = b if len(rest_dirs) > 1 else 0
        w = b if len(weights) > 1 else 0
        for m in range(rest.shape[1]):
            levers[:] = 0.0
            touched = 0
            for c in range(16):
                share = weights[w, m, c]
                if share == 0.0:
                    continue
                turn = rotation[b, c]
                for i in range(3):
                    at = shift[b, c, i]
                    for j in range(3):
                        at += turn[i, j] * rest[b, m, j]
                    placed[b, m, i] += share * at
                    bone = c
                    while bone >= 0:
                        levers[bone, i] += share * (at - origin[b, bone, i])
                        touched |= 1 << bone
                        bone = parents[bone]
                    for k in range(10):
                        moved = fixed_dirs[b, c, i, k]
                        for j in range(3):
                            moved += turn[i, j] * rest_dirs[d, m, j, k]
                        jacobian[b, m, i, 48 + k] += share * moved
                jacobian[b, m, 0, 58] = jacobian[b, m, 1, 59] = jacobian[b, m, 2, 60] = 1.0
            for bone in range(16):
                if touched >> bone & 1:
                    x, y, z = levers[bone]
                    for k in range(3):
                        p, q, r = rotation[b, bone, 0, k], rotation[b, bone, 1, k], rotation[b, bone, 2, k]
                        jacobian[b, m, 0, 3 * bone + k] = q * z - r * y
                        jacobian[b, m, 1, 3 * bone + k] = r * x - p * z
                        jacobian[b, m, 2, 3 * bone + k] = p * y - q * x
