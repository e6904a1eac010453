def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    in2 = pointer_in(arrays, 2, int64)
    in3 = pointer_in(arrays, 3, float32)
    errors = pointer(arrays, 4, int64)
    s0 = sizes[0]
    s1 = sizes[1]
    t29 = in3[0]
    t30 = float32(s1)
    t31 = (t29 / t30)
    t32 = (-t31)
    for i0 in range(start, stop):
        t2 = (i0 * s0)
        t4 = (i0 < s1)
        a12 = float32(-1e999)
        for r9 in range(0, s0):
            t10 = (t2 + r9)
            t11 = in1[t10]
            a12 = maximum(a12, t11)
        a16 = float32(0)
        for r6 in range(0, s0):
            t7 = (t2 + r6)
            t8 = in1[t7]
            t13 = (t8 - a12)
            t14 = exp(t13)
            out0[t7] = t14
            a16 = a16 + t14
        t18 = (s1 - i0)
        t19 = min(t18, 1)
        t20 = max(t19, 0)
        a25 = int64(0)
        for r21 in range(0, t20):
            t22 = (i0 + r21)
            t23 = in2[t22]
            t24 = int64(t23)
            if t24 < 0:
                t24 += s0
            if t24 < 0 or t24 >= s0:
                errors[0] = 1
                errors[1] = int64(t23)
                errors[2] = s0
                errors[3] = 0
                t24 = 0
            a25 = a25 + t24
        a34 = float32(0)
        for r33 in range(0, t20):
            a34 = a34 + t32
        for i1 in range(s0):
            t3 = (t2 + i1)
            t5 = out0[t3]
            t17 = (t5 / a16)
            t26 = (i1 == a25)
            t27 = float32(t26)
            t28 = (t17 - t27)
            t35 = (t28 * a34)
            t36 = select(t4 != 0, t35, float32(0.0))
            out0[t3] = t36
