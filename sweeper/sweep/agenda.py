"""Which trial trains next: unfinished trials, the baselines, the search, and at last the confirmations."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping

from sweeper.config.model import SweepSpec
from sweeper.errors import plural
from sweeper.results.readback import TrialOutcome
from sweeper.search.study import Proposal, Study
from sweeper.space.space import Space
from sweeper.stats.events import CUT_SHORT, Ending
from sweeper.sweep.stopping import StoppingRule


class Agenda:
    """The order of a launch's trials.

    Opens the baselines that are missing, and reopens trials that earlier launches capped and that matter now.

    Args:
        spec, space: the sweep.
        study: proposes and remembers trials; holds the value of every trial in `outcomes`.
        rule: decides which capped trials matter now.
        outcomes: those of the trials of earlier launches that are over for good.
        notice: is called with what the user should know.
    """

    def __init__(
        self,
        spec: SweepSpec,
        space: Space,
        *,
        study: Study,
        rule: StoppingRule,
        outcomes: Mapping[int, TrialOutcome],
        notice: Callable[[str], object],
    ):
        self._spec, self._study, self._notice = spec, study, notice
        self._without_time = {number for number, each in outcomes.items() if each.state in (*CUT_SHORT, "failed")}
        self._arrived = any(
            run.reached for each in outcomes.values() for runs in each.observations.values() for run in runs
        )
        self._exhausted = not spec.search
        self._closed = False
        self._confirmed = spec.confirm is None
        self._rule = rule
        self._seeds: Counter[str] = Counter()
        unfinished = study.unfinished()
        self._paused = {each.number: each for each in unfinished if each.number in rule.paused}
        self._queue = deque(each for each in unfinished if each.number not in self._paused)
        opened = study.opened()
        for proposal in opened:
            if proposal.phase == "confirm" and proposal.number in outcomes:
                seen = outcomes[proposal.number].observations.values()
                self._seeds[proposal.name] += min(map(len, seen), default=0)
        for name, values in spec.baselines.items():
            settings = space.settings(values)
            if study.known(settings) is None:
                self._queue.append(study.begin(settings, "baseline", name))
        self._start = deque(space.settings(values) for values in spec.start)
        reopened = [number for number in study.values() if number in outcomes and rule.matters(outcomes[number])]
        self._queue.extend(study.reopen(opened[number]) for number in reopened)
        if reopened:
            notice(f"the larger budget continues {plural(len(reopened), 'trial')} capped under the smaller one")

    @property
    def exhausted(self) -> bool:
        """Whether the search ended because no configuration was left."""
        return self._exhausted and bool(self._spec.search)

    def next(self, training: Collection[int]) -> Proposal | None:
        """The next trial to train; None if there is none, or none yet.

        Args:
            training: the trials in training; confirmations wait until there are none.
        """
        if self._queue:
            return self._queue.popleft()
        budget = self._spec.budget.trials
        new = not (self._exhausted or self._closed) and (budget is None or self._study.count < budget)
        while new and self._start:
            settings = self._start.popleft()
            if self._study.known(settings) is None:
                return self._study.begin(settings, "search", "")
        paused = [] if self._closed else list(self._paused)
        chosen = self._rule.choose(paused, training, new=new)
        if isinstance(chosen, int):
            return self._paused.pop(chosen)
        if chosen is not None:
            return self._study.begin_at(chosen)
        if new:
            proposal = self._study.suggest()
            if proposal is not None:
                return proposal
            self._exhausted = True
        if self._spec.confirm is not None and not self._confirmed and not training:
            self._confirmed = True
            if self._arrived:
                self._open_confirmations(self._spec.confirm.top, self._spec.confirm.replicates)
            else:
                self._notice(f"no run reached {self._spec.objective.until}, so there is nothing to confirm")
        return self._queue.popleft() if self._queue else None

    def close_search(self) -> None:
        """Train only confirmations from now on; a launch with a larger budget continues the other trials."""
        self._closed = True
        self._queue = deque(each for each in self._queue if each.phase == "confirm")

    def requeue(self, proposal: Proposal) -> None:
        """Put a trial first in the queue, for its next stage or for a restart."""
        if not self._closed or proposal.phase == "confirm":
            self._queue.appendleft(proposal)

    def pause(self, proposal: Proposal) -> None:
        """Let a trial wait until the rule chooses it."""
        self._paused[proposal.number] = proposal

    def ended(self, number: int, ending: Ending, *, arrived: bool) -> None:
        """Record how a trial ended, and whether any of its runs reached the event."""
        self._arrived = self._arrived or arrived
        if ending.cut_short or ending.kind == "failed":
            self._without_time.add(number)

    def _open_confirmations(self, top: int, replicates: int) -> None:
        """Open the best of the search and the baselines, to train the fresh seeds that they lack.

        A trial that waits, because the time is used up, counts with the value that is predicted of it.
        """
        values = {number: value for number, value in self._study.values().items() if number not in self._without_time}
        waits = {number: each.expected for number, each in self._rule.paused.items() if number in self._paused}
        values |= {number: expected[0] for number, expected in waits.items() if expected is not None}
        opened = {proposal.number: proposal for proposal in self._study.opened()}
        begun = {each.name for each in opened.values() if each.phase == "confirm"}
        waiting = {each.name for each in self._study.unfinished() if each.phase == "confirm"}
        baselines = [number for number in values if opened[number].phase == "baseline"]
        finalists = sorted(values.keys() - set(baselines), key=lambda number: (values[number], number))[:top]
        for number in (*finalists, *baselines):
            name = str(number)
            lacks = name in begun and 0 < self.confirmed_seeds(name) < replicates
            if name not in waiting and (name not in begun or lacks):
                self._queue.append(self._study.begin(opened[number].settings, "confirm", name))

    def confirmed_seeds(self, name: str) -> int:
        """Fresh seeds that confirmations of earlier launches have trained of a trial."""
        return self._seeds[name]
