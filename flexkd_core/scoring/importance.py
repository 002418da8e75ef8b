"""The importance of each unit of a teacher layer, for each example (Eq. 1).

Shapes: B examples, T positions, D units, C classes, K outputs F per example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn

from flexkd_core.moments import (
    FeatureMoment,
    GradientMoment,
    MomentKind,
    feature_moment,
    gradient_moment,
)
from flexkd_core.scoring.leaf import LayerLeaf, layer_leaf
from flexkd_core.scoring.outputs import OUTPUTS


@dataclass(frozen=True, eq=False)
class Importance:
    """The scores of one batch, and the forward's hidden states and logits for a teacher cache."""

    score_BD: Tensor
    """g(x) ≥ 0 of each example: the mean over its counted rows, fp64; 0 where not valid."""
    valid_B: Tensor
    """True for examples with at least one counted row; only these count in a mean."""
    hidden_BTD: Tensor
    """The scored layer's output, detached, in its own dtype."""
    logits_BC: Tensor
    """What `forward` returned, detached, in its own dtype."""
    gradients: GradientMoment | None = None
    """Second moment of the gradients over the counted rows; None where it was not asked for."""
    features: FeatureMoment | None = None
    """Moments of the layer's output over the same rows; None where they were not asked for."""


def unit_importance(
    forward: Callable[[], Tensor],
    layer: nn.Module,
    rows_BT: Tensor,
    *,
    kind: str = "gradient",
    output: str = "predicted_logit",
    labels_B: Tensor | None = None,
    steps: int = 16,
    seed: int = 0,
    moments: MomentKind | None = None,
) -> Importance:
    """Importance g(x) of every unit of `layer` for each example of a batch.

    By kind, with the mean taken over the example's counted rows t:
        gradient:              mean_t |∂F/∂h_t|, Eq. 1 (mean over k too, where F has K > 1)
        activation:            mean_t |h_t|
        gradient_activation:   mean_t |h_t · ∂F/∂h_t|, to first order the change of F where the unit
                               is set to 0 (mean over k too)
        integrated_gradients:  mean_t |h_t · (1/m) Σ_{k=1..m} ∂F/∂h_t at (k/m)·h|, baseline 0, m =
                               `steps`; the predicted class is that of the unscaled forward
        random:                one vector of U[0, 1), the same for all examples, from `seed`

    Examples must not interact in the forward: put the teacher in eval mode.

    Args:
        forward: runs the teacher on the batch and returns its logits (B, C), or (B, T, C) for
            output "label_logprob". Called once, or `steps` times for integrated gradients.
        layer: the module whose output is scored, (B, T, D) or a tuple that starts with it.
        rows_BT: bool, True at the counted positions (not the padding; only the pooled one if the
            head reads one).
        kind: a name in `IMPORTANCE_KINDS`.
        output: F, a name in `OUTPUTS`; not used by activation and random.
        labels_B: the labels that the output needs: classes, tokens or regression targets.
        steps: m, only for integrated_gradients.
        seed: only for random.
        moments: also sum the second moments of the gradients, see `gradient_moment`, and of the
            features; only for gradient and gradient_activation.

    Returns:
        Per-example scores in fp64, unit of F per unit of h ("gradient"), of h ("activation"), of F
        ("gradient_activation", "integrated_gradients"). No parameter gets a `.grad`.

    Raises:
        ValueError: an unknown name, rows that do not fit the layer's output, logits that do not
            depend on the layer, an output that does not fit logits or labels, steps < 1, or moments
            of a kind that takes no gradient.

    Source: Saadi & Wang 2025, arXiv:2507.10155; Sundararajan et al. 2017, arXiv:1703.01365.
    """
    if kind not in IMPORTANCE_KINDS:
        raise ValueError(f"importance kind {kind!r} is not one of {', '.join(IMPORTANCE_KINDS)}")
    if output not in OUTPUTS:
        raise ValueError(f"output {output!r} is not one of {', '.join(OUTPUTS)}")
    if rows_BT.dtype != torch.bool or rows_BT.ndim != 2:
        raise ValueError(
            f"rows_BT must be a bool mask (examples, positions), not {rows_BT.dtype} "
            f"{tuple(rows_BT.shape)}"
        )
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if moments is not None and kind not in ("gradient", "gradient_activation"):
        raise ValueError(
            f"importance kind {kind!r} has no moments of gradients: use 'gradient' or "
            "'gradient_activation'"
        )
    request = _Request(forward, layer, rows_BT, output, labels_B, steps, seed, moments)
    return IMPORTANCE_KINDS[kind](request)


