"""Write `rouge.json`: ROUGE-L of a few answers by the protocol of MiniLLM's evaluation.

That protocol: `RougeScorer(["rougeL"], use_stemmer=True)`, the largest F-measure over an answer's
references, the mean over answers × 100. Run with rouge-score 0.1.2:

    python make_rouge.py
"""

from __future__ import annotations

import json
from pathlib import Path

from rouge_score import rouge_scorer

ANSWERS = [
    ("The cat sat on the mat.", ["A cat was sitting on the mat.", "The mat is red."]),
    ("Paris is the capital of France.", ["Paris is the capital of France."]),
    ("running runners ran", ["run runner runs"]),
    ("", ["Something was expected here."]),
    ("!!! ... ???", ["...", "anything"]),
    ("Line one.\nLine two.", ["Line two.\nLine one.", "Line one. Line two."]),
    ("a b c d e f g", ["g f e d c b a"]),
    ("The the the the", ["the"]),
    ("Une réponse en français, déjà vue", ["une reponse en francais, deja vue"]),
    ("3.14 is pi; e is 2.718", ["pi is 3.14 and e is 2.718", "2 718"]),
    ("Store values at 0x1F in memory_map", ["store the value at 0x1f in the memory map"]),
    (
        "To sort a list, call sorted on it; it returns a new list and keeps the old one.",
        [
            "Use the sorted function, which returns a new list.",
            "Calling list.sort changes the list in place and returns nothing.",
            "",
        ],
    ),
]


def main() -> None:
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    best = [
        max(scorer.score(target=text, prediction=answer)["rougeL"].fmeasure for text in references)
        for answer, references in ANSWERS
    ]
    golden = {"answers": ANSWERS, "rougeL": best, "mean x 100": 100 * sum(best) / len(best)}
    file = Path(__file__).with_name("rouge.json")
    file.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
