"""The page in a real browser: every figure is drawn and nothing complains."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flexkd_dashboards import ImportanceCurve, ReportData, render_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--virtual-time-budget=10000", "--window-size=1280,3000",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None, reason=f"needs a browser: none of {', '.join(BROWSERS)} is installed"
    ),
]


def dom_of(html: str, folder: Path, *flags: str) -> str:
    """The page's DOM after its scripts ran; fails on anything the console was told."""
    assert BROWSER is not None
    path = folder / "index.html"
    path.write_text(html, encoding="utf-8")
    command = [BROWSER, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert console == []
    return done.stdout


def figure_parts(dom: str) -> dict[str, str]:
    return dict(re.findall(r'<figure id="figure-(\w+)">(.*?)</figure>', dom, flags=re.DOTALL))


def text_colour(dom: str) -> str:
    found = re.search(r'data-text="(rgb\([^)]*\))"', dom)
    assert found
    return found[1]


def with_two_selections(
    report: ReportData, make_selection: Callable[..., ImportanceCurve]
) -> ReportData:
    return replace(
        report, importance=(make_selection("encoder", seed=1), make_selection("decoder", seed=2))
    )


COLOUR = (
    "<script>document.body.dataset.text = "
    "getComputedStyle(document.querySelector('.plot text:not(.axis)')).fill</script></body>"
)


def test_every_figure_is_drawn(
    report: ReportData, make_selection: Callable[..., ImportanceCurve], tmp_path: Path
) -> None:
    data = with_two_selections(report, make_selection)
    parts = figure_parts(dom_of(render_report(data), tmp_path))
    assert list(parts) == ["metric", "loss", "validation", "importance", "overlap", "pairs"]
    for name, part in parts.items():
        assert re.search(r'<svg [^>]*class="wide"', part), name
        assert re.search(r'class="(trace|cell)', part), name
        assert 'class="tip"' in part, "the script of the page ran to its end"


def test_colours_follow_the_system_and_the_button(report: ReportData, tmp_path: Path) -> None:
    html = render_report(report)
    click = "<script>document.getElementById('theme').click()</script>"
    pressed = html.replace("</body>", click + COLOUR)
    html = html.replace("</body>", COLOUR)
    light = text_colour(dom_of(html, tmp_path))
    dark = text_colour(dom_of(html, tmp_path, "--blink-settings=preferredColorScheme=0"))
    assert light == "rgb(29, 32, 36)"  # text of the light page, #1d2024
    assert dark == "rgb(232, 234, 237)"  # text of the dark page, #e8eaed
    assert text_colour(dom_of(pressed, tmp_path)) == dark


def test_the_key_hides_a_line_and_a_pointer_shows_a_value(
    report: ReportData, tmp_path: Path
) -> None:
    script = """
    document.querySelector('#figure-loss .key button').click();
    const svg = document.querySelector('#plot-metric svg.wide');
    const [x, y] = JSON.parse(document.getElementById('figure-data').textContent).metric.wide[0];
    const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
    const at = {clientX: box.left + x * scale, clientY: box.top + y * scale};
    svg.dispatchEvent(new PointerEvent('pointermove', at));
    """
    html = render_report(report).replace("</body>", f"<script>{script}</script></body>")
    parts = figure_parts(dom_of(html, tmp_path))
    assert 'aria-pressed="false"' in parts["loss"]
    # three seeds and their mean, in both drawings
    assert parts["loss"].count('class="trace off"') == 2 * 4
    tip = re.search(r'<div class="tip"[^>]*>(.*?)</div>', parts["metric"], flags=re.DOTALL)
    assert tip
    assert tip[1], "the point under the pointer is described"
    assert 'hidden=""' not in tip[0]


def test_a_page_without_figures_is_quiet(report: ReportData, tmp_path: Path) -> None:
    results = dict(report.results) | {"groups": [], "trials": []}
    dom = dom_of(
        render_report(replace(report, results=results, curves=(), importance=())), tmp_path
    )
    assert "No method has a result" in dom
