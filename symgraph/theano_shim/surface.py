"""The names that code written for Theano uses, by area, and docs/theano.md, which is made of them.

Source of the names: Theano 1.0.5, its library and tutorial pages.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator

from symgraph.theano_shim.absent import ABSENT
from symgraph.theano_shim.modules import is_provided
from symgraph.theano_shim.table import API_VERSION

_SHAPES = "scalar vector matrix row col tensor3 tensor4 tensor5 tensor6 tensor7".split()
_PLURALS = {"matrix": "matrices"}

# rows: a module, or a class in one (module:Class), and its names
AREAS: dict[str, str] = {
    "Types, variables, constants": """
theano Variable Constant Apply Type Generic generic shared
theano.tensor TensorType TensorVariable TensorConstant Tensor tensor constant as_tensor_variable
  as_tensor cast shape specify_shape addbroadcast unbroadcast patternbroadcast
  get_scalar_constant_value extract_constant get_vector_length is_flat transfer
  tensor_from_scalar scalar_from_tensor all_dtypes int_dtypes uint_dtypes integer_dtypes
  discrete_dtypes float_dtypes continuous_dtypes complex_dtypes AsTensorError ShapeError
  NotScalarConstantError
theano.tensor:TensorVariable T all any arccos arccosh arcsin arcsinh arctan arctanh argmax argmin
  argsort astype broadcastable ceil choose clip clone compress conj conjugate copy cos cosh
  cumprod cumsum deg2rad diagonal dimshuffle dot dtype eval exp exp2 expm1 fill flatten floor
  get_scalar_constant_value imag log log10 log1p log2 max mean min name ndim nonzero
  nonzero_values norm ones_like owner prod ptp rad2deg ravel real repeat reshape round
  searchsorted shape sin sinh size sort sqrt squeeze std sum swapaxes tag take tan tanh trace
  transfer transpose trunc type var zeros_like
theano.tensor:TensorType broadcastable clone dtype filter make_variable ndim
theano.scalar upcast all_types int_types uint_types discrete_types float_types continuous_types
  complex_types
theano _asarray""",
    "Shared variables": """
theano.compile SharedVariable shared
theano.tensor.sharedvar TensorSharedVariable
theano.compile:SharedVariable clone container default_update eval get_value name set_value tag type
  value zero""",
    "Functions and modes": """
theano function In Out Param SymbolicInput SymbolicOutput Mode predefined_modes clone OpFromGraph
  config change_flags
theano.compile Function function pfunc In Out Param Mode FAST_RUN FAST_COMPILE get_mode
  get_default_mode register_mode predefined_modes DebugMode MonitorMode ProfileStats OpFromGraph
  as_op UnusedInputError
theano.compile:Function copy free get_shared input_storage maker name output_keys return_none
  trust_input unpack_single value
theano.compile:Mode including excluding requiring clone linker optimizer provided_linker
  provided_optimizer
theano.compile.nanguardmode NanGuardMode
theano.compile.monitormode MonitorMode detect_nan
theano.compile.debugmode DebugMode DebugModeError BadThunkOutput BadOptimization BadDestroyMap
  BadViewMap InvalidValueError
theano.compile.profiling ProfileStats
theano.configparser TheanoConfigParser change_flags
theano.gof MissingInputError""",
    "Gradients": """
theano grad Rop Lop subgraph_grad
theano.tensor grad Rop Lop jacobian hessian verify_grad numeric_grad consider_constant
theano.gradient grad Rop Lop jacobian hessian subgraph_grad consider_constant zero_grad
  disconnected_grad undefined_grad grad_clip grad_scale grad_not_implemented grad_undefined
  verify_grad numeric_grad DisconnectedInputError DisconnectedType NullType NullTypeGradError
  GradientError""",
    "Neural networks": """
