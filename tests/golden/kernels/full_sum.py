def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float64)
    in1 = pointer_in(arrays, 1, float32)
    s0 = sizes[0]
    s1 = sizes[1]
    for i0 in range(start, stop):
        t1 = (i0 * s0)
        t2 = (s1 - t1)
        t3 = min(s0, t2)
        t4 = max(t3, 0)
        a9 = float64(0)
        for r5 in range(0, t4):
            t6 = (t1 + r5)
            t7 = in1[t6]
            t8 = float64(t7)
            a9 = a9 + t8
        out0[i0] = a9

def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float64)
    s0 = sizes[0]
    for item in range(start, stop):
        a2 = float64(0)
        for r0 in range(0, s0):
            t1 = in1[r0]
            a2 = a2 + t1
        t3 = float32(a2)
        out0[0] = t3
