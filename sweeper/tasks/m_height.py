"""The m-height of linear codes: predict log2 h_m(C) from a generator matrix [I | P]. docs/m_height.md has the maths."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator
from pydantic.fields import FieldInfo

from sweeper.space.hyperparameters import MODEL, Value
from sweeper.tasks.task import LOSS, Task

Triple = Annotated[tuple[int, int, int], Field(strict=False)]
GROUPS: tuple[tuple[int, int, int], ...] = tuple(
    (n, k, m) for n in (9, 10) for k in (4, 5, 6) for m in range(2, n - k + 1)
)
"""The 21 groups (n, k, m) of the published experiment: length n and dimension k of the codes, and the height m."""
SIDE = 6
"""Rows and columns that P is padded to with zeros: the largest supported size."""


def is_group(n: int, k: int, m: int) -> bool:
    """Whether P fits into 6 x 6 and codes of this kind have a finite m-height."""
    return 1 <= k <= SIDE and 1 <= m <= n - k <= SIDE


class _ModelKeys(BaseModel):
    violation: Annotated[float, Field(ge=0, le=1000)] = Field(
        0.0, description="Weight of the violation term in the loss."
    )


class MHeight(Task):
    """Predict log2 of the m-height of a random real code."""

    name: Literal["m_height"] = Field(description="The task.")
    groups: Annotated[tuple[Triple, ...], Field(strict=False, min_length=1)] = Field(
        GROUPS, description="A list of [n, k, m]: length, dimension and height; by default the 21 published groups."
    )
    train_codes: Annotated[int, Field(ge=1, le=1_000_000)] = Field(5000, description="Training codes per group.")
    validation_codes: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10_000, description="Validation codes per group."
    )
    codes_seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(0, description="Seed of the random codes.")

    @field_validator("groups")
    @classmethod
    def _are_groups(cls, value: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
        for group in value:
            if not is_group(*group):
                raise ValueError(
                    f"got {list(group)}; [n, k, m] has k and n - k from 1 to {SIDE}, and m from 1 to n - k"
                )
        if len(set(value)) < len(value):
            raise ValueError("list each group once")
        return value

    @property
    def scores(self) -> Mapping[str, str]:
        """Squared error, R² within groups, the loss, the violation and the share of clamped predictions."""
        return {
            "mse": "Mean squared error of log2 h.",
            "r2_within": "1 - mean squared error / variance of log2 h within groups (1.35 in the published ones): 0 "
            "for a model that predicts the group means.",
            LOSS: "Training loss: the mean squared error plus `model.violation` times the mean squared violation.",
            "violation": "Mean squared amount, in log2, by which predictions lie below the height of some codeword.",
            "clamped": "Share of predictions below 0 in log2; no height is that low, so they count as 0.",
        }

    @property
    def diagnostics(self) -> Mapping[str, str]:
        """Norms of the model's parts."""
        return {
            "weight_norm_stem": "L2 norm of the first convolution.",
            "weight_norm_embedding": "L2 norm of the embeddings of n, k and m.",
            "weight_norm_head": "L2 norm of the layers after the residual blocks.",
        }

    @property
    def models(self) -> Mapping[str, FieldInfo]:
        """The weight of the violation term."""
        return {f"{MODEL}{name}": field for name, field in _ModelKeys.model_fields.items()}

    @property
    def without(self) -> frozenset[str]:
        """The transformer's hyperparameters: the models are residual networks of `depth` blocks, `width` channels."""
        return frozenset({"heads", "feedforward"})

    @property
    def defaults(self) -> Mapping[str, Value]:
        """The settings of the published experiment."""
        return {
            "depth": 5,
            "width": 64,
            "weight_decay": 0.01,
            "betas": (0.9, 0.999),
            "batch.max": 4096,
            "warmup_steps": 0,
        }

    @property
    def prepares(self) -> bool:
        """Codes and their heights are computed once per machine."""
        return True

    @property
    def title(self) -> str:
        """`log2 of the m-height of codes in 21 groups, 5,000 training codes each`."""
        return f"log2 of the m-height of codes in {len(self.groups)} groups, {self.train_codes:,} training codes each"
