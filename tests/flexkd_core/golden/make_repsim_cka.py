"""Make repsim_cka.json: linear CKA of random features by an independent package, in fp64.

    pip install repsim==0.1.5 && python tests/flexkd_core/golden/make_repsim_cka.py

repsim (MIT) computes the numbers, with the linear kernel and the biased HSIC estimator of Gretton
et al. (2005), as Kornblith et al. (2019) do; no test needs it installed.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import repsim

SHAPES = ((4, 6, 9), (12, 3, 5))
"""Rows, student units and teacher units: fewer rows than units, and more."""


def main() -> None:
    generator = np.random.default_rng(0)
    cases = []
    for rows, student, teacher in SHAPES:
        student_NS = generator.normal(size=(rows, student)) + 1
        # A part in common, so that the similarity is not that of noise alone.
        teacher_NT = generator.normal(size=(rows, teacher)) + student_NS[:, :1]
        cka = repsim.cka([student_NS, teacher_NT], kernel_type="linear", estimator="gretton")
        cases.append(
            {
                "student": student_NS.tolist(),
                "teacher": teacher_NT.tolist(),
                "cka": float(cka[0, 1]),
            }
        )
    golden = {"source": f"repsim {version('repsim')} (MIT), cka", "cases": cases}
    path = Path(__file__).with_name("repsim_cka.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
