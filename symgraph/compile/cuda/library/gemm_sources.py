"""The device's kernels of gemm.py as they are printed; names in braces are filled in there."""

PRODUCT = """\
# C = A @ B, {what}, {dtype}: tiles of {rows} x {columns}, of a thread {high} x {wide}.


def kernel(arrays, sizes):  # {threads} threads, {resident} blocks
{sizes}
    a, b = pointer(arrays, {a_operand}, {dtype}), pointer(arrays, {b_operand}, {dtype})
    c = pointer(arrays, 0, {dtype})
    if parts > 0:
        c = pointer(arrays, 1, {dtype})
    c_row, c_column = {c_strides}
    t = thread()
    down, across = uint32((m + {rows} - 1) // {rows}), uint32((n + {columns} - 1) // {columns})
    pieces = uint32(max(parts, 1))
    item = uint32(block())
    above = item // across
    c0 = int64(item - above * across) * {columns}
    item = above
    above = item // down
    r0 = int64(item - above * down) * {rows}
    matrix = int64(above // pieces)
    part = int64(above) - matrix * int64(pieces)
    tile = shared("tile", {dtype}, {room})
    share = (k + {depth} * int64(pieces) - 1) // ({depth} * int64(pieces)) * {depth}
    k0 = min(part * share, k)
    left = min(share, k - k0)
    steps = int32((left + {depth} - 1) // {depth})
{dense}{setup}    group, u = t // {team}, t % {team}
    y, x = u // {teams_across} * {high_unit}, u % {teams_across} * {wide_unit}
    a_from, b_from = group * {a_pitch} + y, {b_place} + group * {b_pitch} + x
    sums, a_part, b_part = (
        registers({dtype}, {high} * {wide}), registers({dtype}, {high}), registers({dtype}, {wide})
    )
    for e in range({high} * {wide}):
        sums[e] = {dtype}(0)
    turn = 0
    kept = shared("kept", int64, 8)  # what would take registers that the sums need
    if t == 0:
        kept[0], kept[1] = a_hopped, b_hopped
        kept[2], kept[3] = {depth} * a_inner, {depth} * b_inner
        kept[4], kept[5], kept[6] = r0, c0, (part * batch + matrix) * m * n
        kept[7] = left
    barrier()
{loops}{meet}    r0, c0 = kept[4] + y, kept[5] + x
    c = c + kept[6] + r0 * c_row + c0 * c_column
    rows, columns = m - r0, n - c0
    if group > 0:
        rows = 0
{write}"""

# What the next step needs is read while this one is computed.
LOOP = """\
    for step in range(int32(steps + 1)):
        if step < steps:
            if step == steps - 1:
                reach = int32(kept[7] - step * {depth})
{last}{read}        if step > 0:
{multiply}        if step < steps:
{keep}        turn = {half} - turn
        a, b = a + kept[2], b + kept[3]
        barrier()
"""

DENSE = """\
    {x}_even = ({x}_batch & 3) == 0 and (address({x}) & 15) == 0
    {x}_by_i = {x}_even and {whole} and {x}_outer == 1 and (({x}_inner | {extent}) & 3) == 0
    {x}_by_p = {x}_even and {x}_inner == 1 and (({x}_outer | k) & 3) == 0
"""
FOURS = """\
    # Tiles are copied by fours along the axes that lie dense, where all lies on multiples of 16
    # bytes; else one by one, along the axes of the smaller strides.
    fours = (a_by_i or a_by_p) and (b_by_i or b_by_p)
"""

SETUP = """\
    if fours and {x}_by_i:
        {x}_i, {x}_p, {x}_di, {x}_dp = t % {quads} * 4, t // {quads}, 0, {threads} // {quads}
    elif fours:
        {x}_i, {x}_p = t // {lanes} % {tile}, t % {lanes} * 4 + t // {area} * {reach}
        {x}_di, {x}_dp = 0, {threads} // {area} * {reach}
    elif abs({x}_outer) < abs({x}_inner):
        {x}_i, {x}_p, {x}_di, {x}_dp = t % {tile}, t // {tile}, 0, {threads} // {tile}
    else:
        {x}_i, {x}_p, {x}_di, {x}_dp = t // {width}, t % {width}, {down}, {along}
    {x} = {x} + matrix * {x}_batch + ({first} + {x}_i) * {x}_outer + (k0 + {x}_p) * {x}_inner
    {x}_hopped = {x}_di * {x}_outer + {x}_dp * {x}_inner
    {x}_at, {x}_hop = {place} + {x}_p * {pitch} + {x}_i, {x}_dp * {pitch} + {x}_di
    {x}_many = int32(0)
    for e in range({held}):
        if e * {x}_di < min({tile}, {extent} - {first}) - {x}_i and {x}_p < {depth}:
            {x}_many = int32({x}_many + 1)
    {x}_held = registers({dtype}, {held})
"""