@dataclass(frozen=True, eq=False)
class _Request:
    """The arguments of `unit_importance`, checked."""

    forward: Callable[[], Tensor]
    layer: nn.Module
    rows_BT: Tensor
    output: str
    labels_B: Tensor | None
    steps: int
    seed: int
    moments: MomentKind | None

    def run(self, *, graph: bool, substitute_BTD: Tensor | None = None) -> tuple[LayerLeaf, Tensor]:
        """One forward, with a graph above the layer or without a graph."""
        hook = layer_leaf(self.layer, graph=graph, substitute_BTD=substitute_BTD)
        with torch.no_grad(), hook as leaf:
            logits_BC = self.forward()
        if leaf.hidden_BTD.shape[:2] != self.rows_BT.shape:
            raise ValueError(
                f"rows_BT {tuple(self.rows_BT.shape)} does not fit the layer's output "
                f"{tuple(leaf.hidden_BTD.shape)}: both start with (examples, positions)"
            )
        return leaf, logits_BC

    def outputs(self, logits_BC: Tensor) -> Tensor:
        """F (K, B) on the logits' graph."""
        with torch.enable_grad():
            return OUTPUTS[self.output](logits_BC, self.labels_B)

    def result(
        self,
        score_BD: Tensor,
        leaf: LayerLeaf,
        logits_BC: Tensor,
        gradients: GradientMoment | None = None,
    ) -> Importance:
        hidden_BTD = leaf.hidden_BTD.detach()
        return Importance(
            score_BD=score_BD,
            valid_B=self.rows_BT.any(dim=1).to(score_BD.device),
            hidden_BTD=hidden_BTD,
            logits_BC=logits_BC.detach(),
            gradients=gradients,
            features=None if gradients is None else feature_moment(hidden_BTD, self.rows_BT),
        )


def _gradient(request: _Request) -> Importance:
    return _of_gradients(request, lambda gradient_BTD, hidden_BTD: gradient_BTD.abs())


def _gradient_activation(request: _Request) -> Importance:
    return _of_gradients(
        request, lambda gradient_BTD, hidden_BTD: (_wide(gradient_BTD) * hidden_BTD).abs()
    )


def _of_gradients(request: _Request, score: Callable[[Tensor, Tensor], Tensor]) -> Importance:
    leaf, logits_BC = request.run(graph=True)
    hidden_BTD, outputs_KB = leaf.hidden_BTD.detach(), request.outputs(logits_BC)
    scores_BD: list[Tensor] = []
    total: GradientMoment | None = None
    # Reduced one by one: only one (B, T, D) gradient is alive at a time.
    for gradient_BTD in _gradients(outputs_KB, leaf.hidden_BTD):
        scores_BD.append(_row_mean(score(gradient_BTD, hidden_BTD), request.rows_BT))
        if request.moments is not None:
            added = gradient_moment(gradient_BTD, request.rows_BT, request.moments)
            total = added if total is None else total + added
    gradients = None if total is None else total.over_outputs(len(outputs_KB))
    score_BD = torch.stack(scores_BD).mean(dim=0)
    return request.result(score_BD, leaf, logits_BC, gradients)


def _activation(request: _Request) -> Importance:
    leaf, logits_BC = request.run(graph=False)
    return request.result(_row_mean(leaf.hidden_BTD.abs(), request.rows_BT), leaf, logits_BC)


