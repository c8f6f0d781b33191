"""Simple renders of the open hand with exact joints: what detectors are studied on, never photographs.

A hand of random shape, pose, view, skin and light, with a forearm, before a smooth random background.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skin import SkinPattern, make_pattern, paint

from amvur.detect.mediapipe_hands import MediaPipeDetector
from amvur.geometry.rotations import axis_angle_to_matrix
from amvur.hand.model import HandMesh, HandModel
from amvur.hand.open_hand import load_open_hand
from amvur.hand.prior import HandPrior, make_prior
from amvur.inference.camera import make_camera
from amvur.inference.frames import HandFrame, enter, lies_on, merge_passes
from amvur.render import Lighting, render_hand
from amvur.structures import HandDetection

SIZE_PX = 256


@dataclass(frozen=True)
class RenderedHand:
    """A picture of a right hand and the truth about it (camera frame, metres, pixels)."""

    seed: int
    image: np.ndarray  # (SIZE_PX, SIZE_PX, 3) uint8
    intrinsics: np.ndarray  # (3, 3)
    mesh: HandMesh  # batch of 1
    angles: np.ndarray  # (45,) anatomical, rad


@dataclass(frozen=True)
class Observation:
    """A render (its picture empty unless asked for) and the detection of the hand in it."""

    rendered: RenderedHand
    detection: HandDetection


def framed(image: np.ndarray, detection: HandDetection) -> HandFrame:
    """Return the only hand of a picture, its camera assumed."""
    height, width = image.shape[:2]
    camera = make_camera(width, height, hand_sizes_px=[merge_passes(detection).size_px])
    return enter(image, camera, [detection])[0]


def observe(seeds: Sequence[int], workers: int = 2, pictures: bool = False) -> list[Observation]:
    """Render the hands of `seeds`, detect them, and return those found on the right side and place."""
    chunks = [list(seeds)[i::workers] for i in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = pool.map(_observe, chunks, [pictures] * workers)
        found = [observation for part in parts for observation in part]
    return sorted(found, key=lambda o: o.rendered.seed)


def _observe(seeds: Sequence[int], pictures: bool) -> list[Observation]:
    torch.set_num_threads(1)
    model = HandModel(load_open_hand("right"), torch.float64)
    prior, pattern = make_prior(model), make_pattern(model)
    observations = []
    with MediaPipeDetector() as detector:
        for seed in seeds:
            rendered = render_random_hand(model, prior, pattern, seed)
            hands = [h for h in detector.detect(rendered.image) if h.side == "right"]
            places = project(rendered.mesh.joints[0].numpy(), rendered.intrinsics)
            if hands and lies_on(hands[0], places):
                if not pictures:
                    rendered = replace(rendered, image=np.zeros((0, 0, 3), np.uint8))
                observations.append(Observation(rendered, hands[0]))
    return observations


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Project points (...,N,3) with intrinsics (...,3,3) to pixels."""
    homogeneous = points @ np.swapaxes(intrinsics, -1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def render_random_hand(model: HandModel, prior: HandPrior, pattern: SkinPattern, seed: int) -> RenderedHand:
    """Draw and render hand number `seed`: the same seed gives the same picture."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    betas = torch.randn(1, 10, generator=generator).double()
    angles = prior.sample(1, generator)
    angles = prior.mean + float(rng.uniform(0.3, 1.0)) * (angles - prior.mean)
    local = axis_angle_to_matrix(prior.axis_angle(angles).unflatten(-1, (15, 3)))
    orient = axis_angle_to_matrix(torch.as_tensor(_random_rotation_vector(rng)))[None, None]
    rotations = torch.cat([orient, local], 1)
    focal = SIZE_PX * rng.uniform(0.9, 2.2)
    intrinsics = np.array([[focal, 0, SIZE_PX / 2], [0, focal, SIZE_PX / 2], [0, 0, 1.0]])
    mesh = model.from_matrices(rotations, betas, torch.zeros(1, 3).double())
    transl = _place(mesh.joints[0].numpy(), focal, rng)
    mesh = model.from_matrices(rotations, betas, torch.as_tensor(transl)[None])
    image = _picture(model, pattern, mesh, intrinsics, rng)
    return RenderedHand(seed, image, intrinsics, mesh, angles[0].numpy())


def _random_rotation_vector(rng: np.random.Generator) -> np.ndarray:
    quaternion = rng.normal(size=4)
    quaternion /= np.linalg.norm(quaternion)
    angle = 2 * np.arccos(np.clip(quaternion[0], -1, 1))
    return quaternion[1:] / max(np.linalg.norm(quaternion[1:]), 1e-9) * angle


def _place(joints: np.ndarray, focal: float, rng: np.random.Generator) -> np.ndarray:
    """Return a translation that lets the hand span 40-75 % of the picture near its middle."""
    extent = max(np.ptp(joints[:, 0]), np.ptp(joints[:, 1]), 0.08)
    depth = focal * extent / (SIZE_PX * rng.uniform(0.4, 0.75))
    middle = (joints.max(0) + joints.min(0)) / 2
    shift = rng.uniform(-0.08, 0.08, 2) * SIZE_PX / focal * depth
    return np.array([shift[0] - middle[0], shift[1] - middle[1], depth - middle[2]])


def _picture(
    model: HandModel, pattern: SkinPattern, mesh: HandMesh, intrinsics: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    vertices, faces, colors = with_forearm(model, pattern, mesh, rng)
    light = Lighting(
        torch.as_tensor(rng.normal(size=(1, 3, 3)) + np.array([0, -0.5, -1.0])).float(),
        torch.as_tensor(rng.uniform(0.1, 0.6, (1, 3, 1)) * rng.uniform(0.85, 1.15, (1, 3, 3))).float(),
        torch.as_tensor(rng.uniform(0.25, 0.5, (1, 3))).float(),
        specular=float(rng.uniform(0, 0.12)),
    )
    pixels, alpha = render_hand(
        vertices[None].float(),
        faces,
        torch.as_tensor(intrinsics)[None].float(),
        colors[None].float(),
        SIZE_PX,
        SIZE_PX,
        lighting=light,
    )
    alpha = alpha[0, ..., None].numpy()
    picture = alpha * pixels[0].numpy() + (1 - alpha) * _background(rng)
    picture = gaussian_filter(picture, (s := rng.uniform(0, 0.9), s, 0))
    picture = picture + rng.normal(0, rng.uniform(0, 0.03), picture.shape)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _background(rng: np.random.Generator) -> np.ndarray:
    noise = sum(
        gaussian_filter(rng.normal(size=(SIZE_PX, SIZE_PX, 3)), (s, s, 0)) * s * w
        for s, w in ((40, 1.5), (12, 0.8), (3, 0.3))
    )
    return np.clip(rng.uniform(0.15, 0.85, 3) + noise * rng.uniform(0.05, 0.3), 0, 1)


def with_forearm(
    model: HandModel, pattern: SkinPattern, mesh: HandMesh, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return vertices, faces and colors of the painted hand with a tube grown from its wrist's rim."""
    colors = torch.as_tensor(paint(pattern, rng))
    vertices = torch.as_tensor(pattern.refine @ mesh.vertices[0].numpy())
    rim = torch.as_tensor(wrist_rim(model))
    ring = mesh.vertices[0, rim]
    wrist = ring.mean(0)
    direction = wrist - mesh.joints[0, [5, 9, 13, 17]].mean(0)
    bend = axis_angle_to_matrix(torch.as_tensor(rng.normal(0, 0.25, 3)))
    direction = direction / direction.norm()
    rings, steps = [ring], np.linspace(0.15, 1, 10)
    for t in steps:
        along = (1 - t) * direction + t * (bend @ direction)
        rings.append(wrist + (ring - wrist) * (1 + 0.35 * t) + 0.22 * t * along)
    tube, n = torch.cat(rings[1:]), len(rim)
    index = torch.cat([rim[None], len(vertices) + torch.arange(len(steps) * n).view(-1, n)])
    a, b = index[:-1], index[1:]
    a2, b2 = a.roll(-1, 1), b.roll(-1, 1)
    quads = torch.cat([torch.stack([a, b, a2], -1).view(-1, 3), torch.stack([a2, b, b2], -1).view(-1, 3)])
    arm = colors[rim].repeat(len(steps), 1)
    return torch.cat([vertices, tube]), torch.cat([pattern.faces, quads]), torch.cat([colors, arm])


def wrist_rim(model: HandModel) -> list[int]:
    """Return the ring of vertices around the cap that closes the wrist (the last vertex), in order."""
    cap = len(model.v_template) - 1
    following = {}
    for face in model.faces.tolist():
        if cap in face:
            i = face.index(cap)
            following[face[(i + 2) % 3]] = face[(i + 1) % 3]
    ring = [next(iter(following))]
    while following[ring[-1]] != ring[0]:
        ring.append(following[ring[-1]])
    return ring