theano.tensor.nnet conv2d conv2d_transpose conv2d_grad_wrt_inputs conv3d separable_conv2d
  abstract_conv2d batch_normalization binary_crossentropy categorical_crossentropy confusion_matrix
  crossentropy_categorical_1hot crossentropy_softmax_1hot crossentropy_softmax_1hot_with_bias
  crossentropy_softmax_argmax_1hot_with_bias crossentropy_softmax_max_and_argmax_1hot
  crossentropy_softmax_max_and_argmax_1hot_with_bias elu h_softmax hard_sigmoid logsoftmax
  prepend_0_to_each_row prepend_1_to_each_row prepend_scalar_to_each_row relu selu sigmoid
  sigmoid_binary_crossentropy softmax softmax_graph softmax_with_bias softplus softsign
  ultra_fast_sigmoid
theano.tensor.nnet.conv conv2d
theano.tensor.nnet.abstract_conv AbstractConv2d AbstractConv2d_gradInputs
  AbstractConv2d_gradWeights AbstractConv3d AbstractConv3d_gradInputs AbstractConv3d_gradWeights
  bilinear_kernel_1D bilinear_kernel_2D bilinear_upsampling border_mode_to_pad causal_conv1d
  check_conv_gradinputs_shape conv2d conv2d_grad_wrt_inputs conv2d_grad_wrt_weights conv3d
  conv3d_grad_wrt_inputs conv3d_grad_wrt_weights frac_bilinear_upsampling
  get_conv_gradinputs_shape get_conv_gradinputs_shape_1axis get_conv_gradweights_shape
  get_conv_gradweights_shape_1axis get_conv_output_shape get_conv_shape_1axis separable_conv2d
  separable_conv3d
theano.tensor.nnet.bn batch_normalization batch_normalization_train batch_normalization_test
theano.tensor.nnet.conv3d2d conv3d
theano.tensor.nnet.neighbours images2neibs neibs2images
theano.tensor.signal.pool pool_2d pool_3d max_pool_2d_same_size Pool
theano.tensor.signal.downsample max_pool_2d
theano.tensor.signal.conv conv2d
theano.tensor.xlogx xlogx xlogy0""",
    "Element by element": """
theano.tensor abs_ add and_ angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and
  bitwise_not bitwise_or bitwise_xor ceil ceil_intdiv chi2sf clip conj cos cosh deg2rad div_proxy
  divmod eq erf erfc erfcinv erfcx erfinv exp exp2 expm1 floor floor_div gamma gammaln gammainc
  gammaincc gammal gammau ge gt i0 i1 imag int_div inv invert iround isclose isinf isnan iv j0 j1
  jv le log log10 log1p log2 lt maximum minimum mod mod_check mul neg neq or_ pow power psi rad2deg
  real round round_half_away_from_zero round_half_to_even second sgn sin sinh sqr sqrt sub switch
  tan tanh tri_gamma true_div trunc where xor""",
    "Reductions": """
theano.tensor all allclose any argmax argmin cov largest max max_and_argmax mean min prod ptp
  smallest std sum var""",
    "Shapes and making tensors": """
theano.tensor alloc arange choose concatenate diag diagonal eye fill flatten full full_like
  horizontal_stack identity_like join mgrid ogrid ones ones_like repeat reshape roll shape_padaxis
  shape_padleft shape_padright split squeeze stack stacklists swapaxes tensor_copy tile transpose
  tri tril triu vertical_stack zeros zeros_like""",
    "Indexing and order": """
theano.tensor set_subtensor inc_subtensor take nonzero nonzero_values flatnonzero sort argsort topk
  argtopk topk_and_argtopk inverse_permutation permute_row_elements
theano.tensor.subtensor Subtensor IncSubtensor AdvancedSubtensor AdvancedIncSubtensor
  set_subtensor inc_subtensor take
theano.tensor.extra_ops bartlett bincount compress cumprod cumsum diff fill_diagonal
  fill_diagonal_offset ravel_multi_index repeat searchsorted squeeze to_one_hot unravel_index Unique
theano.tensor fill_diagonal fill_diagonal_offset ravel_multi_index unravel_index bartlett""",
    "Linear algebra": """
