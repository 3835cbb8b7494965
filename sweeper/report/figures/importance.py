"""How strongly each parameter is associated with the best trials."""

from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.subject import Subject, listed
from sweeper.search.importance import Importances, importances


def weighed(subject: Subject) -> Importances | None:
    """The importances of the searched parameters; None where they would be noise."""
    values = [(subject.values(row), row["value"]) for row in subject.seen if row["state"] not in ("stopped", "paused")]
    return importances(subject.spec.search, values)


read = weighed


@canvas.styled
def draw(found: Importances) -> Drawing:
    """Bars, the most important parameter on top."""
    sheet = canvas.sheet(0.8 + 0.32 * len(found.shares))
    axes = sheet.subplots()
    names, shares = list(found.shares), list(found.shares.values())
    axes.barh(names, shares, color=canvas.BLUE, height=0.7)
    for place, (key, share) in enumerate(found.shares.items()):
        partly = (
            f" ({found.having[key]:,} of {found.trials:,} trials have it)" if found.having[key] < found.trials else ""
        )
        axes.annotate(f"{100 * share:.0f} %{partly}", (share, place), (4, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(shares) if max(shares) < 0.5 else 1.6 * max(shares))
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(left=False)
    return Drawing(
        "importance",
        "Which parameters matter",
        f"Each parameter's share of what sets the best {found.best} of {found.trials:,} trials apart from all of them "
        "(PED-ANOVA). The value is the one reported to the sampler: runs that did not reach the "
        "event count slightly more than the limit. A share says how much a parameter matters, not which value is "
        "best, and is rough when trials are few.",
        f"Importance from {found.trials:,} trials: "
        + listed([f"{key} {100 * share:.0f} %" for key, share in found.shares.items()])
        + ".",
        sheet,
    )
