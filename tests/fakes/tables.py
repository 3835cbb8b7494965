"""The tables that most tests write: those of modular arithmetic."""

from sweeper.results.schema import tables
from sweeper.tasks.modular_arithmetic import ModularArithmetic

TASK = ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y",))
MODULAR = tables(TASK)
SCHEMAS, MEANINGS = MODULAR.schemas, MODULAR.meanings
