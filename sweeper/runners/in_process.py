"""Trains trials one after the other in this process: no Ray, no workers. For notebooks, debugging and tests."""

from sweeper.runners.protocol import WAIT, Director, ending_of
from sweeper.stats.events import FINISHED, Ending
from sweeper.trial import Assignment, Train


class InProcess:
    """The runner with one slot."""

    slots = 1

    def run(self, train: Train, director: Director) -> None:
        """Train the director's trials until it has no more."""
        while True:
            director.tick()
            assignment = director.next_trial()
            if assignment is None:
                return
            if assignment == WAIT:
                raise RuntimeError("the director waits, but no trial is running")
            director.end(assignment.number, self._train(train, assignment, director))

    def _train(self, train: Train, assignment: Assignment, director: Director) -> Ending:
        chunks = train(assignment)
        while True:
            try:
                chunk = next(chunks, None)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # of the user's code or torch: an outcome
                return ending_of(error)
            if chunk is None:
                return FINISHED
            ending = director.report(assignment.number, chunk)
            if ending is not None:
                return ending
            director.tick()
