"""The compiled push that frees a hand from itself: see `penetration.relax`, which prepares its input.

One hand after the other, so that a hand's result cannot depend on the batch. The torch functions of
`penetration.py` are the readable reference; a test compares the two.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from amvur.compiled import compiled

# `no_type_check` also keeps the tests' shape checker from wrapping what numba compiles.

_FIRST_BONES = (1, 4, 7, 10, 13)


@compiled
@no_type_check
def _turn(vector, rotation, jacobian):
    """Write the rotation matrix of an axis-angle and its left Jacobian (Rodrigues)."""
    x, y, z = vector
    square = x * x + y * y + z * z
    angle = np.sqrt(square)
    if angle < 1e-4:
        a, b, c = 1 - square / 6, 0.5 - square / 24, 1 / 6 - square / 120
    else:
        a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / square
        c = (1 - a) / square
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    for i in range(3):
        for j in range(3):
            outer = vector[i] * vector[j] - (square if i == j else 0.0)
            unit = 1.0 if i == j else 0.0
            rotation[i, j] = unit + a * cross[i, j] + b * outer
            jacobian[i, j] = unit + b * cross[i, j] + c * outer


@compiled
@no_type_check
def _chain(angles, axes, pivots, rotation, origin, lever):
    """Write bone rotations and origins, and `lever[b] @ torque` = derivative by the bone's angles."""
    local, jacobian, vector = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    for bone in range(1, 16):
        parent = 0 if (bone - 1) % 3 == 0 else bone - 1
        for i in range(3):
            vector[i] = 0.0
            for k in range(3):
                vector[i] += axes[bone - 1, k, i] * angles[3 * (bone - 1) + k]
        _turn(vector, local, jacobian)
        for i in range(3):
            origin[bone, i] = origin[parent, i]
            for j in range(3):
                origin[bone, i] += rotation[parent, i, j] * (pivots[bone, j] - pivots[parent, j])
                total = 0.0
                for k in range(3):
                    total += rotation[parent, i, k] * local[k, j]
                rotation[bone, i, j] = total
        _lever(axes[bone - 1], jacobian, rotation[parent], lever[bone])


@compiled
@no_type_check
def _lever(axes, jacobian, rotation, out):
    """Write the world axes about which a bone turns at first order as its three angles grow."""
    for k in range(3):
        for i in range(3):
            total = 0.0
            for m in range(3):
                for j in range(3):
                    total += axes[k, m] * jacobian[j, m] * rotation[i, j]
            out[k, i] = total


@compiled
@no_type_check
def _place(rest, bone, pivot, rotation, origin, share, out):
    """Write where a rest point moves that follows a bone by a share and stays at rest otherwise."""
    for i in range(3):
        moved = origin[bone, i]
        for j in range(3):
            moved += rotation[bone, i, j] * (rest[j] - pivot[j])
        out[i] = rest[i] + share * (moved - rest[i])


@compiled
@no_type_check
def _push(at, force, bone, share, forces, moments):
    """Add a force at a point to its bone's force and moment about the frame's origin."""
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        forces[bone, i] += share * force[i]
        moments[bone, i] += share * (at[j] * force[k] - at[k] * force[j])


@compiled
@no_type_check
def _collide_spheres(spheres, radii, bone, pairs, touch, forces, moments):
    """Add the gradient of half the squared overlaps of spheres; return the energy and the depth."""
    energy, depth = 0.0, -1.0
    force = np.empty(3)
    for pair in range(len(pairs)):
        i, j = pairs[pair]
        reach = radii[i] + radii[j]
        x = spheres[i, 0] - spheres[j, 0]
        y = spheres[i, 1] - spheres[j, 1]
        z = spheres[i, 2] - spheres[j, 2]
        square = x * x + y * y + z * z
        if square >= reach * reach:
            continue
        apart = np.sqrt(max(square, 1e-10))
        overlap = reach - apart
        depth = max(depth, overlap)
        if overlap > touch:
            energy += 0.5 * (overlap - touch) ** 2
            scale = (overlap - touch) / apart
            force[0], force[1], force[2] = -scale * x, -scale * y, -scale * z
            _push(spheres[i], force, bone[i], 1.0, forces, moments)
            _push(spheres[j], force, bone[j], -1.0, forces, moments)
    return energy, depth