theano dot
theano.tensor dot outer tensordot batched_dot batched_tensordot
theano.tensor.nlinalg alloc_diag det diag eig eigh extract_diag lstsq matrix_dot matrix_inverse
  matrix_power norm pinv qr svd tensorinv tensorsolve trace
theano.tensor.slinalg cholesky eigvalsh expm kron solve solve_lower_triangular solve_symmetric
  solve_upper_triangular""",
    "Random streams": """
theano.tensor.shared_randomstreams RandomStreams RandomStateSharedVariable
theano.tensor.shared_randomstreams:RandomStreams binomial choice multinomial normal permutation
  poisson random_integers seed shuffle_row_elements state_updates uniform updates
theano.tensor.raw_random binomial choice multinomial normal permutation poisson random_integers
  random_state_type uniform
theano.sandbox.rng_mrg MRG_RandomStreams
theano.sandbox.rng_mrg:MRG_RandomStreams binomial choice multinomial multinomial_wo_replacement
  normal seed truncated_normal uniform inc_rstate get_substream_rstates""",
    "Control flow": """
theano scan map reduce foldl foldr scan_checkpoints OrderedUpdates
theano.scan_module scan map reduce foldl foldr scan_checkpoints until
theano.scan_module.scan_utils until clone
theano.updates OrderedUpdates
theano.ifelse ifelse IfElse""",
    "Printing and drawing": """
theano pp pprint
theano.printing Print debugprint pp pprint pydotprint
theano.d3viz d3viz""",
    "Extending, graphs, pickling, tests": """
theano Op Apply as_op
theano.compile.ops as_op FromFunctionOp
theano.gof Op Apply Variable Constant Type Generic generic
theano.gof:Apply clone_with_new_inputs default_output inputs nin nout op out outputs tag
theano.gof.graph ancestors inputs variables orphans ops list_of_nodes io_toposort clone
  clone_get_equiv is_in_ancestors equal_computations is_same_graph
theano.gof.op get_debug_values
theano.tensor Elemwise DimShuffle Dot Join Reshape Subtensor ARange Alloc
theano.tensor.opt Assert assert_op
theano.raise_op Raise
theano.misc.pkl_utils dump load StripPickler
theano.tests.unittest_tools fetch_seed seed_rng verify_grad assert_allclose SkipTest WrongValue""",
}

# what runs, and differs on purpose
DIFFERENT: dict[str, str] = {
    "theano.tensor.DimShuffle": "for `isinstance`: op classes are built differently here",
    "theano.tensor.Elemwise": "for `isinstance`: op classes are built differently here",
    "theano.compile.Mode": "one linker: each name of one means it; optimizers are names",
    "theano.compile.function": "`accept_inplace` means nothing: arguments are never overwritten; "
    "results are arrays, those of `generic` variables are for ops alone",
    "theano.tensor.raw_random.random_state_type": "functions return a state as an array, and take "
    "it back as one",
    "theano.config": "what means nothing here is accepted and listed by `config.describe()`",
    "theano.d3viz.d3viz": "one file that needs no other; `copy_deps` means nothing",
    "theano.printing.pydotprint": "kernels are framed; without Graphviz an SVG is written",
    "theano.tensor.cast": "to complex types: not supported",
    "theano.tensor.nnet.conv2d": "sizes other than the declared ones always raise ValueError, in "
    "`conv3d` too; Theano checked if `conv.assert_shape` was set, and raised AssertionError",
    "theano.scan": "`n_steps` beyond a sequence raises, where Theano cut it in silence",
    "theano.tensor.signal.pool.Pool": "for `isinstance`: op classes are built differently here",
    "theano.tensor.signal.pool.pool_2d": 'also `ties="first"`, in `pool_3d` too: of the elements '
    "that tie for a maximum, the first alone gets the gradient; the default is Theano's, all",
    "theano.tensor.signal.downsample.max_pool_2d": "as in Theano 0.6 to 0.8, with a warning",
}

_HEAD = f"""\
# Code written for Theano

