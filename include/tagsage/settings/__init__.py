"""Every default in one place.

A setting comes, in this order, from: ``--set key=value`` on the command line or the trigger form
in Airflow; the environment (``TAGSAGE_KEY``); the default below. Unknown names and impossible
values are refused before anything starts.
"""

from tagsage.settings.candidates import DEFAULT_CANDIDATES
from tagsage.settings.settings import ENV_PREFIX, Settings

__all__ = ["DEFAULT_CANDIDATES", "ENV_PREFIX", "Settings"]
