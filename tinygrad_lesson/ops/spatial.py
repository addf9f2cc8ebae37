"""Images that are cut out, enlarged, bent: places between pixels."""

from __future__ import annotations

import itertools

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.composing import slices

IMAGES = "expected (batch, channel, height, width)"


def check_image(name, shape, rank=4, expected=IMAGES):
    """Refuse what has another number of axes than images."""
    if len(shape) != rank:
        raise ShapeError(f"{name} is {show(shape)}, {expected}")


@op
class Enlarge(Composite):
    """Images of different sizes, each pixel as a square, brought to `scale` times the size of the first, and joined.

    Source
        MXNet 1.9, `UpSampling` with sample_type nearest.
    """

    scale: int = attr(minimum=1, doc="how much larger than the first")
    multi_input_mode: str = attr("concat", choices=("concat", "sum"), doc="join the channels, or add up")

    def compose(self, F, *args):
        size, made = [n and n * self.scale for n in F.shape(args[0])[2:]], []
        for i, x in enumerate(args):
            shape = F.shape(x)
            check_image(f"input {i}", shape)
            times = {m // n for m, n in zip(size, shape[2:], strict=True) if None not in (m, n)}
            if len(times) > 1 or any(m and n and m % n for m, n in zip(size, shape[2:], strict=True)):
                raise ShapeError(f"input {i} is {show(shape)}, expected an equal part of {tuple(size)}")
            made.append(F.upsampling(x, scale=(times or {self.scale}).pop()))
        if self.multi_input_mode == "concat":
            return F.concat(*made, dim=1)
        return F.add_n(*made)

    def shape(self, *args):
        if not any(None in x for x in args):
            return super().shape(*args)
        channels = [x[1] for x in args] if self.multi_input_mode == "concat" else [args[0][1]]
        space = [n and n * self.scale for n in args[0][2:]]
        return (args[0][0], None if None in channels else sum(channels), *space)

    def oracle(self, *args):
        size = args[0].shape[2] * self.scale
        made = [np.kron(x, np.ones((1, 1, *[size // x.shape[2]] * 2))) for x in args]
        return np.concatenate(made, axis=1) if self.multi_input_mode == "concat" else sum(made)

    @classmethod
    def sample(cls, draw):
        batch, n, scale = draw.size(), draw.size(1, 2), draw.integer(1, 2)
        mode = draw.choice(("concat", "sum"))
        channels = [draw.size() if mode == "concat" else 2 for _ in range(2)]
        first, second = (2 * n, 2 * n), (n * draw.size(1, 2), n)
        second = (second[1], second[1])
        made = cls(scale=scale, multi_input_mode=mode)
        shapes = [(batch, c, *space) for c, space in zip(channels, (first, second), strict=True)]
        return made, {f"args{i}": draw.array(shape) for i, shape in enumerate(shapes)}


@op
class Crop(Composite):
    """A part of an image: as large as that of a second image, or `h_w`.

    Source
        MXNet 1.9, `Crop`.
    """

    offset: tuple[int, ...] = attr((0, 0), doc="where it begins: row and column")
    h_w: tuple[int, ...] = attr((0, 0), doc="its height and width, without a second image")
    center_crop: bool = attr(False, doc="take it from the middle instead")

    def compose(self, F, *args):
        shape = F.shape(args[0])
        check_image("data", shape)
        size = F.shape(args[1])[2:] if len(args) > 1 else self.h_w
        data = args[0]
        for a, (n, m, start) in enumerate(zip(shape[2:], size, self.offset, strict=True), 2):
            if None not in (n, m):
                start = (n - m) // 2 if self.center_crop else start
                if start < 0 or start + m > n:
                    raise ShapeError(
                        f"data is {show(shape)}, expected room for {tuple(size)} at {self.offset}"
                    )
                data = slices(F, data, a, start, m)
        return data

    def shape(self, *args):
        made = super().shape(*args)
        return (*made[:2], *(args[1][2:] if len(args) > 1 else self.h_w))

    def oracle(self, *args):
        h, w = args[1].shape[2:] if len(args) > 1 else self.h_w
        y, x = self.offset
        if self.center_crop:
            y, x = (args[0].shape[2] - h) // 2, (args[0].shape[3] - w) // 2
        return args[0][:, :, y : y + h, x : x + w]

    @classmethod
    def sample(cls, draw):
        shape, second = tuple(draw.size(2, 4) for _ in range(4)), draw.boolean()
        size = tuple(draw.integer(1, n) for n in shape[2:])
        offset = tuple(draw.integer(0, n - m) for n, m in zip(shape[2:], size, strict=True))
        made = cls(offset=offset, h_w=(0, 0) if second else size, center_crop=draw.boolean())
        more = {"args1": draw.array((1, 1, *size))} if second else {}
        return made, {"args0": draw.array(shape), **more}


@op
class BilinearSampler(Composite):
    """Images read at the places of `grid`, between pixels by bilinear interpolation; outside they are 0.

    Shapes
        data (batch, channel, h, w), grid (batch, 2, height, width) with x, then y, from -1 to 1 across the image
        -> (batch, channel, height, width)

    Source
        Jaderberg et al. 2015, section 3.3; MXNet 1.9, `BilinearSampler`. Not smooth where a place meets a pixel.
    """

    def compose(self, F, data, grid):
        shape, places = F.shape(data), F.shape(grid)
        check_image("data", shape)
        check_image("grid", places, expected="expected (batch, 2, height, width)")
        if None in (*shape, *places):
            return F.slice(data, key=())
        flat = F.reshape(data, shape=(*shape[:2], -1))
        sizes = shape[3], shape[2]
        at = [
            F.reshape((slices(F, grid, 1, i, 1) + 1) * ((n - 1) / 2), shape=(places[0], 1, -1))
            for i, n in enumerate(sizes)
        ]
        low = [F.floor(x) for x in at]
        total = 0
        for right, below in itertools.product((0, 1), repeat=2):
            corner, weight, inside = [], 1, True
            for x, begin, step, n in zip(at, low, (right, below), sizes, strict=True):
                near, beyond = begin + step, x - begin  # on a pixel the slope is that towards the next one
                corner.append(near)
                weight = weight * (beyond if step else 1 - beyond)
                inside = F.logical_and(inside, F.equal(F.clip(near, 0, n - 1), near))
            index = F.where(inside, corner[1] * shape[3] + corner[0], 0)
            index = F.broadcast_to(index, shape=(*shape[:2], places[2] * places[3]))
            total = total + F.take_along_axis(flat, index, axis=2) * F.where(inside, weight, 0)
        return F.reshape(total, shape=(*shape[:2], *places[2:]))

    def shape(self, data, grid):
        super().shape(data, grid)
        return (*data[:2], *grid[2:])

    def dtype(self, data, grid):
        return floating(super().dtype(data, grid))

    def oracle(self, data, grid):
        (batch, channels, h, w), space = data.shape, grid.shape[2:]
        y = np.zeros((batch, channels, *space))
        for b, i, j in np.ndindex(batch, *space):
            at = (grid[b, 0, i, j] + 1) * (w - 1) / 2, (grid[b, 1, i, j] + 1) * (h - 1) / 2
            for r, c in itertools.product(range(h), range(w)):
                share = max(0, 1 - abs(at[1] - r)) * max(0, 1 - abs(at[0] - c))
                y[b, :, i, j] += share * data[b, :, r, c]
        return y

    @classmethod
    def sample(cls, draw):
        batch, h, w, space = draw.size(), draw.size(2, 3), draw.size(2, 3), (draw.size(), draw.size())
        kinks = [2 * i / (n - 1) - 1 for n in (h, w) for i in range(-2, n + 2)]
        grid = draw.array((batch, 2, *space), low=-1.4, high=1.4, away_from=kinks)
        return cls(), {"data": draw.array((batch, draw.size(), h, w)), "grid": grid}


@op
class GridGenerator(Composite):
    """Places for a `BilinearSampler`: of an affine map, or of every pixel moved by so many pixels.

    Shapes
        data (batch, 6) with the two rows of the map, or (batch, 2, height, width) -> (batch, 2, height, width)

    Source
        MXNet 1.9, `GridGenerator`.
    """

    transform_type: str = attr("affine", choices=("affine", "warp"), doc="what `data` holds")
    target_shape: tuple[int, ...] = attr((0, 0), doc="height and width of the grid of an affine map")

    def lines(self, F, dtype, size):
        """Numbers from -1 to 1 along x, and along y, in shapes that broadcast."""
        ranges = [
            F.linspace(-1.0, 1.0, n, dtype=dtype) if n else F.linspace(0.0, 0.0, 1, dtype=dtype) for n in size
        ]
        return F.reshape(ranges[1], shape=(1, 1, 1, -1)), F.reshape(ranges[0], shape=(1, 1, -1, 1))

    def compose(self, F, data):
        shape, affine = F.shape(data), self.transform_type == "affine"
        kind = str(floating(F.dtype(data)) or np.dtype(float))
        if not affine:
            check_image("data", shape, expected="expected (batch, 2, height, width)")
            x, y = self.lines(F, kind, shape[2:])
            return F.concat(
                slices(F, data, 1, 0, 1) * (2 / max(1, (shape[3] or 2) - 1)) + x,
                slices(F, data, 1, 1, 1) * (2 / max(1, (shape[2] or 2) - 1)) + y,
                dim=1,
            )
        check_image("data", shape, 2, "expected (batch, 6)")
        if min(self.target_shape) < 1:
            raise AttributeValueError(f"target_shape is {self.target_shape}, expected height and width")
        x, y = self.lines(F, kind, self.target_shape)
        rows = F.reshape(data, shape=(-1, 2, 3, 1, 1))
        of = [F.squeeze(slices(F, rows, 2, i, 1), axis=2) for i in range(3)]
        return of[0] * x + of[1] * y + of[2]

    def shape(self, data):
        made = super().shape(tuple(n or 6 for n in data) if len(data) == 2 else data)
        return (data[0], *made[1:])

    def dtype(self, data):
        return floating(data)

    def oracle(self, data):
        h, w = self.target_shape if self.transform_type == "affine" else data.shape[2:]
        y = np.zeros((len(data), 2, h, w))
        for b, i, j in np.ndindex(len(data), h, w):
            at = 2 * j / max(1, w - 1) - 1, 2 * i / max(1, h - 1) - 1
            if self.transform_type == "affine":
                y[b, :, i, j] = data[b].reshape(2, 3) @ [*at, 1]
            else:
                y[b, :, i, j] = at + 2 * data[b, :, i, j] / [max(1, w - 1), max(1, h - 1)]
        return y

    @classmethod
    def sample(cls, draw):
        batch, size = draw.size(), (draw.size(), draw.size())
        if draw.boolean():
            return cls(target_shape=size), {"data": draw.array((batch, 6))}
        return cls(transform_type="warp"), {"data": draw.array((batch, 2, *size))}


@op
class SpatialTransformer(Composite):
    """Images seen through an affine map each.

    Shapes
        data (batch, channel, h, w), loc (batch, 6) with the two rows of the map -> (batch, channel, *target_shape)

    Source
        Jaderberg et al. 2015; MXNet 1.9, `SpatialTransformer`.
    """

    target_shape: tuple[int, ...] = attr((0, 0), doc="height and width of the result")
    transform_type: str = attr("affine", choices=("affine",), doc="the kind of map")
    sampler_type: str = attr("bilinear", choices=("bilinear",), doc="how numbers between pixels are found")

    def compose(self, F, data, loc):
        return F.bilinear_sampler(data, F.grid_generator(loc, target_shape=self.target_shape))

    def dtype(self, data, loc):
        return floating(super().dtype(data, loc))

    def oracle(self, data, loc):
        return BilinearSampler().oracle(data, GridGenerator(target_shape=self.target_shape).oracle(loc))

    @classmethod
    def sample(cls, draw):
        batch, size = draw.size(), (draw.size(), draw.size())
        image = (batch, draw.size(), 3, 3)
        loc = draw.array((batch, 6), low=-0.02, high=0.02) + np.array([0.6, 0, 0.1, 0, 0.6, 0.15])
        return cls(target_shape=size), {"data": draw.array(image), "loc": loc}
