def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    s0 = sizes[0]
    for i0 in range(start, stop):
        t1 = (i0 * s0)
        a6 = float64(0)
        for r2 in range(0, s0):
            t3 = (t1 + r2)
            t4 = in1[t3]
            t5 = float64(t4)
            a6 = a6 + t5
        t7 = float32(a6)
        out0[i0] = t7
