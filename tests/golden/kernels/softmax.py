def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    s0 = sizes[0]
    for i0 in range(start, stop):
        t2 = (i0 * s0)
        a11 = float32(-1e999)
        for r8 in range(0, s0):
            t9 = (t2 + r8)
            t10 = in1[t9]
            a11 = maximum(a11, t10)
        a15 = float32(0)
        for r5 in range(0, s0):
            t6 = (t2 + r5)
            t7 = in1[t6]
            t12 = (t7 - a11)
            t13 = exp(t12)
            out0[t6] = t13
            a15 = a15 + t13
        for i1 in range(s0):
            t3 = (t2 + i1)
            t4 = out0[t3]
            t16 = (t4 / a15)
            out0[t3] = t16
