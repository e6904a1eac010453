"""Where things are in the int64 vectors that Python fills in and native code reads.

walk.py and rounds.py are compiled against these numbers, driver.py and loop.py write by them; it is
a module of its own since those two cannot be imported without Numba.
"""

(
    STEPS, OPERANDS, POINTERS, SIZES, BASES, ERRORS, FINISHED, THREADS, PARALLEL_FOR, WORKERS,
    COUNT, TAKEN, JOB,
) = range(13)  # fmt: skip
"""A program's context: six addresses, the result, threads allowed, the pool, the worker numbers,
how many operands there are, the address of how many chunks of each worker's part are taken; and
from JOB on what the threads share: the first step, how many steps, the chunks of each."""
CONTEXT = JOB + 3  # slots in all

(
    INNER, INNER_STEPS, TIMES, OUTER, FIXED, FIXED_AT, COPIES, COPIES_AT, MOVING, MOVING_AT, ENDS,
    ENDS_AT, REST, REST_AT, UNTIL, DONE, NOTES, WHEN, WANTED,
) = range(19)  # fmt: skip
"""A loop's record. INNER, OUTER: addresses of contexts; TIMES: rounds, below 0 if it must not be
run. Five lists, length and address: (base, operand, offset) for all rounds; copies before the
first; (base, operand of even rounds, of odd ones, offset, step) for each; copies after the last if
rounds were odd; (operand, offset, step) of rows to clear after an early end. UNTIL: address of a
flag, or 0; DONE, NOTES, WHEN: operands for the number of rounds (or -1), errors and the condition
(or -1), which must be WANTED."""
RECORD = WANTED + 1  # slots in all

REFUSED = 4
"""The code that is noted where a branch is chosen whose sizes do not fit."""
