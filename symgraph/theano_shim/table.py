"""Which of symgraph's modules and names stand behind Theano's.

`MODULES` has a row for every module that can be imported, with the modules of symgraph whose
public names it shows. `NAMES` has those that live elsewhere or are called otherwise here.
"""

from __future__ import annotations

from typing import Any

API_VERSION = "1.0.5"  # the Theano whose surface this is: what scripts compare versions with

_MODULES = """
theano                               symgraph
theano.version
theano.updates
theano.ifelse
theano.gradient                      symgraph.gradient
theano.printing                      symgraph.printing
theano.raise_op
theano.configparser
theano.configdefaults
theano.compat
theano.d3viz
theano.d3viz.d3viz
theano.scalar                        symgraph.theano_shim.scalar
theano.scalar.basic                  symgraph.theano_shim.scalar

theano.tensor                        symgraph.tensor
theano.tensor.basic                  symgraph.tensor
theano.tensor.type                   symgraph.types
theano.tensor.var                    symgraph.variable
theano.tensor.sharedvar              symgraph.sharedvalue
theano.tensor.elemwise
theano.tensor.subtensor              symgraph.tensor.subtensor
theano.tensor.extra_ops              symgraph.tensor.extra_ops
theano.tensor.sort
theano.tensor.nlinalg                symgraph.tensor.nlinalg
theano.tensor.slinalg                symgraph.tensor.slinalg
theano.tensor.xlogx                  symgraph.tensor.xlogx
theano.tensor.blas
theano.tensor.opt
theano.tensor.shared_randomstreams   symgraph.tensor.shared_randomstreams
theano.tensor.raw_random             symgraph.tensor.raw_random

theano.tensor.nnet                   symgraph.tensor.nnet
theano.tensor.nnet.nnet              symgraph.tensor.nnet.nnet
theano.tensor.nnet.sigm              symgraph.tensor.nnet.sigm
theano.tensor.nnet.conv              symgraph.tensor.nnet.conv
theano.tensor.nnet.abstract_conv     symgraph.tensor.nnet.abstract_conv
theano.tensor.nnet.bn                symgraph.tensor.nnet.bn
theano.tensor.nnet.conv3d2d          symgraph.tensor.nnet.conv3d2d
theano.tensor.nnet.neighbours        symgraph.tensor.nnet.neighbours
theano.tensor.signal                 symgraph.tensor.signal
theano.tensor.signal.pool            symgraph.tensor.signal.pool
theano.tensor.signal.downsample      symgraph.tensor.signal.downsample
theano.tensor.signal.conv            symgraph.tensor.signal.conv

theano.compile
theano.compile.function
theano.compile.function_module
theano.compile.pfunc
theano.compile.io
theano.compile.mode                  symgraph.compile.mode
theano.compile.sharedvalue           symgraph.sharedvalue
theano.compile.ops
theano.compile.builders
theano.compile.debugmode             symgraph.compile.debugmode
theano.compile.nanguardmode          symgraph.compile.nanguardmode
theano.compile.monitormode           symgraph.compile.monitormode
theano.compile.profiling             symgraph.compile.profiling

theano.gof
theano.gof.graph                     symgraph.theano_shim.graph
theano.gof.op
theano.gof.type
theano.gof.fg
theano.gof.utils
theano.gof.null_type

theano.scan_module
theano.scan_module.scan
theano.scan_module.scan_views
theano.scan_module.scan_utils
theano.scan_module.scan_checkpoints
theano.scan_module.until

theano.sandbox
theano.sandbox.rng_mrg               symgraph.rng_mrg
theano.sandbox.neighbours            symgraph.tensor.nnet.neighbours
theano.sandbox.linalg                symgraph.tensor.nlinalg symgraph.tensor.slinalg
theano.sandbox.linalg.ops            symgraph.tensor.nlinalg symgraph.tensor.slinalg
theano.sandbox.solve                 symgraph.tensor.slinalg
theano.misc
theano.misc.safe_asarray
theano.misc.pkl_utils                symgraph.misc.pkl_utils
theano.tests
theano.tests.unittest_tools          symgraph.theano_shim.unittest_tools
"""

