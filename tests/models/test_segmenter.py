"""The decoder that tells a hand from the rest: what it is told of the mesh, and that it learns."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits

from amvur.models.segmentation import HandSegmenter, SegmentationConfig, mesh_hints

SIZE = 32


def discs(count, seed):
    """Discs of one color, with bars across them, how far pixels lie inside of discs some pixels off, and what shows
    of the true discs and is covered by them."""
    generator = torch.Generator().manual_seed(seed)
    at = torch.arange(SIZE) + 0.5
    center = SIZE / 2 + 4 * torch.rand(count, 2, 1, 1, generator=generator) - 2
    shift = 3 * torch.randn(count, 2, 1, 1, generator=generator)

    def depth(middle):
        return 8 - torch.hypot(at - middle[:, 0], at[:, None] - middle[:, 1])

    truth = depth(center) > 0
    colors = torch.rand(count, 2, 3, 1, 1, generator=generator)
    images = torch.where(truth[:, None], colors[:, 0], colors[:, 1])
    shows = truth & ((at < 15) | (at > 19))
    images = torch.where((truth & ~shows)[:, None], torch.tensor([0.0, 0.0, 1.0])[:, None, None], images)
    maps = tuple(avg_pool2d(images, 2**k) for k in range(1, 5))
    return (
        images,
        depth(center + shift),
        torch.full((count, SIZE, SIZE), 3.0),
        maps,
        torch.stack([shows, truth], 1),
    )


def small():
    torch.manual_seed(0)
    return HandSegmenter(SegmentationConfig((3, 3, 3, 3), (8, 8, 8, 8)))


def test_it_learns_where_a_hand_ends_that_the_mesh_has_elsewhere():
    *seen, truth = discs(64, 0)
    *unseen, wanted = discs(32, 1)
    network = small()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(network(*seen), truth.float()).backward()
        optimizer.step()
    with torch.no_grad():
        right = ((network(*unseen) > 0) == wanted).float().mean((0, 2, 3))
    of_the_mesh = ((unseen[1] > 0)[:, None] == wanted).float().mean((0, 2, 3))
    assert of_the_mesh.max() < 0.93
    assert right.min() > 0.97


def test_pictures_of_a_batch_are_judged_alone():
    images, depth, std, maps, _ = discs(3, 2)
    network = small()
    both = network(images, depth, std, maps)
    alone = network(images[1:2], depth[1:2], std[1:2], tuple(m[1:2] for m in maps))
    assert both.shape == (3, 2, SIZE, SIZE)
    torch.testing.assert_close(both[1:2], alone, atol=1e-5, rtol=1e-4)


def test_maps_are_taken_in_units_of_their_spread():
    images, depth, std, maps, _ = discs(2, 3)
    network = small()
    wanted = network(images, depth, std, maps)
    network.level_std.copy_(torch.tensor([2.0, 3, 4] * 4))
    scaled = tuple(m * torch.tensor([2.0, 3, 4])[:, None, None] for m in maps)
    torch.testing.assert_close(network(images, depth, std, scaled), wanted, atol=1e-5, rtol=1e-4)


def test_hints_say_how_surely_a_pixel_is_inside_and_how_unlike_the_hand_its_color_is():
    images, depth, std, _, answers = discs(4, 4)
    truth = answers[:, 0]
    depth = torch.where(truth, 1.0, -1.0) * 9
    hints = mesh_hints(images, depth, std)
    torch.testing.assert_close(hints[:, 0], torch.where(truth, 1.5, -1.5))
    torch.testing.assert_close(hints[:, 3:6], images - 0.5)
    inside = truth[:, None].expand(-1, 3, -1, -1)
    assert (
        hints[:, 6:9][inside].abs().max() < 0.01
    )  # the mean color of what is surely inside is that of the disc
    unlike = hints[:, 9]
    assert unlike[truth].max() < 0.1
    assert unlike[~truth].min() > 1
    # a mesh that nobody knows the place of: still finite
    assert mesh_hints(images, depth, torch.full_like(std, 1e9)).isfinite().all()


@pytest.mark.parametrize("part", [0, 1, 2])
def test_gradients_reach_colors_outline_and_maps(part):
    images, depth, std, maps, _ = discs(1, 5)
    values = [images, depth, maps[2]]
    values[part] = values[part].clone().requires_grad_()
    network = small()
    network(values[0], values[1], std, (*maps[:2], values[2], maps[3])).square().sum().backward()
    assert values[part].grad.abs().max() > 0
