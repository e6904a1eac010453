def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    for i0 in range(start, stop):
        t1 = in1[i0]
        out0[i0] = t1

def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    s0 = sizes[0]
    s1 = sizes[1]
    for i0 in range(start, stop):
        t2 = (i0 * s1)
        for i1 in range(s0):
            t3 = (i1 * 2)
            t4 = (t2 + t3)
            t5 = in1[i1]
            out0[t4] = t5
