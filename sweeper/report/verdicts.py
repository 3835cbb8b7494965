"""The sweep's answer in sentences: which configuration is faster, on held-out seeds not used for selection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.report.summaries import TrialRuns
from sweeper.stats.comparison import Comparison, compare, holm, verdict


@dataclass(frozen=True)
class Verdict:
    """One comparison of two confirmed configurations.

    Attributes:
        faster: the first trial: `trial 17`, or a baseline's name.
        other: the trial it is compared with.
        comparison: ratio, interval, p and the number of replicates needed.
        p: adjusted for the number of comparisons (Holm).
        sentence: the comparison in words.
    """

    faster: str
    other: str
    comparison: Comparison
    p: float
    sentence: str


def verdicts(confirmed: Sequence[Mapping[str, Any]], runs: Mapping[int, TrialRuns]) -> list[Verdict]:
    """Compare confirmed configurations, paired on the seeds that both have.

    The best trial of the search is compared with every other finalist, and every finalist with every baseline. The best
    is determined by the search, not by the confirmations: selecting on the compared runs would bias the comparison.

    Args:
        confirmed: rows of `trials` of the confirmations, the search's best first, plus `of`, the number of the
            repeated trial, and `baseline`, its name or the empty string. Trials that were stopped early, and pairs
            without any run that reached the event, are skipped.
        runs: trial -> its runs.
    """
    whole = [row for row in confirmed if row["state"] == "finished" and row["trial"] in runs]
    finalists = [row for row in whole if not row["baseline"]]
    baselines = [row for row in whole if row["baseline"]]
    pairs = [(finalist, baseline) for finalist in finalists for baseline in baselines]
    pairs += [(finalists[0], other) for other in finalists[1:]]
    shared = [(a, b, *_on_common_seeds(runs[a["trial"]], runs[b["trial"]])) for a, b in pairs]
    pairs = [(a, b) for a, b, mine, theirs in shared if _comparable(mine, theirs)]
    found = [compare(mine.restricted, theirs.restricted) for _, _, mine, theirs in shared if _comparable(mine, theirs)]
    adjusted = holm([each.p for each in found]) if len(found) > 1 else [None] * len(found)
    return [
        Verdict(_name(a), _name(b), each, each.p if p is None else p, verdict(_name(a), _name(b), each, p, len(found)))
        for (a, b), each, p in zip(pairs, found, adjusted, strict=True)
    ]


def _on_common_seeds(a: TrialRuns, b: TrialRuns) -> tuple[TrialRuns, TrialRuns]:
    return a.only(b.replicates), b.only(a.replicates)


def _comparable(a: TrialRuns, b: TrialRuns) -> bool:
    return bool(a.reached.any() or b.reached.any())


def _name(row: Mapping[str, Any]) -> str:
    return str(row["baseline"]) or f"trial {row['of']}"
