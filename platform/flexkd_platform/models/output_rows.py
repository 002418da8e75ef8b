"""A language model's logits, at chosen positions only.

Shapes: B examples, T positions of the decoder, N chosen positions over all examples, D inputs of
the language-model head, V words.

Logits are V wide, about a hundred times a hidden state; those that no loss reads are not computed.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel
from typing_extensions import override

from flexkd_core import LogitMap

from ..model_info.errors import ModelError
from ..model_info.logits import LOGIT_KEYS, LogitKeys
from .family import family_of_config
from .hook import Hook
from .layers import unwrapped


class OutputRows(Hook):
    """Makes a language model compute logits at the positions of `rows_BT` only.

    The hook is registered on the head itself, so it also works in a data-parallel wrapper, whether
    the model is wrapped before or after:

        with OutputRows(model) as output:
            output.rows_BT = labels_BT != -100
            logits_NV = model(**batch).logits
            hidden_ND = output.take()

    Attributes:
        rows_BT: bool mask over the decoder's positions, for every forward until it is changed.
            None disables the hook: all logits are computed, nothing is kept.
        logits: whether logits are computed at these rows; otherwise at none, and the model's are
            (0, V), for a loss that processes the head's input in chunks.
    """

    def __init__(self, model: nn.Module, *, logits: bool = True) -> None:
        self.rows_BT: Tensor | None = None
        self.logits = logits
        self._hidden_ND: Tensor | None = None
        head = language_model_head(unwrapped(model))
        self._handle = head.register_forward_pre_hook(self._choose)

    def _choose(self, head: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self.rows_BT is None:
            return None
        hidden_BTD: Tensor = inputs[0]
        if self.rows_BT.shape != hidden_BTD.shape[:2]:
            raise ValueError(
                f"rows_BT is {tuple(self.rows_BT.shape)} and the decoder's output "
                f"{tuple(hidden_BTD.shape[:2])}: set the rows of this batch"
            )
        self._hidden_ND = hidden_BTD[self.rows_BT]
        return (self._hidden_ND if self.logits else self._hidden_ND[:0],)

    def take(self) -> Tensor:
        """The head's input (N, D) at the rows of the latest forward, with its graph, in order.

        It can be taken once, so that no graph outlives its step.

        Raises:
            RuntimeError: no forward with rows has run since the last call.
        """
        if self._hidden_ND is None:
            raise RuntimeError(
                "no forward with rows has run since the last take(); set rows_BT and run the model"
            )
        hidden_ND, self._hidden_ND = self._hidden_ND, None
        return hidden_ND

    @override
    def remove(self) -> None:
        self._handle.remove()
        self._hidden_ND = None


class OutputHead(nn.Module):
    """A language model's head by itself: (N, D) head inputs to (N, V) logits, as in the model.

    It shares the model's parameters, which may be its word embedding.

    Attributes:
        logit_map: what makes logits of the product of input and weights, with the bias.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self._head = language_model_head(model)
        # In a tuple, so that the model does not become a submodule of its head.
        self._model = (model,)
        self._logit_bias = family_of_config(model.config).logit_bias
        self.logit_map = logit_map_of(model.config)

    @property
    def weight(self) -> Tensor:
        """The weights (V, D)."""
        weight: Tensor = self._head.weight
        return weight

    @property
    def bias_V(self) -> Tensor | None:
        """The bias of the product (V,); None without one."""
        if self._logit_bias is None:
            own: Tensor | None = self._head.bias
            return own
        bias_1V: Tensor = self._model[0].get_buffer(self._logit_bias)
        return bias_1V[0]

    def forward(self, hidden_ND: Tensor) -> Tensor:
        """Logits (N, V)."""
        # Not a call of the module, which may have an OutputRows hook. The bias is added after the
        # product, as in the models.
        logits_NV = linear(hidden_ND.to(self.weight.device), self.weight)
        if self.bias_V is not None:
            logits_NV = logits_NV + self.bias_V
        return self.logit_map(logits_NV).to(hidden_ND.device)


def logit_map_of(config: Any) -> LogitMap:
    """What a language model does to its head's product."""
    keys = LOGIT_KEYS.get(config.model_type, LogitKeys())

    def value(key: str | None) -> float | None:
        return None if key is None else getattr(config, key, None)

    multiplier, divisor, cap = map(value, (keys.multiplier, keys.divisor, keys.cap))
    scale = 1.0 if multiplier is None else float(multiplier)
    return LogitMap(scale if divisor is None else scale / divisor, cap)


def output_head(model: nn.Module) -> OutputHead:
    """The head of a language model, which may be in a data-parallel wrapper.

    Raises:
        ModelError: the model has no language-model head.
    """
    return OutputHead(unwrapped(model))


def language_model_head(model: PreTrainedModel) -> nn.Linear:
    """The linear map to the vocabulary; ModelError without one."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ModelError(
            f"a {type(model).__name__} has no language-model head",
            "load it with load_language_model",
        )
    return head
