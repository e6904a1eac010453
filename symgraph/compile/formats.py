"""What elementary functions need to know of float32 and float64: layout, limits, polynomials."""

# mypy: allow-untyped-defs, allow-untyped-calls
# (what llvmlite does not type)

from __future__ import annotations

from typing import Any

from llvmlite import ir


class Format:
    """What the functions need to know of a floating-point format."""

    def __init__(self, real: ir.Type, width: int, mantissa: int, **constants: Any) -> None:
        self.real, self.bits, self.mantissa = real, ir.IntType(width), mantissa
        self.bias = (1 << (width - mantissa - 2)) - 1
        # Adding this rounds a small number to an integer and leaves it in the low bits.
        self.magic = 1.5 * 2.0**mantissa
        self.magic_bits = ((self.bias + mantissa) << mantissa) + (1 << (mantissa - 1))
        self.tiny = 2.0 ** (1 - self.bias)
        self.ln2: tuple[float, float] = constants["ln2"]
        self.log10_2: tuple[float, float] = constants["log10_2"]
        self.sqrt_half_bits: int = constants["sqrt_half_bits"]
        self.exp_range: tuple[float, float] = constants["exp_range"]
        self.exp2_range: tuple[float, float] = constants["exp2_range"]
        self.tanh_limit: float = constants["tanh_limit"]
        self.exp: tuple[float, ...] = constants["exp"]
        self.log: tuple[float, ...] = constants["log"]
        self.log_of_sum: tuple[float, ...] = constants["log_of_sum"]


FLOAT32 = Format(
    ir.FloatType(),
    32,
    23,
    ln2=(0.693359375, -2.12194440054690583e-4),
    log10_2=(0.301025390625, 4.6050389811952137e-6),
    sqrt_half_bits=0x3F3504F3,
    exp_range=(-105.0, 89.0),
    exp2_range=(-151.0, 129.0),
    tanh_limit=10.0,
    exp=(0.5, 0.16666666681704215, 0.04166646419740569, 0.008333310844647862,
         0.0013933730715792083, 0.00019891080463998843),
    log=(0.6666666655358509, 0.40000122584957254, 0.2855073636310781, 0.23332762955117523),
    log_of_sum=(0.6666666665002361, 0.4000001076994967, 0.2857030572188357, 0.22264711209003207,
                0.1746470246542378, 0.20787616855802504),
)  # fmt: skip
FLOAT64 = Format(
    ir.DoubleType(),
    64,
    52,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
    log10_2=(3.01029995663611771306e-01, 3.69423907715893078616e-13),
    sqrt_half_bits=0x3FE6A09E667F3BCD,
    exp_range=(-746.0, 710.0),
    exp2_range=(-1076.0, 1025.0),
    tanh_limit=22.0,
    exp=(0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326084,
         0.0013888888888883711, 0.0001984126987500228, 2.480158732567746e-05,
         2.755725517000089e-06, 2.755727347871858e-07, 2.5105312729622103e-08,
         2.09147553258932e-09),
    log=(0.666666666666667, 0.3999999999989827, 0.2857142862653362, 0.22222211043776857,
         0.18182895750119193, 0.1533150161114533, 0.1461916613488797),
    log_of_sum=(0.6666666666666666, 0.40000000000000013, 0.2857142857142194, 0.22222222223331986,
                0.18181818086005655, 0.15384620253804163, 0.13333176949138162, 0.11767997767241278,
                0.10480399234362832, 0.09942024896570179, 0.06334110851714574,
                0.15231262619516228),
)  # fmt: skip
