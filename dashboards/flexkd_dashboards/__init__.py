"""What a team looks at: the static report of one job, one self-contained HTML page.

Reading order: what goes in (`report_data`), what it looks like (`theme`, `metric_styles`,
`labels`), what is said and drawn (`verdict`, `figures`, `tables`), and the page (`report`).
"""

from .figures import Figure, report_figures
from .report import render_report
from .report_data import ImportanceCurve, PublishedResult, ReportData, TrainingCurve
from .verdict import Verdict, reach_verdict

__all__ = [
    "Figure",
    "ImportanceCurve",
    "PublishedResult",
    "ReportData",
    "TrainingCurve",
    "Verdict",
    "reach_verdict",
    "render_report",
    "report_figures",
]
