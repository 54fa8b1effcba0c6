"""The pipeline as plain functions, one per task of the DAG; Airflow shows people their docstrings.

Every stage takes the run's token and the refs of earlier artifacts, and returns something small and
JSON-able. Any may be killed and run again. Libraries are imported inside the functions, so that
Airflow reads this package quickly and forks safely.
"""

from tagsage.stages.backends import tracking_of
from tagsage.stages.candidates import candidate_names
from tagsage.stages.compare import fit_candidate, leaderboard
from tagsage.stages.eda import eda
from tagsage.stages.embed import await_job, embed_texts, submit_jobs
from tagsage.stages.explain import explain
from tagsage.stages.features import fit_blocks
from tagsage.stages.findings import findings
from tagsage.stages.graph import graph
from tagsage.stages.harvest import announce, harvest, harvest_seeds, prepare_harvest
from tagsage.stages.ingest import load_corpus, start
from tagsage.stages.predict import predict
from tagsage.stages.promote import promote
from tagsage.stages.publish import publish
from tagsage.stages.report import report
from tagsage.stages.scenarios import evaluate_scenario, scenarios
from tagsage.stages.splitting import split
from tagsage.stages.suggest import suggest
from tagsage.stages.teardown import teardown

__all__ = [
    "announce",
    "await_job",
    "candidate_names",
    "eda",
    "embed_texts",
    "evaluate_scenario",
    "explain",
    "findings",
    "fit_blocks",
    "fit_candidate",
    "graph",
    "harvest",
    "harvest_seeds",
    "leaderboard",
    "load_corpus",
    "predict",
    "prepare_harvest",
    "promote",
    "publish",
    "report",
    "scenarios",
    "split",
    "start",
    "submit_jobs",
    "suggest",
    "teardown",
    "tracking_of",
]
