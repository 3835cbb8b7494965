"""A report's content with something of everything, and markup where only text belongs."""

from datetime import UTC, datetime

from sweeper.report.document import ReportData
from sweeper.report.figures.canvas import Figure
from sweeper.report.table import TextTable

FIGURE = Figure(
    "survival",
    "Time to the event",
    "Lower is <faster>.",
    "Half of the runs arrive by step 20 & the rest by 30.",
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 70 40"><rect width="70" height="40" fill="#0072B2"/></svg>',
    b"\x89PNG",
)
MADE_UP = ReportData(
    name="made-up",
    question="Which configuration is the fastest?",
    verdict=("trial 1 is faster than published by 67 %.", "trial 2 is not."),
    cautions=("race is inexact",),
    counts="9 trials of 33 runs.",
    grids=(
        TextTable(
            "steps until x > 1", ("", "trial", "why"), (("1", "7 a|b", "<b>"), ("2", "8", "")), frozenset({"why"}), True
        ),
    ),
    figures=(FIGURE,),
    space="name: made-up  # <script>alert(1)</script>\n",
    launches=TextTable("where it comes from", ("launched",), (("2026-01-01",),)),
    made=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
)
