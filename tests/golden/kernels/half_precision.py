def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float16)
    in1 = pointer_in(arrays, 1, float16)
    in2 = pointer_in(arrays, 2, int8)
    t5 = in2[0]
    t6 = float32(t5)
    for i0 in range(start, stop):
        t1 = in1[i0]
        t2 = float32(t1)
        t3 = exp(t2)
        t4 = float32(t3)
        t7 = (t4 * t6)
        out0[i0] = t7
