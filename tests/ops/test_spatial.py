"""Images read between their pixels."""

import numpy as np
import pytest

import tinygrad_lesson as tl


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_on_a_pixel_the_slope_of_a_sampler_is_that_towards_the_next_one(axis, place):
    image = np.random.RandomState(axis + 2 * place).rand(1, 1, 4, 4)
    grid = np.full((1, 2, 1, 1), 2 * 1.25 / 3 - 1)
    grid[0, axis] = 2 * place / 3 - 1
    g = tl.grad(lambda at: tl.sum(tl.bilinear_sampler(image, at)))(grid)
    beyond = grid.copy()
    beyond[0, axis] += 1e-6
    slope = (tl.bilinear_sampler(image, beyond) - tl.bilinear_sampler(image, grid)).item() / 1e-6
    np.testing.assert_allclose(g.numpy()[0, axis].item(), slope, rtol=1e-6, atol=1e-8)
