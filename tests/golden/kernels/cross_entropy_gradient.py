def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, float32)
    in1 = pointer_in(arrays, 1, float32)
    in2 = pointer_in(arrays, 2, int64)
    in3 = pointer_in(arrays, 3, float32)
    errors = pointer(arrays, 4, int64)
    s0 = sizes[0]
    s1 = sizes[1]
    s2 = sizes[2]
    t30 = in3[0]
    t31 = float32(s2)
    t32 = (t30 / t31)
    t33 = (-t32)
    for i0 in range(start, stop):
        t2 = (i0 * s1)
        t4 = (i0 < s2)
        a9 = float32(-1e999)
        for r6 in range(0, s1):
            t7 = (t2 + r6)
            t8 = in1[t7]
            a9 = maximum(a9, t8)
        a17 = float32(0)
        for r12 in range(0, s1):
            t13 = (t2 + r12)
            t14 = in1[t13]
            t15 = (t14 - a9)
            t16 = exp(t15)
            a17 = a17 + t16
        t19 = (s2 - i0)
        t20 = min(t19, 1)
        t21 = max(t20, 0)
        a26 = int64(0)
        for r22 in range(0, t21):
            t23 = (i0 + r22)
            t24 = in2[t23]
            t25 = int64(t24)
            if t25 < 0:
                t25 += s1
            if t25 < 0 or t25 >= s1:
                errors[0] = 1
                errors[1] = int64(t24)
                errors[2] = s1
                errors[3] = 0
                t25 = 0
            a26 = a26 + t25
        a35 = float32(0)
        for r34 in range(0, t21):
            a35 = a35 + t33
        for i1 in range(s1):
            t3 = (t2 + i1)
            t5 = in1[t3]
            t10 = (t5 - a9)
            t11 = exp(t10)
            t18 = (t11 / a17)
            t27 = (i1 == a26)
            t28 = float32(t27)
            t29 = (t18 - t28)
            t36 = (t29 * a35)
            t37 = select(t4 != 0, t36, float32(0.0))
            out0[t3] = t37
