"""Coverage of intervals over seeds and examples, and false alarms of their tests, by simulation.

    python benchmarks/interval_coverage.py [--draws 200000]

For each number of seeds, the worst over a grid of variance ratios and test-set sizes: of intervals
over seeds alone, of Satterthwaite's, and of `flexkd_core.statistics.crossed_mean`. Means and mean
squares are drawn from their exact distributions (normal, χ²), so that no cell has to be.
The tables in docs/statistics.md are its output.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

SEEDS = (2, 3, 4, 5, 6, 8, 10)
EXAMPLES = (30, 300, 3000)
SEED_RATIOS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""N · σ²_a / σ²_e: how much seeds differ beyond what each has of its own on the examples."""
EXAMPLE_RATIOS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
"""The examples' part of the variance of the mean, over that of the seeds."""
LEVELS = (0.05, 0.01, 0.005)
METHODS = ("seeds", "Satterthwaite", "crossed")

FloatArray = NDArray[np.float64]


def alarms(
    generator: np.random.Generator,
    seeds: int,
    examples: int,
    ratios: tuple[float, float],
    draws: int,
) -> dict[str, list[float]]:
    """Share of draws of mean 0 that each method rejects at each level, and under `width` the median
    width of the crossed 95 % interval, over that with known variances.

    seeds, examples: S and N. ratios: of `SEED_RATIOS` and of `EXAMPLE_RATIOS`. σ²_e is 1.
    """
    between = 1 + ratios[0]  # E[A]
    shared = ratios[1] * between  # S · σ²_b
    mean_B = generator.normal(0, np.sqrt((between + shared) / (seeds * examples)), draws)
    rest = (seeds - 1) * (examples - 1)
    a_B = between * generator.chisquare(seeds - 1, draws) / (seeds - 1)
    b_B = (1 + shared) * generator.chisquare(examples - 1, draws) / (examples - 1)
    e_B = generator.chisquare(rest, draws) / rest
    floor_B, examples_B = np.maximum(a_B, e_B), np.maximum(b_B - e_B, 0)
    squared_B = mean_B**2 * seeds * examples
    total_B = floor_B + examples_B
    freedom_B = total_B**2 / (floor_B**2 / (seeds - 1) + b_B**2 / (examples - 1) + e_B**2 / rest)
    p_B = 2 * stdtr(freedom_B, -np.sqrt(squared_B / total_B))
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    for level in LEVELS:
        t_seeds, t_examples = (float(stdtrit(f - 1, level / 2)) ** 2 for f in (seeds, examples))
        found["seeds"].append(float(np.mean(squared_B > t_seeds * a_B)))
        found["Satterthwaite"].append(float(np.mean(p_B < level)))
        half_B = t_seeds * floor_B + t_examples * examples_B
        found["crossed"].append(float(np.mean(squared_B > half_B)))
        if level == LEVELS[0]:
            exact = float(stdtrit(np.inf, level / 2)) ** 2 * (between + shared)
            found["width"] = [float(np.sqrt(np.median(half_B) / exact))]
    return found


def main() -> None:
    """Print the worst and the median of each method as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=200_000)
    draws = parser.parse_args().draws
    generator = np.random.default_rng(0)
    heads = [f"{name} {100 * (1 - level):g} %" for name, level in product(METHODS, LEVELS)]
    heads.append("crossed, width")
    print(
        f"worst coverage in percent, {draws:,} draws of each case (median over cases in brackets)"
    )
    print(f"| seeds | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    for seeds in SEEDS:
        cases = [
            alarms(generator, seeds, examples, ratios, draws)
            for examples in EXAMPLES
            for ratios in product(SEED_RATIOS, EXAMPLE_RATIOS)
        ]
        cells = []
        for name, place in product(METHODS, range(len(LEVELS))):
            covered = [100 * (1 - case[name][place]) for case in cases]
            cells.append(f"{min(covered):.1f} ({np.median(covered):.1f})")
        widths = [case["width"][0] for case in cases]
        cells.append(f"{min(widths):.2f}–{max(widths):.2f}")
        print(f"| {seeds} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
