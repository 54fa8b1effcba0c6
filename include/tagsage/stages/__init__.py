"""The pipeline as plain functions, one a DAG task.

Every stage takes the night's token and the refs of earlier artifacts, and returns something small
and JSON-able. Any of them may be killed and run again: artifacts that exist are found, MLflow runs
are continued, the store's writes are idempotent. Libraries are imported inside the functions, so
that Airflow reads this package quickly and forks safely.
"""

from tagsage.stages.blocks import fit_blocks
from tagsage.stages.catalogue import catalogue
from tagsage.stages.checks import check_corpus
from tagsage.stages.common import tracking_of
from tagsage.stages.compare import (
    candidates_with_lists,
    candidates_without_lists,
    features,
    fit_candidate,
    leaderboard,
)
from tagsage.stages.embed import (
    collect_vectors,
    embed_batch,
    plan_vectors,
    store_vectors,
    vector_batches,
)
from tagsage.stages.embed_jobs import await_jobs, job_done, submit_jobs, take_job
from tagsage.stages.embed_openai import embed_online, online_batches
from tagsage.stages.explain import explain
from tagsage.stages.findings import findings
from tagsage.stages.graph import (
    components,
    factorise_memberships,
    fastrp,
    graphsage,
    project,
    propagate_lists,
    sample,
    similarity,
)
from tagsage.stages.harvest import announce, harvest, harvest_seeds, prepare_harvest
from tagsage.stages.ingest import load_corpus, start
from tagsage.stages.labels import propagate_labels
from tagsage.stages.predict import predict
from tagsage.stages.promote import promote
from tagsage.stages.questions import answer_question, questions
from tagsage.stages.rare_tags import rare_tags
from tagsage.stages.splitting import split
from tagsage.stages.suggest import suggest
from tagsage.stages.tell import eda, report, teardown

__all__ = [
    "announce",
    "answer_question",
    "await_jobs",
    "candidates_with_lists",
    "candidates_without_lists",
    "catalogue",
    "check_corpus",
    "collect_vectors",
    "components",
    "eda",
    "embed_batch",
    "embed_online",
    "explain",
    "factorise_memberships",
    "fastrp",
    "features",
    "findings",
    "fit_blocks",
    "fit_candidate",
    "graphsage",
    "harvest",
    "harvest_seeds",
    "job_done",
    "leaderboard",
    "load_corpus",
    "online_batches",
    "plan_vectors",
    "predict",
    "prepare_harvest",
    "project",
    "promote",
    "propagate_labels",
    "propagate_lists",
    "questions",
    "rare_tags",
    "report",
    "sample",
    "similarity",
    "split",
    "start",
    "store_vectors",
    "submit_jobs",
    "suggest",
    "take_job",
    "teardown",
    "tracking_of",
    "vector_batches",
]
