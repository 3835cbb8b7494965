"""Make a table that `search.py` searches of a whole sweep: `python -m benchmarks.record results/modular-43`.

The sweep's parts become one file a table under benchmarks/data/, sorted, with floats rounded and without what says
little, so that it is small enough for the repository. `sweeper` reads the folder as any sweep's.
"""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.tables import DATA
from sweeper.folder.layout import SweepFolder
from sweeper.results.query import query

ORDER = {
    "trials": "trial",
    "runs": "trial, operation, replicate",
    "curves": "trial, operation, replicate, step",
}
EMPTIED = (
    "gradient_norm",
    "saturated",
    "learning_rate",
    "weight_norm_embedding",
    "weight_norm_head",
    "weight_norm_blocks",
)
"""Columns of `curves` whose values are left out; the columns stay."""
DIGITS = {"seconds": 2}
"""Decimals of a column of floats, where they are not 4 significant digits."""


def record(source: Path, into: Path) -> dict[str, int]:
    """Write the three tables of a sweep as one file each; returns the bytes of each."""
    sizes = {}
    for name, order in ORDER.items():
        part = next((source / name).rglob("*.parquet"))
        schema = pq.read_schema(part)
        columns = ", ".join(f'"{each}"' for each in schema.names)
        table = query(SweepFolder(source), f"SELECT {columns} FROM {name} ORDER BY {order}").cast(schema)
        for at, field in enumerate(schema):
            if name == "curves" and field.name in EMPTIED:
                table = table.set_column(at, field, pa.nulls(len(table), field.type))
            elif name == "curves" and pa.types.is_floating(field.type):
                table = table.set_column(at, field, _rounded(table[field.name], DIGITS.get(field.name)))
        known = json.loads(schema.metadata[b"sweeper"])
        given = known["provenance"]
        known["provenance"] = {each: given[each] for each in ("python", "versions", "sweeper")}
        file = into / name / "part-00000.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        described = table.replace_schema_metadata({b"sweeper": json.dumps(known).encode()})
        pq.write_table(described, file, compression="zstd", compression_level=19)
        sizes[name] = file.stat().st_size
    return sizes


def _rounded(column: pa.ChunkedArray, decimals: int | None) -> pa.ChunkedArray:
    """To some decimals, or to four significant digits."""
    if decimals is not None:
        return pc.round(column, ndigits=decimals)
    scale = pc.floor(pc.log10(pc.max_element_wise(pc.abs(column), 1e-30)))
    unit = pc.power(10.0, pc.subtract(3.0, scale))
    return pc.divide(pc.round(pc.multiply(column.cast(pa.float64()), unit)), unit).cast(column.type)


def main() -> None:
    """Write benchmarks/data/NAME of the folder NAME of a sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path)
    asked = parser.parse_args()
    print(record(asked.sweep, DATA / asked.sweep.name))


if __name__ == "__main__":
    main()
