def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, int64)
    in2 = pointer_in(arrays, 2, float32)
    errors = pointer(arrays, 3, int64)
    s0 = sizes[0]
    s1 = sizes[1]
    for i0 in range(start, stop):
        t2 = (i0 * s0)
        t4 = in1[i0]
        t5 = int64(t4)
        if t5 < 0:
            t5 += s1
        if t5 < 0 or t5 >= s1:
            errors[0] = 1
            errors[1] = int64(t4)
            errors[2] = s1
            errors[3] = 0
            t5 = 0
        t6 = (t5 * s0)
        for i1 in range(s0):
            t3 = (t2 + i1)
            t7 = (t6 + i1)
            t8 = in2[t7]
            out0[t3] = t8
