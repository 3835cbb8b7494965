"""Modular arithmetic and permutations: predict a ∘ b from the tokens [a, ∘, b, =].

Power et al., "Grokking: Generalization beyond overfitting on small algorithmic datasets", 2022, arXiv:2201.02177.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from sweeper.tasks.task import DISTINCT, LOSS, OneOrMany, Task

Operation = Literal[
    "x_plus_y",
    "x_minus_y",
    "x_div_y",
    "x_times_y",
    "x2_plus_y2",
    "x2_plus_xy_plus_y2",
    "x2_plus_xy_plus_y2_plus_x",
    "x3_plus_xy",
    "x3_plus_xy2_plus_y",
    "permutation",
    "permutation_conjugation",
    "permutation_xyx",
]
PERMUTATIONS = frozenset({"permutation", "permutation_conjugation", "permutation_xyx"})


class ModularArithmetic(Task):
    """Predict a ∘ b from the tokens [a, ∘, b, =]."""

    name: Literal["modular_arithmetic"] = Field(description="The task.")
    operation: Annotated[OneOrMany[Operation], DISTINCT] = Field(
        json_schema_extra={"minItems": 1}, description="One operation or a list; with several, all must be fast."
    )
    modulus: Annotated[int, Field(ge=2, le=4096)] = Field(97, description="Arithmetic is modulo this number.")
    degree: Annotated[int, Field(ge=2, le=6)] = Field(
        5, description="permutation...: arithmetic in the group S_degree."
    )
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="Share of the pairs used to train.")
    evaluation: Literal["whole", "sampled"] = Field(
        "whole", description="The whole validation set, or the published experiment's 8 sampled batches."
    )

    @field_validator("operation")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("got []; list at least one operation")
        return value

    @property
    def operations(self) -> tuple[str, ...]:
        return self.operation

    @property
    def scores(self) -> Mapping[str, str]:
        """Accuracy and cross-entropy."""
        return {"accuracy": "Share of correct answers.", LOSS: "Mean cross-entropy, in nats."}

    @property
    def shares(self) -> tuple[str, ...]:
        """Accuracy."""
        return ("accuracy",)

    @property
    def diagnostics(self) -> Mapping[str, str]:
        """Norms of the model's parts, and saturation."""
        return {
            "weight_norm_embedding": "L2 norm of the token and position embeddings.",
            "weight_norm_head": "L2 norm of the final layer norm and the output layer.",
            "saturated": "Share of the last batch whose largest predicted probability is exactly 1 in floating point: "
            "such examples have no gradient.",
        }

    @property
    def without(self) -> frozenset[str]:
        """Empty: the models are transformers."""
        return frozenset()

    @property
    def title(self) -> str:
        """`x_plus_y mod 97, 50% of the pairs train`."""
        names = [f"{each} in S{self.degree}" if each in PERMUTATIONS else each for each in self.operation]
        modulus = "" if PERMUTATIONS.issuperset(self.operation) else f" mod {self.modulus}"
        return f"{', '.join(names)}{modulus}, {self.train_fraction:.0%} of the pairs train"

    @property
    def sampled(self) -> bool:
        return self.evaluation == "sampled"

    def pairs(self, operation: str) -> int:
        """Number of examples of an operation."""
        if operation in PERMUTATIONS:
            return math.factorial(self.degree) ** 2
        return self.modulus * (self.modulus - 1) if operation == "x_div_y" else self.modulus**2

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Division without inverses, and splits with an empty side."""
        if "x_div_y" in self.operation and not _is_prime(self.modulus):
            near = sorted((p for p in range(2, 5000) if _is_prime(p)), key=lambda p: abs(p - self.modulus))[:2]
            numbers = " or ".join(map(str, sorted(near)))
            yield "modulus", f"got {self.modulus}; x_div_y needs a prime modulus, such as {numbers}"
        for operation in self.operation:
            pairs = self.pairs(operation)
            if not 0 < int(pairs * self.train_fraction + 1e-9) < pairs:
                yield "train_fraction", f"got {self.train_fraction}; with {pairs} pairs, one side is empty"


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, int(number**0.5) + 1))
