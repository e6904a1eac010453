def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    for i0 in range(start, stop):
        t1 = in1[i0]
        out0[i0] = t1

def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, int64)
    in2 = pointer_in(arrays, 2, float32)
    errors = pointer(arrays, 3, int64)
    s0 = sizes[0]
    s1 = sizes[1]
    for i0 in range(start, stop):
        t2 = in1[i0]
        t3 = int64(t2)
        if t3 < 0:
            t3 += s1
        if t3 < 0 or t3 >= s1:
            errors[0] = 1
            errors[1] = int64(t2)
            errors[2] = s1
            errors[3] = 0
            t3 = 0
        t4 = (t3 * s0)
        t7 = (i0 * s0)
        for i1 in range(s0):
            t5 = (t4 + i1)
            t6 = out0[t5]
            t8 = (t7 + i1)
            t9 = in2[t8]
            t10 = (t6 + t9)
            out0[t5] = t10
