def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, int64)
    in1 = pointer_in(arrays, 1, float32)
    s0 = sizes[0]
    for i0 in range(start, stop):
        t1 = (i0 * s0)
        a8 = float32(-1e999)
        for r5 in range(0, s0):
            t6 = (t1 + r5)
            t7 = in1[t6]
            a8 = maximum(a8, t7)
        a13 = int64(9223372036854775807)
        for r2 in range(0, s0):
            t3 = (t1 + r2)
            t4 = in1[t3]
            t9 = (t4 == a8)
            t10 = (t4 != t4)
            t11 = (t9 | t10)
            t12 = select(t11, r2, s0)
            a13 = minimum(a13, t12)
        out0[i0] = a13
