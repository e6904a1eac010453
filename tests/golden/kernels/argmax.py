def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, int64)
    in1 = pointer_in(arrays, 1, float32)
    s0 = sizes[0]
    s1 = sizes[1]
    for i0 in range(start, stop):
        t1 = (i0 * s1)
        a5 = 0
        ba5 = float32(-1e999)
        for r2 in range(0, s1):
            t3 = (t1 + r2)
            t4 = in1[t3]
            if t4 > ba5 or (t4 != t4 and ba5 == ba5):
                ba5 = t4
                a5 = (0 * s1 + r2)
        out0[i0] = a5