def _integrated_gradients(request: _Request) -> Importance:
    full_leaf, full_logits_BC = request.run(graph=True)
    hidden_BTD = full_leaf.hidden_BTD.detach()
    if request.output == "predicted_logit":
        OUTPUTS["predicted_logit"](full_logits_BC, None)  # raises for logits that do not fit
        # The same F along the whole path: the class predicted at (k/m)·h may differ.
        request = replace(request, output="label_logit", labels_B=full_logits_BC.argmax(dim=1))
    path_KBTD = _stacked_gradients(request.outputs(full_logits_BC), full_leaf.hidden_BTD)
    for k in range(1, request.steps):
        leaf, logits_BC = request.run(graph=True, substitute_BTD=hidden_BTD * (k / request.steps))
        path_KBTD += _stacked_gradients(request.outputs(logits_BC), leaf.hidden_BTD)
    score_KBD = torch.stack(
        [
            _row_mean((hidden_BTD * path_BTD / request.steps).abs(), request.rows_BT)
            for path_BTD in path_KBTD
        ]
    )
    return request.result(score_KBD.mean(dim=0), full_leaf, full_logits_BC)


def _random(request: _Request) -> Importance:
    leaf, logits_BC = request.run(graph=False)
    generator = torch.Generator().manual_seed(request.seed)
    # fp32 draws have 24 bits: their fp64 sum over 2^29 examples is exact, so that the mean over
    # any examples is exactly this vector, including ties and ranks.
    score_D = torch.rand(leaf.hidden_BTD.shape[2], generator=generator).to(torch.float64)
    score_BD = score_D.to(leaf.hidden_BTD.device) * request.rows_BT.any(dim=1)[:, None].to(
        leaf.hidden_BTD.device
    )
    return request.result(score_BD, leaf, logits_BC)


IMPORTANCE_KINDS: Final[Mapping[str, Callable[[_Request], Importance]]] = MappingProxyType(
    {
        "gradient": _gradient,
        "activation": _activation,
        "gradient_activation": _gradient_activation,
        "integrated_gradients": _integrated_gradients,
        "random": _random,
    }
)
"""The kinds of importance that `unit_importance` supports."""


def _gradients(outputs_KB: Tensor, hidden_BTD: Tensor) -> Iterator[Tensor]:
    """∂F_k/∂h for each k; summing over examples is valid, as they do not interact."""
    for k, output_B in enumerate(outputs_KB):
        gradient_BTD = None
        if output_B.requires_grad:
            (gradient_BTD,) = torch.autograd.grad(
                output_B.sum(),
                hidden_BTD,
                retain_graph=k + 1 < len(outputs_KB),
                allow_unused=True,
            )
        if gradient_BTD is None:
            raise ValueError(
                "the logits do not depend on the scored layer's output: choose a layer below the "
                "head, and do not detach or use inference mode inside `forward`"
            )
        yield gradient_BTD


def _stacked_gradients(outputs_KB: Tensor, hidden_BTD: Tensor) -> Tensor:
    return torch.stack([_wide(gradient_BTD) for gradient_BTD in _gradients(outputs_KB, hidden_BTD)])


def _wide(values_BTD: Tensor) -> Tensor:
    """In fp32 or wider: a product g·h of two fp16 numbers is often below fp16's smallest."""
    return values_BTD.to(torch.promote_types(values_BTD.dtype, torch.float32))


def _row_mean(values_BTD: Tensor, rows_BT: Tensor) -> Tensor:
    """Mean over each example's counted rows, fp64; 0 for an example with none.

    It is computed for each example without padding: the sum then has the same terms in the same
    order in any batch, and a NaN in a row that is not counted has no effect.
    """
    rows_BT = rows_BT.to(values_BTD.device)
    if bool((rows_BT.sum(dim=1) == 1).all()):
        # The mean over one row is that row, as for a head that reads one. Adding 0 converts −0 to
        # 0, as the sum below does.
        return values_BTD[rows_BT].to(torch.float64) + 0.0
    mean_BD = values_BTD.new_zeros(values_BTD.shape[0], values_BTD.shape[2], dtype=torch.float64)
    for mean_D, values_TD, rows_T in zip(mean_BD, values_BTD, rows_BT, strict=True):
        counted_ND = values_TD[rows_T].to(torch.float64)
        mean_D += counted_ND.sum(dim=0) / max(len(counted_ND), 1)
    return mean_BD
