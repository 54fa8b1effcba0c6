#!/bin/sh
# Make Airflow's database ready, its first user and the pool; run at every start, changes nothing twice.
set -eu
airflow db migrate

# The password comes by standard input: a command line can be read by others on the machine.
printf '%s\n%s\n' "$AIRFLOW_ADMIN_PASSWORD" "$AIRFLOW_ADMIN_PASSWORD" |
  airflow users create --role Admin --username "$AIRFLOW_ADMIN_USER" \
    --email "$AIRFLOW_ADMIN_EMAIL" --firstname "$AIRFLOW_ADMIN_USER" --lastname admin

airflow pools set tagsage_cpu "$CPU_SLOTS" "Heavy tasks: as many slots as cores"
