def kernel(arrays, sizes, start, stop, worker):
    out0 = pointer_out(arrays, 0, int64)
    in1 = pointer_in(arrays, 1, int64)
    in2 = pointer_in(arrays, 2, int64)
    errors = pointer(arrays, 3, int64)
    for i0 in range(start, stop):
        t1 = in1[i0]
        t2 = in2[i0]
        if t2 == 0:
            errors[0] = 2
        t3 = floor_divide(t1, t2)
        out0[i0] = t3
