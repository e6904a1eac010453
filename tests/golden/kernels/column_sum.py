def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    work = pointer(arrays, 2, uint8)
    s0 = sizes[0]
    s1 = sizes[1]
    s2 = sizes[2]
    acc0 = pointer_at(address(work) + worker * 2048 + 0, float64)
    block = start
    for item in range(start, stop):
        first = block * 256
        last = min(first + 256, s1)
        for r in range(first, last):
            acc0[r - first] = float64(0)
        for r1 in range(0, s0):
            t3 = (r1 * s1)
            for r2 in range(first, last):
                t4 = (t3 + r2)
                t5 = in1[t4]
                t6 = float64(t5)
                acc0[r2 - first] = acc0[r2 - first] + t6
        for i0 in range(first, last):
            t8 = acc0[i0 - first]
            t9 = float32(t8)
            out0[i0] = t9
        block += 1
