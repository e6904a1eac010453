def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    s0 = sizes[0]
    s1 = sizes[1]
    for i0 in range(start, stop):
        t2 = (i0 * s1)
        a8 = float32(-1e999)
        for r5 in range(0, s1):
            t6 = (t2 + r5)
            t7 = in1[t6]
            a8 = maximum(a8, t7)
        a16 = float32(0)
        for r11 in range(0, s1):
            t12 = (t2 + r11)
            t13 = in1[t12]
            t14 = (t13 - a8)
            t15 = exp(t14)
            a16 = a16 + t15
        for i1 in range(s1):
            t3 = (t2 + i1)
            t4 = in1[t3]
            t9 = (t4 - a8)
            t10 = exp(t9)
            t17 = (t10 / a16)
            out0[t3] = t17
