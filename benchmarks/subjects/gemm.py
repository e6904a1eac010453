"""Matrix products: transpositions, sizes, shapes."""

from benchmarks.subject import Family, Subject

# name: m, k, n, first kept transposed, second kept transposed, dtype
PRODUCTS = {
    "1024": (1024, 1024, 1024, False, False, "float32"),
    "1024, second transposed": (1024, 1024, 1024, False, True, "float32"),
    "1024, first transposed": (1024, 1024, 1024, True, False, "float32"),
    "1024, both transposed": (1024, 1024, 1024, True, True, "float32"),
    "2048": (2048, 2048, 2048, False, False, "float32"),
    "256": (256, 256, 256, False, False, "float32"),
    "64": (64, 64, 64, False, False, "float32"),
    "500x800 by 800x500": (500, 800, 500, False, False, "float32"),
    "tall, 8192x256 by 256x64": (8192, 256, 64, False, False, "float32"),
    "wide, 64x256 by 256x8192": (64, 256, 8192, False, False, "float32"),
    "deep, 64x8192 by 8192x64": (64, 8192, 64, False, False, "float32"),
    "thin, 1x1024 by 1024x1024": (1, 1024, 1024, False, False, "float32"),
    "1024, float64": (1024, 1024, 1024, False, False, "float64"),
}

FAMILY = Family(
    "gemm",
    "Matrix product",
    "float32 unless named; the fraction of float64 is of half the float32 peak.",
    tuple(
        Subject(
            f"gemm {name}", "gemm", product,
            flops=2.0 * product[0] * product[1] * product[2] * (2 if "float64" in product else 1),
        )
        for name, product in PRODUCTS.items()
    ),
)  # fmt: skip
