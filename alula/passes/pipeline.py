"""The passes in order: what turns an imported graph into the one that code is generated for."""

from __future__ import annotations

from alula.ir.graph import Graph
from alula.passes.absorb_bounds import AbsorbBounds
from alula.passes.byte_products import ByteProducts
from alula.passes.canonical_views import CanonicalViews
from alula.passes.conv_to_linear import ConvToLinear
from alula.passes.fold_batch_norm import FoldBatchNorm
from alula.passes.fold_channel_order import FoldChannelOrder
from alula.passes.fold_constants import FoldConstants
from alula.passes.fold_flatten import FoldFlatten
from alula.passes.fold_input_normalisation import FoldInputNormalisation
from alula.passes.fold_pad import FoldPad
from alula.passes.fold_scale_shift import FoldScaleShift
from alula.passes.fold_whole_pools import FoldWholePools
from alula.passes.fuse_attention import FuseAttention
from alula.passes.fuse_gates import FuseGates
from alula.passes.fuse_gelu import FuseGelu
from alula.passes.fuse_layer_norm import FuseLayerNorm
from alula.passes.fuse_linear import FuseLinear
from alula.passes.fuse_outlook_attention import FuseOutlookAttention
from alula.passes.fuse_unfold import FuseUnfold
from alula.passes.hoist_narrowing import HoistNarrowing
from alula.passes.hoist_projections import HoistProjections
from alula.passes.hoist_shuffles import HoistShuffles
from alula.passes.hoist_slices import HoistSlices
from alula.passes.merge_affine import MergeAffine
from alula.passes.merge_linear import MergeLinear
from alula.passes.merge_projections import MergeProjections
from alula.passes.remove_dead_code import RemoveDeadCode
from alula.passes.remove_duplicates import RemoveDuplicates
from alula.passes.remove_identities import RemoveIdentities
from alula.passes.remove_requantisation import RemoveRequantisation
from alula.passes.rewrite import Pass, Repeat
from alula.passes.separate_depthwise import SeparateDepthwise
from alula.passes.share_concats import ShareConcats
from alula.passes.simplify_slices import SimplifySlices
from alula.passes.sink_expansions import SinkExpansions
from alula.passes.sink_pads import SinkPads
from alula.passes.sink_reshapes import SinkReshapes
from alula.passes.sink_slices import SinkSlices
from alula.passes.sink_transposes import SinkTransposes

CANONICAL = Repeat(
    (
        SinkExpansions(),
        FoldConstants(),
        RemoveIdentities(),
        RemoveDuplicates(),
        CanonicalViews(),
        SimplifySlices(),
        HoistSlices(),
        HoistShuffles(),
        SinkSlices(),
    )
)

PIPELINE: tuple[Pass, ...] = (
    RemoveDeadCode(),
    CANONICAL,
    FuseLinear(),
    FuseGelu(),
    FuseGates(),
    FuseLayerNorm(),
    FuseAttention(),
    FuseUnfold(),
    FuseOutlookAttention(),
    Repeat((CANONICAL, SinkTransposes(), SinkReshapes())),
    SinkPads(),
    FoldPad(),
    FoldWholePools(),
    FoldBatchNorm(),
    FoldInputNormalisation(),
    FoldChannelOrder(),
    FoldScaleShift(),
    FoldFlatten(),
    ConvToLinear(),
    HoistProjections(),
    MergeLinear(),
    MergeProjections(),
    MergeAffine(),
)

LAST: tuple[Pass, ...] = (  # once everything is folded and every axis turned
    SeparateDepthwise(),
    ShareConcats(),
    ByteProducts(),
    HoistNarrowing(),
    RemoveRequantisation(),
    AbsorbBounds(),
)


def optimise(graph: Graph) -> Graph:
    """The same graph, changed in place: passes in order, all of them again until none changes anything, the last once.

    Outputs keep their names, types and order; values change by rounding alone.  Raises GraphError, naming the pass, for
    a graph that the verifier refuses.
    """
    Repeat(PIPELINE).run(graph)
    Repeat(LAST).run(graph)
    return graph
