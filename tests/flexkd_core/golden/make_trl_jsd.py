"""Make trl_jsd.json: TRL's generalized JSD on random logits, in fp64.

    pip install trl==1.16.0 && python tests/flexkd_core/golden/make_trl_jsd.py

TRL (Apache-2.0) computes the numbers; none of its code is here, and no test needs it installed.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import trl
from trl.experimental.gkd import GKDTrainer

ROWS, CLASSES = 3, 5
BETAS, TEMPERATURES = (0.0, 0.1, 0.5, 0.9, 1.0), (1.0, 2.0)


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, ROWS, CLASSES, dtype=torch.float64, generator=generator)
    student_NV, teacher_NV = logits
    cases = [
        {
            "beta": beta,
            "temperature": temperature,
            "rows": GKDTrainer.generalized_jsd_loss(
                student_NV, teacher_NV, beta=beta, temperature=temperature, reduction="none"
            )
            .sum(dim=-1)
            .tolist(),
        }
        for beta in BETAS
        for temperature in TEMPERATURES
    ]
    golden = {
        "source": f"trl {trl.__version__} (Apache-2.0), GKDTrainer.generalized_jsd_loss",
        "student": student_NV.tolist(),
        "teacher": teacher_NV.tolist(),
        "cases": cases,
    }
    path = Path(__file__).with_name("trl_jsd.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
