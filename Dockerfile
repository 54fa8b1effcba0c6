# The image of every Airflow service and of MLflow: one set of packages, the one that was tested.
FROM python:3.11.14-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/opt/venv/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    # Where matplotlib and others keep what they may lose.
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/cache/matplotlib

RUN useradd --uid 10001 --no-create-home --home-dir /opt/airflow --shell /usr/sbin/nologin tagsage

WORKDIR /opt/tagsage

# The packages first: they change less often than the code.
COPY requirements.txt ./
RUN /usr/local/bin/pip install --no-cache-dir uv==0.13.9 \
 && /usr/local/bin/python -m venv /opt/venv \
 && VIRTUAL_ENV=/opt/venv uv pip sync --no-cache --compile-bytecode requirements.txt

COPY pyproject.toml LICENSE ./
COPY include ./include
# As `make setup` installs it: the library finds the bundled corpus beside its sources.
RUN VIRTUAL_ENV=/opt/venv uv pip install --no-cache --no-deps --editable .

COPY dags ./dags
COPY plugins ./plugins
COPY data ./data
COPY compose ./compose

# A new volume takes over the owner of the folder that it is mounted on.
RUN mkdir -p /opt/airflow/logs /var/lib/tagsage/workspace /var/lib/mlflow/artifacts \
 && chown -R tagsage:tagsage /opt/airflow /var/lib/tagsage /var/lib/mlflow

USER tagsage
