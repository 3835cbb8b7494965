"""Which stopping rule a sweep uses."""

from collections.abc import Mapping

from sweeper.config.model import SweepSpec
from sweeper.results.decisions import Decisions
from sweeper.results.readback import TrialOutcome
from sweeper.search.study import Study
from sweeper.sweep.stopping import Asha, Capped, Curves, Never, Raced, StoppingRule


def rule_of(
    spec: SweepSpec, study: Study, earlier: Mapping[int, TrialOutcome], curves: Curves, decisions: Decisions
) -> StoppingRule:
    """The rule of a sweep, informed by the trials of earlier launches.

    Args:
        spec: the sweep.
        study: its trials; how many of the best can still matter.
        earlier: outcomes of the trials of the baselines and the search that lie in the space, by number.
        curves: reads their curves; called where the rule needs them.
        decisions: holds those of a rule that pauses trials.
    """
    if spec.stop == "none":
        return Never(spec)
    if spec.stop == "asha":
        return Asha(spec, curves)
    if spec.stop == "thaw":
        from sweeper.sweep.thawing import Thawed  # noqa: PLC0415  # scipy takes a second to import

        return Thawed(spec, study, earlier, curves, decisions)
    return Capped(spec, study.places, earlier) if spec.race is None else Raced(spec, study.places, earlier)
