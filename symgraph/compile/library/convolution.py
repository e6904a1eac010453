"""2-d convolution and its two gradients as matrix products on the micro-kernel.

No column matrix of a batch ever exists: each item gathers the panel it needs into the worker's
workspace and multiplies it while it is in cache ("implicit GEMM"; S. Chetlur et al., "cuDNN:
Efficient primitives for deep learning", 2014). With K = channels * kh * kw and P output pixels:

    conv2d               out[o, p]  = filters[o, K] @ patches[K, p]
    conv2d_grad_inputs   patches[K, p] = filters'[K, o] @ grad[o, p], then added to the image
    conv2d_grad_weights  filters[o, K] = sum over images of grad[o, p] @ patches'[p, K]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from .blocking import channel_block, row_block
from .stage import Lowering, Shapes, Stage, ceil_div, read_sizes
from .tiles import FLOATS, Tile, host_tile

DEPTH = 512  # of a panel along K, as in blocking.py
ITEMS = 8  # enough items for the threads when images are few
PARTS = 16  # at most so many partial sums of the filters' gradient
PARTS_ELEMENTS = 1 << 24  # and at most so many elements in all of them


IMPORTS = '''\
from symgraph.compile.library.microkernel import (
    add_block, block_product, channel_block, copy_block, fold_row, inside, row_block, transpose,
    unfold_rows, zero_block
)

multiply = block_product("{dtype}", {lanes}, {rows}, {vectors})
copy = copy_block("{dtype}", {lanes})
add = add_block("{dtype}", {lanes})
fold = fold_row("{dtype}", {lanes})
unfold = unfold_rows("{dtype}", {lanes})
zero = zero_block("{dtype}", {lanes})
transposed = transpose("{dtype}", {lanes})
'''

FORWARD = '''
def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    out = address(pointer(arrays, 0, {dtype}))
    images = address(pointer(arrays, 1, {dtype}))
    filters = address(pointer(arrays, 2, {dtype}))
    work = address(pointer(arrays, 3, int8)) + worker * work_bytes
    taps = kh * kw
    maps = o // {groups}
    step = max(1, 512 // max(1, taps))
    rows = row_block(oh, ow, min(step, c) * taps, n * {groups})
    blocks = (oh + rows - 1) // rows
    for item in range(start, stop):
        plane = item // blocks  # image * groups + group
        group = plane % {groups}
        y0 = (item - plane * blocks) * rows
        y1 = min(oh, y0 + rows)
        pixels = (y1 - y0) * ow
        # An odd number of strips: a power of two as row length would fill few sets of the cache.
        ld = ((pixels + {width} - 1) // {width} | 1) * {width}
        target = out + (plane * maps * oh + y0) * ow * {size}
        at = 0
        while at == 0 or at < c:
            channels = min(step, c - at)
{gather}            depth = channels * taps
            multiply(
                filters + (group * maps * c + at) * taps * {size}, c * taps, 1, work, ld, {width},
                target, oh * ow, maps, pixels, depth, int(at > 0)
            )
            at += step
'''

GRAD_INPUTS = '''
def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    images = address(pointer(arrays, 0, {dtype}))
    filters = address(pointer(arrays, 1, {dtype}))
    grads = address(pointer(arrays, 2, {dtype}))
    taps = kh * kw
    maps = o // {groups}
    step = channel_block(c, taps, n * {groups})
    blocks = (c + step - 1) // step
    rows = row_block(oh, ow, step * taps, 8)
    strips = (rows * ow + {width} - 1) // {width}
    ld = (strips | 1) * {width}
    patches = address(pointer(arrays, 3, int8)) + worker * work_bytes
    panel = patches + step * taps * ld * {size}
    for item in range(start, stop):
        plane = item // blocks  # image * groups + group
        group = plane % {groups}
        at = (item - plane * blocks) * step
        channels = min(step, c - at)
        image = images + (plane * c + at) * h * w * {size}
        zero(image, 0, image, 0, 1, channels * h * w)
        for y0 in range(0, oh, rows):
            y1 = min(oh, y0 + rows)
            pixels = (y1 - y0) * ow
            first = 0
            while first == 0 or first < maps:
                depth = min({depth}, maps - first)
                grad = grads + ((plane * maps + first) * oh + y0) * ow * {size}
                for p in range(0, pixels, {width}):
                    copy(
                        panel + p * depth * {size}, {width}, grad + p * {size}, oh * ow,
                        depth, min({width}, pixels - p)
                    )
                multiply(
                    filters + ((group * maps + first) * c + at) * taps * {size}, 1, c * taps,
                    panel, {width}, depth * {width}, patches, ld,
                    channels * taps, pixels, depth, int(first > 0)
                )
                first += {depth}
{scatter}'''

# Patches for columns one apart: all taps of a filter row at a time.
UNFOLD = '''\
            for ch in range(channels):
                for i in range(kh):
                    first = ch * taps + {line_start}
                    place = work + first * ld * {size}
                    ya, yb = inside(h, i * {dh} - top, {sh}, y0, y1)
                    for j in range(kw):
                        line = place + {sign} * j * ld * {size}
                        zero(line, 0, line, 0, 1, (ya - y0) * ow)
                        zero(line + (yb - y0) * ow * {size}, 0, line, 0, 1, (y1 - yb) * ow)
                    source = images + (
                        (plane * c + at + ch) * h + ya * {sh} + i * {dh} - top
                    ) * w * {size}
                    unfold(
                        place + (ya - y0) * ow * {size}, {sign} * ld, ow, source, {sh} * w,
                        yb - ya, kw, w, left, {dw}
                    )
'''

# Any stride of columns: tap by tap, row by row.
GATHER = '''\
            for tap in range(channels * taps):
                ch = tap // taps
                i = tap % taps // kw
                j = tap % kw
                place = work + {tap} * ld * {size}
                ya, yb = inside(h, i * {dh} - top, {sh}, y0, y1)
                ta, tb = inside(w, j * {dw} - left, {sw}, 0, ow)
                if yb - ya < y1 - y0 or tb - ta < ow:
                    zero(place, 0, place, 0, 1, pixels)
                source = images + (
                    ((plane * c + at + ch) * h + ya * {sh} + i * {dh} - top) * w
                    + ta * {sw} + j * {dw} - left
                ) * {size}
                place += ((ya - y0) * ow + ta) * {size}
                for y in range(yb - ya):
                    line = source + y * {sh} * w * {size}
                    copy(place + y * ow * {size}, 1, line, {sw}, tb - ta, 1)
'''

FOLD = '''\
            sky, ground = y0 * {sh} - top, (y1 - 1) * {sh} + (kh - 1) * {dh} - top + 1
            for ch in range(channels):
                for line in range(max(0, sky), min(h, ground)):
                    row = image + (ch * h + line) * w * {size}
                    # Filter rows i that bring an output row of this panel here.
                    low = max(0, (line + top - (y1 - 1) * {sh} + {dh} - 1) // {dh})
                    high = min(kh, (line + top - y0 * {sh}) // {dh} + 1)
                    lines = high - low
                    if {sh} > 1:
                        lines = 1
                    for i in range(low, high, max(1, lines)):
                        y = line + top - i * {dh}
                        if y % {sh} == 0:
                            first = ch * taps + {line_start}
                            fold(
                                row, w, patches + (first * ld + (y // {sh} - y0) * ow) * {size},
                                lines, {sign} * kw * ld - {dh} * ow, kw, {sign} * ld, ow,
                                left, {dw}
                            )
'''

SCATTER = '''\
            for tap in range(channels * taps):
                ch = tap // taps
                i = {row_tap}
                j = {column_tap}
                ya, yb = inside(h, i * {dh} - top, {sh}, y0, y1)
                ta, tb = inside(w, j * {dw} - left, {sw}, 0, ow)
                source = patches + (tap * ld + (ya - y0) * ow + ta) * {size}
                target = image + (
                    (ch * h + ya * {sh} + i * {dh} - top) * w + ta * {sw} + j * {dw} - left
                ) * {size}
                for y in range(yb - ya):
                    line = target + y * {sh} * w * {size}
                    add(line, {sw}, source + y * ow * {size}, 1, tb - ta, 1)
'''

GRAD_WEIGHTS = '''
def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    sums = address(pointer(arrays, 0, {dtype}))
    images = address(pointer(arrays, 1, {dtype}))
    grads = address(pointer(arrays, 2, {dtype}))
    taps = kh * kw
    maps = o // {groups}
    step = channel_block(c, taps, 8)
    blocks = (c + step - 1) // step
    rows = row_block(oh, ow, step * taps, n * {groups} * blocks)
    row_blocks = (oh + rows - 1) // rows
    units = n * row_blocks
    # The image lies here channels last and padded, so that a row of filter taps is contiguous.
    width = max(0, (ow - 1) * {sw} + (kw - 1) * {dw} + 1)
    height = (rows - 1) * {sh} + (kh - 1) * {dh} + 1
    image = address(pointer(arrays, 3, int8)) + worker * work_bytes
    patches = image + (height * width * step + {lanes}) * {size}
    for item in range(start, stop):
        part = item // ({groups} * blocks)
        group = item // blocks % {groups}
        at = item % blocks * step
        channels = min(step, c - at)
        across = channels * taps
        ld = ((across + {width} - 1) // {width} | 1) * {width}
        target = sums + ((part * o + group * maps) * c + at) * taps * {size}
        more = 0
        for unit in range(part * units // parts, (part + 1) * units // parts):
            plane = unit // row_blocks * {groups} + group
            y0 = unit % row_blocks * rows
            y1 = min(oh, y0 + rows)
            # Lines and columns of the image that these output rows see; the others are zero.
            sky = y0 * {sh} - top
            la, lb = inside(h, sky, 1, 0, (y1 - y0 - 1) * {sh} + (kh - 1) * {dh} + 1)
            qa, qb = inside(w, -left, 1, 0, width)
            if qb - qa < width or lb - la < (y1 - y0 - 1) * {sh} + (kh - 1) * {dh} + 1:
                zero(image, 0, image, 0, 1, height * width * channels)
            source = images + (((plane * c + at) * h + la + sky) * w + qa - left) * {size}
            goal = image + (la * width + qa) * channels * {size}
            if channels == 1:
                copy(goal, width, source, w, lb - la, qb - qa)
            elif qb - qa == width and w == width:
                transposed(goal, channels, source, h * w, channels, (lb - la) * w)
            else:
                for y in range(lb - la):
                    transposed(
                        goal + y * width * channels * {size}, channels,
                        source + y * w * {size}, h * w, channels, qb - qa
                    )
            for y in range(y1 - y0):
                place = patches + y * ow * ld * {size}
                for i in range(kh):
                    line = image + (y * {sh} + i * {dh}) * width * channels * {size}
                    if {dw} == 1:
                        copy(
                            place + i * kw * channels * {size}, ld, line, {sw} * channels,
                            ow, kw * channels
                        )
                    else:
                        for j in range(kw):
                            copy(
                                place + (i * kw + j) * channels * {size}, ld,
                                line + j * {dw} * channels * {size}, {sw} * channels, ow, channels
                            )
            multiply(
                grads + (plane * maps * oh + y0) * ow * {size}, oh * ow, 1, patches, ld, {width},
                target, c * taps, maps, across, (y1 - y0) * ow, more
            )
            more = 1
        if more == 0:
            zero(target, c * taps, target, c * taps, maps, across)
'''

SUM_WEIGHTS = '''\
# The parts of the gradient by filters, added in order and put into their places, {dtype}.
from symgraph.compile.library.microkernel import channel_block


def kernel(arrays, sizes, start, stop, worker):
{sizes}
{geometry}
    out, sums = pointer(arrays, 0, {dtype}), pointer(arrays, 1, {dtype})
    taps = kh * kw
    step = channel_block(c, taps, 8)
    for item in range(start, stop):
        for ch in range(c):
            first = ch // step * step
            channels = min(step, c - first)
            for tap in range(taps):
                at = (item * c + first) * taps + tap * channels + ch - first
                total = sums[at]
                for part in range(1, parts):
                    total += sums[at + part * count]
                out[(item * c + ch) * taps + {place}] = total
'''


@dataclass(frozen=True)
class Geometry:
    """What is declared of a convolution; sizes are those of image, filters and output."""

    flip: bool
    subsample: tuple[int, int]
    dilation: tuple[int, int]
    pad: str | tuple[tuple[int, int], tuple[int, int]]
    groups: int
    size: tuple[int | None, int | None]

    @classmethod
    def read(cls, params: Mapping[str, object]) -> "Geometry":
        """From the parameters of an operation; ValueError where they make no sense."""
        get = dict(params).get
        pad = get("pad", "valid")
        if isinstance(pad, str):
            if pad not in ("valid", "full", "half"):
                raise ValueError(f"pad must be 'valid', 'full', 'half' or four ints, got {pad!r}")
        else:
            pad = tuple((int(a), int(b)) for a, b in pad)  # type: ignore[attr-defined]
            if len(pad) != 2 or min(map(min, pad)) < 0:
                raise ValueError(f"pad must be ((top, bottom), (left, right)), got {pad!r}")
        subsample = tuple(map(int, get("subsample", (1, 1))))  # type: ignore[call-overload]
        dilation = tuple(map(int, get("filter_dilation", (1, 1))))  # type: ignore[call-overload]
        groups = int(get("num_groups", 1))  # type: ignore[call-overload]
        if len(subsample) != 2 or len(dilation) != 2 or min(*subsample, *dilation, groups) < 1:
            raise ValueError("subsample, filter_dilation and num_groups must be positive")
        size = (get("kh"), get("kw"))
        return cls(bool(get("filter_flip", True)), subsample, dilation, pad, groups, size)  # type: ignore[arg-type]

    def lines(self) -> str:
        """Kernel lines that set kh, kw, top and left where they are not read from sizes."""
        lines = [
            f"    {name} = {literal}"
            for name, literal in zip(("kh", "kw"), self.size, strict=True)
            if literal is not None
        ]
        for axis, name in enumerate(("top", "left")):
            reach = f"({('kh', 'kw')[axis]} - 1) * {self.dilation[axis]}"
            if self.pad == "valid":
                value = "0"
            elif self.pad == "full":
                value = reach
            elif self.pad == "half":
                value = f"({reach} + 1) // 2"
            else:
                value = str(self.pad[axis][0])
            lines.append(f"    {name} = {value}")
        return "\n".join(lines)

    def filter_sizes(self, shape: str) -> str:
        """`shape` with those of kh and kw that are literals left unread."""
        for name, literal in zip(("kh", "kw"), self.size, strict=True):
            if literal is not None:
                shape = shape.replace(name, "_")
        return shape

    def text(self) -> str:
        """For a comment."""
        size = " x ".join("?" if k is None else str(k) for k in self.size)
        return (
            f"filters {size}{', flipped' if self.flip else ''}, subsample {self.subsample}, "
            f"dilation {self.dilation}, pad {self.pad}, groups {self.groups}"
        )


def _setup(dtype: str, params: Mapping[str, object]) -> tuple[Geometry, Tile, dict[str, object]]:
    if dtype not in FLOATS:
        raise ValueError(f"convolutions are for float32 and float64, not {dtype}")
    geometry, tile = Geometry.read(params), host_tile(dtype)
    flipped = "(taps - 1 - tap % taps)"
    literals: dict[str, object] = {
        "dtype": dtype, "lanes": tile.lanes, "rows": tile.rows, "vectors": tile.vectors,
        "size": tile.itemsize, "width": tile.columns, "groups": geometry.groups, "depth": DEPTH,
        "sh": geometry.subsample[0], "sw": geometry.subsample[1],
        "dh": geometry.dilation[0], "dw": geometry.dilation[1],
        "geometry": geometry.lines(),
        "place": flipped if geometry.flip else "tap",
        "tap": f"(ch * taps + {flipped})" if geometry.flip else "tap",
        "row_tap": f"{flipped} // kw" if geometry.flip else "tap % taps // kw",
        "column_tap": f"{flipped} % kw" if geometry.flip else "tap % kw",
    }  # fmt: skip
    literals["line_start"] = "taps - 1 - i * kw" if geometry.flip else "i * kw"
    literals["sign"] = -1 if geometry.flip else 1
    contiguous = geometry.subsample[1] == 1
    literals["gather"] = (UNFOLD if contiguous else GATHER).format(**literals)
    literals["scatter"] = (FOLD if contiguous else SCATTER).format(**literals)
    return geometry, tile, literals


def _print(title: str, geometry: Geometry, body: str, sizes: str, literals: dict) -> str:
    comment = f"# {title}, {literals['dtype']}: {geometry.text()}.\n"
    return comment + IMPORTS.format(**literals) + "\n" + body.format(sizes=sizes, **literals)


def conv2d(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, O, OH, OW) = in0 (N, C, H, W) convolved with in1 (O, C / groups, kh, kw).

    params: filter_flip (default True: convolution; False: correlation), subsample, filter_dilation,
    pad ("valid", "full", "half" or ((top, bottom), (left, right))), num_groups, and kh and kw where
    the filter size is declared. OH = (H + top + bottom - ((kh - 1) * dilation + 1)) // stride + 1.
    Semantics of theano.tensor.nnet.conv2d; dtype float32 or float64, ValueError otherwise.
    """
    geometry, tile, literals = _setup(dtype, params)
    sizes = read_sizes(
        ("n o oh ow", "_ _ _ _"),
        ("_ _ h w", "_ _ _ _"),
        (geometry.filter_sizes("_ c kh kw"), "_ _ _ _"),
        ("work_bytes", ""),
    )
    source = _print("conv2d", geometry, FORWARD, sizes, literals)

    def panel(shapes: Shapes) -> tuple[int, int]:
        """(depth, output rows) of a panel."""
        (n, _, oh, ow), (_, c, kh, kw) = shapes["out0"], shapes["in1"]
        depth = min(c, max(1, DEPTH // (kh * kw))) * kh * kw
        return depth, row_block(oh, ow, depth, n * geometry.groups)

    def extent(shapes: Shapes) -> int:
        n, o, oh, ow = shapes["out0"]
        return n * geometry.groups * ceil_div(oh, panel(shapes)[1]) if o and ow else 0

    def grain(shapes: Shapes) -> int:
        o, (_, c, kh, kw) = shapes["out0"][1], shapes["in1"]
        pixels = panel(shapes)[1] * shapes["out0"][3]
        return _grain(extent(shapes), o // geometry.groups * c * kh * kw * pixels)

    def workspace(shapes: Shapes) -> int:
        depth, rows = panel(shapes)
        return depth * _odd_strips(rows * shapes["out0"][3], tile) * tile.itemsize

    return Lowering((Stage(source, ("out0", "in0", "in1", "work"), extent, grain, workspace),))


def conv2d_grad_inputs(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (N, C, H, W) = gradient of conv2d by the image.

    in0: filters (O, C / groups, kh, kw); in1: gradient of the output (N, O, OH, OW). Parameters as
    for conv2d; pixels that no filter reaches get 0.
    """
    geometry, tile, literals = _setup(dtype, params)
    sizes = read_sizes(
        ("n _ h w", "_ _ _ _"),
        (geometry.filter_sizes("o c kh kw"), "_ _ _ _"),
        ("_ _ oh ow", "_ _ _ _"),
        ("work_bytes", ""),
    )
    source = _print("conv2d_grad_inputs", geometry, GRAD_INPUTS, sizes, literals)

    def panel(shapes: Shapes) -> tuple[int, int]:
        """(channels, output rows) of a panel."""
        (n, _, oh, ow), (_, c, kh, kw) = shapes["in1"], shapes["in0"]
        channels = channel_block(c, kh * kw, n * geometry.groups)
        return channels, row_block(oh, ow, channels * kh * kw, ITEMS)

    def extent(shapes: Shapes) -> int:
        n, c = shapes["out0"][:2]
        return n * geometry.groups * ceil_div(c // geometry.groups, panel(shapes)[0])

    def grain(shapes: Shapes) -> int:
        (o, _, kh, kw), (_, _, oh, ow) = shapes["in0"], shapes["in1"]
        work = o // geometry.groups * panel(shapes)[0] * kh * kw * oh * ow
        return _grain(extent(shapes), work)

    def workspace(shapes: Shapes) -> int:
        channels, rows = panel(shapes)
        o, _, kh, kw = shapes["in0"]
        depth = min(o // geometry.groups, DEPTH) + channels * kh * kw
        return depth * _odd_strips(rows * shapes["in1"][3], tile) * tile.itemsize

    return Lowering((Stage(source, ("out0", "in0", "in1", "work"), extent, grain, workspace),))


def conv2d_grad_weights(dtype: str, params: Mapping[str, object]) -> Lowering:
    """out0 (O, C / groups, kh, kw) = gradient of conv2d by the filters.

    in0: image (N, C, H, W); in1: gradient of the output (N, O, OH, OW). Parameters as for conv2d.
    The images are dealt to at most 16 parts, by the problem, each with its row of tmp0; a second
    stage adds the rows in order.
    """
    geometry, tile, literals = _setup(dtype, params)
    sums = (geometry.filter_sizes("parts o c kh kw"), "count _ _ _ _")
    sizes = read_sizes(
        sums, ("n _ h w", "_ _ _ _"), ("_ _ oh ow", "_ _ _ _"), ("work_bytes", "")
    )
    source = _print("conv2d_grad_weights", geometry, GRAD_WEIGHTS, sizes, literals)

    def panel(shapes: Shapes) -> tuple[int, int, int]:
        """(channels, blocks of them, output rows) of a panel."""
        (n, _, oh, ow), (_, c, kh, kw) = shapes["in1"], shapes["out0"]
        channels = channel_block(c, kh * kw, ITEMS)
        blocks = ceil_div(c, channels)
        rows = row_block(oh, ow, channels * kh * kw, n * geometry.groups * blocks)
        return channels, blocks, rows

    def parts(shapes: Shapes) -> tuple[int, ...]:
        n, _, oh, _ = shapes["in1"]
        units = n * ceil_div(oh, panel(shapes)[2])
        most = PARTS_ELEMENTS // max(1, prod(shapes["out0"]))
        return (max(1, min(PARTS, units, most)), *shapes["out0"])

    def extent(shapes: Shapes) -> int:
        return parts(shapes)[0] * geometry.groups * panel(shapes)[1]

    def grain(shapes: Shapes) -> int:
        (n, _, oh, ow), (o, c, kh, kw) = shapes["in1"], shapes["out0"]
        total = n * oh * ow * (o // geometry.groups) * c * kh * kw * geometry.groups
        return _grain(extent(shapes), total // max(1, extent(shapes)))

    def workspace(shapes: Shapes) -> int:
        channels, _, rows = panel(shapes)
        (_, _, _, ow), (_, _, kh, kw) = shapes["in1"], shapes["out0"]
        (sh, sw), (dh, dw) = geometry.subsample, geometry.dilation
        height = (rows - 1) * sh + (kh - 1) * dh + 1
        width = max(0, (ow - 1) * sw + (kw - 1) * dw + 1)
        patches = rows * ow * _odd_strips(channels * kh * kw, tile)
        return (height * width * channels + tile.lanes + patches) * tile.itemsize

    total = SUM_WEIGHTS.format(
        sizes=read_sizes(("_ _ _ _", "_ _ _ _"), sums), **literals
    )
    return Lowering(
        (
            Stage(source, ("tmp0", "in0", "in1", "work"), extent, grain, workspace),
            Stage(
                total,
                ("out0", "tmp0"),
                lambda shapes: shapes["out0"][0],
                lambda shapes: max(1, ceil_div(65536, 1 + prod(shapes["tmp0"][2:]))),
            ),
        ),
        {"tmp0": (tile.dtype, parts)},
    )


def _grain(extent: int, work: int) -> int:
    """Items in a chunk: a million multiply-adds or more, in at most 64 chunks."""
    return max(1, ceil_div(400_000, work + 1), ceil_div(extent, 64))


def _odd_strips(pixels: int, tile: Tile) -> int:
    """The length of a row of a panel: an odd number of strips."""
    return (ceil_div(pixels, tile.columns) | 1) * tile.columns