Made by `symgraph.theano_shim.surface.document`; a test keeps it true. The names are those of Theano
{API_VERSION} and, where tutorials use them, of older ones.

`python -m symgraph run script.py [args]` runs a script that imports theano, unchanged; `run -m` a
module. In a program of your own, before the first import of theano:

```python
import symgraph

symgraph.install_as_theano()
```

Then `import theano`, `import theano.tensor as T`, `from theano.tensor.signal import downsample`
and all the modules below mean symgraph's objects; `theano.__version__` is {API_VERSION!r}. Nothing
of this is active unless asked for. A name that is not there raises AttributeError (where it is
imported: ImportError) and says which one to use. Spellings of older versions work for ever, with
a DeprecationWarning at your line. THEANO_FLAGS, `.theanorc` and assignments to `theano.config`
hold; `theano.config.describe()` lists which flags mean something.

Lasagne 0.1 runs on it unchanged: 471 of its own tests pass, the others need a GPU or an older mock
library. So do Keras 1.2.2 and 2.3.1 with their Theano backend, once what newer versions of Python
and NumPy removed is put back. A process that multiprocessing spawns (rather than forks)
has to install the alias for itself.
"""

_BUGS = """\
* `x[None]` on a variable with further unwritten dimensions works.
* `x * 0`, `x - x` and `x / x` are computed: x may hold NaN or infinity.
* Gradients of `diagonal` of a matrix that is not square, of average_exc_pad pooling with padding,
  and of `clip` with crossed bounds are those of the function.
* `scan` with no steps gives no rows; `n_steps` beyond a sequence raises.
* `None` as an argument is a TypeError.
* DisconnectedInputError says which variable is disconnected from what."""


def names() -> Iterator[tuple[str, str, str]]:
    """(area, module or class, name) for every name of the surface but the makers of variables."""
    for area, text in AREAS.items():
        home = ""
        for line in text.strip().splitlines():
            words = line.split()
            if not line.startswith(" "):
                home, *words = words
            for word in words:
                yield area, home, word


def makers() -> Iterator[str]:
    """The makers of variables in theano.tensor, complex ones apart: scalar to dtensor7s."""
    for prefix, shape in itertools.product(["", *"bwilfd"], _SHAPES):
        yield prefix + shape
        yield prefix + _PLURALS.get(shape, shape + "s")


def is_there(home: str, name: str) -> bool:
    """Whether `name` of a module, or of a class in one (module:Class), means something here."""
    module, _, cls = home.partition(":")
    if not cls:
        return is_provided(f"{module}.{name}")
    kind = getattr(importlib.import_module(module), cls, None)
    return hasattr(kind, name) or name in getattr(kind, "__annotations__", ())


def document() -> str:
    """docs/theano.md: what is provided, by area; what differs; what is not there, and why."""
    areas: dict[str, dict[str, list[str]]] = {}
    for area, home, name in names():
        if is_there(home, name):
            areas.setdefault(area, {}).setdefault(home, []).append(name)
    lines = [_HEAD, "## Provided"]
    for area, homes in areas.items():
        lines += ["", f"### {area}", "", "| in | names |", "|---|---|"]
        if area.startswith("Types"):
            shapes = f"{', '.join(_SHAPES)}, plain or with a prefix of b w i l f d; their plurals"
            lines.append(f"| theano.tensor | {shapes} |")
        for home, found in homes.items():
            marked = [f"{n} *" if f"{home}.{n}" in DIFFERENT else n for n in found]
            lines.append(f"| {home.replace(':', '.')} | {', '.join(marked)} |")
    lines += ["", "## Different (marked * above)", "", "| name | how |", "|---|---|"]
    lines += [f"| {name} | {how} |" for name, how in sorted(DIFFERENT.items())]
    lines += ["", "## Not provided", "", "| name | why | instead |", "|---|---|---|"]
    lines += [f"| {name} | {why} | {instead} |" for name, (why, instead) in sorted(ABSENT.items())]
    lines += ["", "## Evident bugs of Theano that are not copied", "", _BUGS, ""]
    return "\n".join(lines)
