"""What is imported before there is something to do: every command and every task waits for it."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {
    *("graphdatascience", "jax", "matplotlib", "mlflow", "neo4j", "numpy", "openai", "optax"),
    *("pandas", "pyarrow", "scipy", "scrapy", "sklearn", "skmultilearn", "sqlalchemy"),
}

PROGRAM = """
import sys
{statements}
print(*{{name.partition(".")[0] for name in sys.modules}})
"""


def imported_by(statements: str) -> set[str]:
    """Return the packages that are there after some statements in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statements=statements)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_no_heavy_library_is_imported_before_there_is_something_to_do():
    # The connections are what the plugin asks for around every task.
    names = ("cli", "pipeline", "stages", "neo4j_connection", "openai_connection", "store.open")
    modules = ", ".join(f"tagsage.{name}" for name in names)
    assert imported_by(f"import {modules}") & HEAVY == set()


def test_what_dags_import_adds_nothing_heavy_to_airflow_itself():
    modules = ("connections", "dags", "form", "notifications", "tasks")
    names = ", ".join(f"tagsage.airflow.{module}" for module in modules)
    airflow = "import airflow.sdk, airflow.sdk.configuration, airflow.sdk.log"
    assert imported_by(f"import {names}") & HEAVY <= imported_by(airflow)