@compiled
@no_type_check
def _collide_palm(
    spheres, radii, bone, probes, reach, points, normals, thenar, spacing, touch, forces, moments
):
    """Add the gradient of half the squared depths of spheres below the palm; return energy and depth."""
    energy, depth = 0.0, -1.0
    force = np.empty(3)
    for probe in range(len(probes)):
        s = probes[probe]
        best, nearest = np.inf, -1
        for p in range(len(points)):
            if reach[probe, p]:
                x = spheres[s, 0] - points[p, 0]
                y = spheres[s, 1] - points[p, 1]
                z = spheres[s, 2] - points[p, 2]
                square = x * x + y * y + z * z
                if square < best:
                    best, nearest = square, p
        if nearest < 0:
            continue
        height = 0.0
        for k in range(3):
            height += (spheres[s, k] - points[nearest, k]) * normals[nearest, k]
        overlap = radii[s] - height
        if overlap <= 0 or best - height * height >= spacing * spacing:
            continue
        depth = max(depth, overlap)
        if overlap > touch:
            energy += 0.5 * (overlap - touch) ** 2
            for k in range(3):
                force[k] = -(overlap - touch) * normals[nearest, k]
            _push(spheres[s], force, bone[s], 1.0, forces, moments)
            # The palm turns with the thumb's base as if pushed where the sphere is.
            _push(spheres[s], force, 13, -thenar[nearest], forces, moments)
    return energy, depth


@compiled
@no_type_check
def _gradient(forces, moments, origin, lever, out):
    """Write the energy's derivative by the 45 angles from forces and moments on the bones."""
    for first in _FIRST_BONES:
        for bone in range(first, first + 3):
            for k in range(3):
                total = 0.0
                for outer in range(bone, first + 3):
                    for i in range(3):
                        j, m = (i + 1) % 3, (i + 2) % 3
                        arm = origin[bone, j] * forces[outer, m] - origin[bone, m] * forces[outer, j]
                        total += lever[bone, k, i] * (moments[outer, i] - arm)
                out[3 * (bone - 1) + k] = total


@compiled
@no_type_check
def relax_hands(
    angles, depth, pivots, spheres, radii, points,
    axes, lower, upper, mobility, bone, pairs, normals, thenar, probes, reach,
    steps, touch, spacing, max_turn,
):  # fmt: skip
    """Move `angles` (B,45) in place by gradient steps of Polyak's length; write the last depth (B,)."""
    rotation, origin, lever = np.zeros((16, 3, 3)), np.zeros((16, 3)), np.empty((16, 3, 3))
    forces, moments, gradient = np.empty((16, 3)), np.empty((16, 3)), np.empty(45)
    moved, swung, turned = np.empty_like(spheres[0]), np.empty_like(points[0]), np.empty_like(normals)
    zero = np.zeros(3)
    for k in range(3):
        rotation[0, k, k] = 1.0
    for hand in range(len(angles)):
        origin[0] = pivots[hand, 0]
        for step in range(steps + 1):
            _chain(angles[hand], axes, pivots[hand], rotation, origin, lever)
            for s in range(len(bone)):
                pivot = pivots[hand, bone[s]]
                _place(spheres[hand, s], bone[s], pivot, rotation, origin, 1.0, moved[s])
            for p in range(len(thenar)):
                _place(points[hand, p], 13, pivots[hand, 13], rotation, origin, thenar[p], swung[p])
                _place(normals[p], 13, zero, rotation, np.zeros((16, 3)), thenar[p], turned[p])
            forces[:], moments[:] = 0.0, 0.0
            e, d = _collide_spheres(moved, radii[hand], bone, pairs, touch, forces, moments)
            f, h = _collide_palm(
                moved, radii[hand], bone, probes, reach, swung, turned, thenar,
                spacing, touch, forces, moments,
            )  # fmt: skip
            depth[hand] = max(d, h)
            if step == steps or depth[hand] <= 2 * touch:
                break
            _gradient(forces, moments, origin, lever, gradient)
            length = 2 * (e + f) / max((mobility * gradient * gradient).sum(), 1e-12)
            for k in range(45):
                turn = min(max(-length * mobility[k] * gradient[k], -max_turn), max_turn)
                angles[hand, k] = min(max(angles[hand, k] + turn, lower[k]), upper[k])
