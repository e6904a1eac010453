def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    in2 = pointer_in(arrays, 2, float32)
    s0 = sizes[0]
    s1 = sizes[1]
    for i0 in range(start, stop):
        t2 = (i0 * s0)
        t5 = (i0 * (-1))
        for i1 in range(s0):
            t3 = (t2 + i1)
            t4 = (i1 * s1)
            t6 = (t4 + t5)
            t7 = in1[t6]
            t8 = in2[t3]
            t9 = (t7 * t8)
            out0[t3] = t9