MULTIPLY = """\
            for q in range({once}):
                p = {first} + q
{part}                for i in range({high}):
                    for j in range({wide}):
                        sums[i * {wide} + j] += a_part[i] * b_part[j]
"""

PART_FOURS = """\
                for i in range({side} // 4):
                    at = {half} - turn + {x}_from + p * {groups} * {pitch} + i * {hop}
                    v0, v1, v2, v3 = load4(tile, at)
                    {x}_part[4 * i], {x}_part[4 * i + 1] = v0, v1
                    {x}_part[4 * i + 2], {x}_part[4 * i + 3] = v2, v3
"""
PART = """\
                for i in range({side}):
                    at = {half} - turn + {x}_from + p * {groups} * {pitch}
                    {x}_part[i] = tile[at + i // {unit} * {hop} + i % {unit}]
"""

LAST = """\
                some = int32(0)
                for e in range({count}):
                    if e < {x}_many and int32({x}_p + e * {x}_dp) < reach:
                        some = int32(some + 1)
                {x}_many = some
"""

READ_FOURS = """\
            for q in range({held_fours}):
                v0 = v1 = v2 = v3 = float32(0)
                if q < {x}_many:
                    v0, v1, v2, v3 = load4({x}, q * kept[{slot}])
                {x}_held[4 * q], {x}_held[4 * q + 1] = v0, v1
                {x}_held[4 * q + 2], {x}_held[4 * q + 3] = v2, v3
"""
READ = """\
            for e in range({ones}):
                {x}_held[e] = {dtype}(0)
                if e < {x}_many:
                    {x}_held[e] = {x}[e * kept[{slot}]]
"""

KEEP_FOURS = """\
            if {x}_by_i:
                for q in range({held_fours}):
                    if {some_four}:
                        store4(
                            tile, turn + {x}_at + q * {x}_hop, {x}_held[4 * q],
                            {x}_held[4 * q + 1], {x}_held[4 * q + 2], {x}_held[4 * q + 3],
                        )
            else:
                for q in range({held_fours}):
                    if {some_four}:
                        for e in range(4):
                            tile[turn + {x}_at + q * {x}_hop + e * {pitch}] = {x}_held[4 * q + e]
"""
KEEP = """\
            if {some_one}:
                for e in range({ones}):
                    tile[turn + {x}_at + e * {x}_hop] = {x}_held[e]
"""

MEET = """\
    # the groups' sums, each of every {groups}-th term, are added in order
    if group > 0:
        for e in range({high} * {wide}):
            tile[((group - 1) * {high} * {wide} + e) * {team} + u] = sums[e]
    barrier()
    if group == 0:
        for g in range({groups} - 1):
            for e in range({high} * {wide}):
                sums[e] += tile[(g * {high} * {wide} + e) * {team} + u]
"""

WRITE_FOURS = """\
    if c_column == 1 and (c_row & 3) == 0 and (address(c) & 15) == 0:
        for i in range({high}):
            row = i // {high_unit} * {high_hop} + i % {high_unit}
            for j in range({wide} // 4):
                if row < rows and j * {wide_hop} < columns:
                    store4(
                        c, row * c_row + j * {wide_hop}, sums[i * {wide} + 4 * j],
                        sums[i * {wide} + 4 * j + 1], sums[i * {wide} + 4 * j + 2],
                        sums[i * {wide} + 4 * j + 3],
                    )
        rows = 0
"""
WRITE = """\
    for i in range({high}):
        row = i // {high_unit} * {high_hop} + i % {high_unit}
        for j in range({wide}):
            column = j // {wide_unit} * {wide_hop} + j % {wide_unit}
            if row < rows and column < columns:
                c[row * c_row + column * c_column] = sums[i * {wide} + j]
"""

ADD = """\
# Sums of {dtype}, in parts, are added in order: {groups} threads to an element.


def kernel(arrays, sizes):  # 256 threads
{sizes}
    out, part = pointer(arrays, 0, {dtype}), pointer(arrays, 1, {dtype})
    held = shared("held", {dtype}, 256)
    t = thread()
    group, u = t // {team}, t % {team}
    i = block() * {team} + u
    total = {dtype}(0)
    if i < count:
        for p in range(group, parts, {groups}):
            total += part[p * count + i]
    if {groups} > 1:
        held[t] = total
        barrier()
    if group == 0 and i < count:
        for g in range(1, {groups}):
            total += held[g * {team} + u]
        out[i] = total
"""
