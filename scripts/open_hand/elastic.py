"""Elastic skin around one bent joint: as-rigid-as-possible, held and supported by bones, full of flesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from . import anatomy
from .preview import vertex_normals
from .proportions import smoothstep
from .skinning import bone_transforms, cotangent_laplacian, segment_distance

#: Strength of the smooth-rotation term of Levi and Gotsman 2015 (0: plain as-rigid-as-possible).
SMOOTH_ROTATION = 0.15
ITERATIONS = 40
#: Pull to the skinned position, relative to the skin's stiffness, where skin lies along a bone's
#: shaft (it fades to nothing where two bones share a vertex equally, at the joint).
ANCHOR = 0.5
#: Least distance to the bones as a share of the distance at rest: over the back of a joint, where
#: skin lies on bone, and on its inner side, where flesh gives way.
SUPPORT_OUTER, SUPPORT_INNER = 0.98, 0.5
#: Share of lost volume that flesh wins back by bulging.
VOLUME_SHARE = 0.7


@dataclass(frozen=True)
class Skin:
    """Rest mesh, weights, pivots and joint axes that the correctives belong to."""

    vertices: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    pivots: np.ndarray  # (16,3)
    joints: np.ndarray  # (21,3)
    axes: np.ndarray
    limits: np.ndarray


def enclosed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Signed volume inside a closed mesh."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    return float((a * np.cross(b, c)).sum() / 6)


class ElasticSolver:
    """Where the skin around one joint settles, given where plain skinning puts it."""

    def __init__(self, skin: Skin, bone: int) -> None:
        laplacian, area = cotangent_laplacian(skin.vertices, skin.faces)
        self.skin, self.bone, self.area = skin, bone, area
        linked = (laplacian != 0).astype(float)
        child = skin.weights[:, bone : bone + 3 - (bone - 1) % 3].sum(1)
        ring = np.asarray(linked @ ((child > 0.03) & (child < 0.97))) > 0
        self.free = np.flatnonzero(ring)
        self.fixed = np.flatnonzero(~ring)
        self.near = np.asarray(linked @ ring) > 0
        off = sp.coo_matrix(-laplacian + sp.diags(laplacian.diagonal()))
        keep = self.near[off.row] & (off.data > 0)
        self.i, self.j, self.w = off.row[keep], off.col[keep], off.data[keep]
        self.edge = skin.vertices[self.i] - skin.vertices[self.j]
        self.smooth = SMOOTH_ROTATION * area.mean() / self.w.mean()
        rows = laplacian.tocsr()[self.free]
        self.coupling = rows[:, self.fixed]
        shaft = (2 * child[self.free] - 1) ** 4
        self.give = (4 * child * (1 - child))[self.free] ** 2
        self.anchor = ANCHOR * laplacian.diagonal()[self.free] * shaft
        self.factor = splu(sp.csc_matrix(rows[:, self.free] + sp.diags(self.anchor)))
        self.volume = enclosed_volume(skin.vertices, skin.faces)
        self._set_support()

    def _set_support(self) -> None:
        """Rest bones on both sides of the joint and the least distance of skin to them."""
        skin, joint = self.skin, int(anatomy.BONE_JOINT[self.bone])
        parent = skin.joints[0] if (self.bone - 1) % 3 == 0 else skin.joints[joint - 1]
        self.rest_bones = ((parent, skin.joints[joint]), (skin.joints[joint], skin.joints[joint + 1]))
        points = skin.vertices[self.free]
        rest = np.min([segment_distance(points, *bone) for bone in self.rest_bones], axis=0)
        flexion, _, _ = skin.axes[self.bone - 1]
        distal = skin.joints[joint + 1] - skin.joints[joint]
        up = np.cross(distal / np.linalg.norm(distal), flexion)
        height = (points - skin.joints[joint]) @ up / rest
        share = SUPPORT_INNER + (SUPPORT_OUTER - SUPPORT_INNER) * smoothstep(height + 0.5)
        self.least = share * rest
        self.side = (points - skin.joints[joint]) @ (distal / np.linalg.norm(distal))
        #: Flesh meets flesh at the plane that halves the bend; at a finger's base the palm folds freely.
        self.inner = (height < 0.2) & ((self.bone - 1) % 3 > 0)

    def _rotations(self, posed: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """Best rotation of every vertex's fan of edges, drawn towards its neighbours' rotations."""
        moved = posed[self.i] - posed[self.j]
        spread = np.zeros((len(posed), 3, 3))
        np.add.at(spread, self.i, self.w[:, None, None] * moved[:, :, None] * self.edge[:, None, :])
        np.add.at(spread, self.i, (self.smooth * self.w)[:, None, None] * previous[self.j])
        u, _, vt = np.linalg.svd(spread[self.near])
        u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
        rotations = previous.copy()
        rotations[self.near] = u @ vt
        return rotations

    def _refill(self, posed: np.ndarray) -> None:
        """Bulge the soft skin outwards to win back lost volume (in place)."""
        normals = vertex_normals(posed, self.skin.faces)[self.free]
        lost = VOLUME_SHARE * (self.volume - enclosed_volume(posed, self.skin.faces))
        bulge = lost / (self.area[self.free] * self.give).sum()
        posed[self.free] += np.clip(bulge, -0.002, 0.002) * self.give[:, None] * normals

    def _support(self, posed: np.ndarray, bones: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Push skin out of the bones and, inside the bend, off the plane where flesh meets flesh."""
        points = posed[self.free]
        pivot = bones[0][1]
        directions = [b - a for a, b in bones]
        middle = sum(d / np.linalg.norm(d) for d in directions)
        middle /= np.linalg.norm(middle)
        across = (points - pivot) @ middle
        crossed = self.inner & (across * self.side < 0)
        points[crossed] -= across[crossed, None] * middle
        feet = []
        for start, end in bones:
            axis = end - start
            t = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
            feet.append(start + t[:, None] * axis)
        gaps = np.stack([np.linalg.norm(points - foot, axis=1) for foot in feet])
        foot = np.where((gaps[0] < gaps[1])[:, None], feet[0], feet[1])
        gap = np.maximum(gaps.min(0), 1e-6)
        push = np.maximum(self.least - gap, 0) / gap
        posed[self.free] = points + push[:, None] * (points - foot)

    def solve(self, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Elastic and skinned positions (V,3) and blended matrices (V,3,3) for pose (15,3)."""
        skin = self.skin
        rotation, shift = bone_transforms(pose, skin.pivots)
        blended = np.einsum("vk,kij->vij", skin.weights, rotation)
        skinned = np.einsum("vij,vj->vi", blended, skin.vertices) + skin.weights @ shift
        (start, pivot), (_, end) = self.rest_bones
        bones = [(start, pivot), (pivot, pivot + rotation[self.bone] @ (end - pivot))]
        u, _, vt = np.linalg.svd(blended)
        rotations, posed = u @ vt, skinned.copy()
        for _ in range(ITERATIONS):
            rotations = self._rotations(posed, rotations)
            both = 0.5 * (rotations[self.i] + rotations[self.j])
            pull = np.zeros_like(posed)
            np.add.at(pull, self.i, self.w[:, None] * np.einsum("eij,ej->ei", both, self.edge))
            right = pull[self.free] - self.coupling @ posed[self.fixed]
            right = right + self.anchor[:, None] * skinned[self.free]
            posed[self.free] = self.factor.solve(right)
            self._refill(posed)
            self._support(posed, bones)
        return posed, skinned, blended
