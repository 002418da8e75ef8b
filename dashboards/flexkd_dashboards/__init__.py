"""The static report of one job: one self-contained HTML page.

Reading order: the input (`report_data`), the styles (`theme`, `metric_styles`, `labels`), the
content (`verdict`, `figures`, `tables`), and the page (`report`).
"""

from .figures import Figure, report_figures
from .report import render_report
from .report_data import ImportanceCurve, PublishedResult, ReportData, Spectrum, TrainingCurve
from .training_curve import training_curve
from .verdict import Verdict, reach_verdict

__all__ = [
    "Figure",
    "ImportanceCurve",
    "PublishedResult",
    "ReportData",
    "Spectrum",
    "TrainingCurve",
    "Verdict",
    "reach_verdict",
    "render_report",
    "report_figures",
    "training_curve",
]