# Theano's module, symgraph's module, names: `theirs=ours` where they differ
_NAMES = """
theano  symgraph                __file__
theano  symgraph.types          Type Generic generic
theano  symgraph.theano_shim.old  _asarray Param
theano  symgraph.gradient       Rop Lop subgraph_grad
theano  symgraph.compile.inputs SymbolicInput=In SymbolicOutput=Out
theano  symgraph.compile.mode   Mode predefined_modes
theano  symgraph.compile.profiling ProfileStats
theano  symgraph.loops          scan map reduce foldl foldr scan_checkpoints
theano  symgraph.updates        OrderedUpdates
theano  symgraph.tensor         get_scalar_constant_value
theano  symgraph.printing       pprint=pp

theano.updates        symgraph.updates        OrderedUpdates
theano.ifelse         symgraph.ifelse         ifelse IfElse
theano.configparser   symgraph.configuration  change_flags config TheanoConfigParser=Settings
theano.configdefaults symgraph.configuration  config
theano.d3viz          symgraph.draw.page      d3viz
theano.d3viz.d3viz    symgraph.draw.page      d3viz

theano.tensor  symgraph.tensor          var sort Tensor=TensorType
theano.tensor  symgraph.sharedvalue     _shared=shared
theano.tensor  symgraph.ops.alloc       ARange Alloc
theano.tensor  symgraph.ops.linalg      Dot
theano.tensor  symgraph.ops.join        Join
theano.tensor  symgraph.ops.gather      AdvancedSubtensor AdvancedIncSubtensor Nonzero
theano.tensor  symgraph.ops.index       Subtensor IncSubtensor
theano.tensor  symgraph.ops.structure   Reshape Rebroadcast Shape SpecifyShape
theano.tensor.opt     symgraph.ops.assertion  Assert assert_op
theano.raise_op       symgraph.ops.assertion  Raise
theano.tensor.var     symgraph.sharedvalue    TensorSharedVariable
theano.tensor.elemwise symgraph.ops.core      Elemwise DimShuffle
theano.tensor.elemwise symgraph.ops.reduce    CAReduce=Reduce Sum=Reduce
theano.tensor.sort    symgraph.tensor         sort argsort topk argtopk topk_and_argtopk
theano.tensor.blas    symgraph.tensor         batched_dot

theano.compile  symgraph.compile.function  function Function
theano.compile  symgraph.compile.inputs    In Out SymbolicInput=In SymbolicOutput=Out
theano.compile  symgraph.sharedvalue       SharedVariable shared
theano.compile  symgraph.compile.mode      Mode FAST_RUN FAST_COMPILE predefined_modes
theano.compile  symgraph.compile.mode      get_mode get_default_mode register_mode
theano.compile  symgraph.compile.debugmode DebugMode
theano.compile  symgraph.compile.monitormode MonitorMode
theano.compile  symgraph.compile.profiling ProfileStats
theano.compile  symgraph.errors            UnusedInputError
theano.compile  symgraph.op_from_graph     OpFromGraph
theano.compile  symgraph.userop            as_op
theano.compile  symgraph.tensor            shape specify_shape
theano.compile  symgraph.ops.structure     Rebroadcast Shape SpecifyShape
theano.compile.function        symgraph.compile.function  function Function
theano.compile.pfunc           symgraph.compile.function  pfunc=function
theano.compile.pfunc           symgraph.theano_shim.old   Param
theano.compile  symgraph.theano_shim.old   Param
theano.compile  symgraph.compile.function  pfunc=function
theano.compile.function_module symgraph.compile.function  Function
theano.compile.function_module symgraph.errors            UnusedInputError
theano.compile.io              symgraph.compile.inputs    In Out SymbolicInput=In SymbolicOutput=Out
theano.compile.ops             symgraph.userop            as_op FromFunctionOp
theano.compile.ops             symgraph.tensor            shape specify_shape
theano.compile.builders        symgraph.op_from_graph     OpFromGraph

theano.gof  symgraph              Op Apply Variable Constant
theano.gof  symgraph.types        Type Generic generic
theano.gof  symgraph.errors       MissingInputError
theano.gof.op         symgraph        Op
theano.gof.op         symgraph.testvalues  get_debug_values get_test_value missing_test_message
theano.gof.type       symgraph.types  Type Generic generic
theano.gof.fg         symgraph.errors MissingInputError
theano.gof.null_type  symgraph.types  NullType
theano.gof.utils      symgraph.theano_shim.graph  flatten give_variables_names

theano.misc.safe_asarray  symgraph.theano_shim.old  _asarray

theano.scan_module    symgraph.loops  scan map reduce foldl foldr scan_checkpoints until
theano.scan_module    symgraph        clone
theano.scan_module.scan       symgraph.loops  scan
theano.scan_module.scan_views symgraph.loops  map reduce foldl foldr
theano.scan_module.scan_utils symgraph.loops  until
theano.scan_module.scan_utils symgraph        clone
theano.scan_module.scan_utils symgraph.theano_shim.graph  equal_computations
theano.scan_module.until      symgraph.loops  until
theano.scan_module.scan_checkpoints symgraph.loops scan_checkpoints
"""


def _modules() -> dict[str, tuple[str, ...]]:
    rows = [line.split() for line in _MODULES.splitlines() if line]
    return {name: tuple(sources) for name, *sources in rows}


def _names() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for line in _NAMES.splitlines():
        if line:
            module, source, *names = line.split()
            for theirs, _, ours in (name.partition("=") for name in names):
                found[f"{module}.{theirs}"] = (source, ours or theirs)
    return found


MODULES = _modules()
NAMES = _names()
"""(symgraph's module, name) by Theano's full name."""

VALUES: dict[str, Any] = {
    "theano.__version__": API_VERSION,
    "theano.version.version": API_VERSION,
    "theano.version.short_version": API_VERSION,
    "theano.version.full_version": API_VERSION,
    "theano.compat.PY3": True,
    "theano.printing.pydot_imported": True,  # drawing needs nothing else
    "theano.PY3": True,
}
