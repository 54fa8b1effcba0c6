import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(code: str) -> subprocess.CompletedProcess[str]:
    # The benchmarks are no installed package: they are run from the repository's folder.
    return subprocess.run(
        [sys.executable, "-c", "from benchmarks.runner import *\n" + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_measurement_tells_result_seconds_and_the_calls_own_memory():
    done = python("""
import json, os, time
import numpy as np
ballast = np.ones((200, 1024, 1024), np.int8)        # 200 MiB, of the parent only
factor = 3
def work():
    time.sleep(0.2)
    return int(np.full(50 * 1024 * 1024, factor, np.int8).sum()) , os.getpid()
m = measure(work)
result, seconds, peak_mb = m
print(json.dumps([result[0], result[1] == os.getpid(), seconds, peak_mb, m.extra_mb]))
""")
    assert done.stderr == ""
    result, same_process, seconds, peak, extra = json.loads(done.stdout)
    assert result == 3 * 50 * 1024 * 1024
    assert not same_process
    assert seconds >= 0.2
    # The parent's ballast does not count, the call's 50 MiB do.
    assert 49 <= extra <= 110
    assert extra < peak < 250


def test_preparation_counts_neither_in_time_nor_in_memory():
    done = python("""
import time
import numpy as np
def prepare():
    np.ones((200, 1024, 1024), np.int8)
    time.sleep(1)
    return 20
call = prepared(prepare, lambda n: n + 1)
m = measure(call)
print(m.result, call(), m.seconds < 1, m.extra_mb < 100)
""")
    assert done.stdout.split() == ["21", "21", "True", "True"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1 / 0", "failed; its trace is above"),
        ("os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("time.sleep(600)", "took longer than 2 s"),
    ],
)
def test_a_call_that_fails_is_told(body, message):
    done = python(
        f"import os, time\nmeasure(lambda: {body}, timeout_s=2 if 'sleep' in {body!r} else 60)"
    )
    assert f"MeasureError: {message}" in done.stderr


def test_variants_are_measured_in_turn_and_their_medians_told():
    done = python("""
import benchmarks.runner as runner
seconds = {"a": [1.0, 9.0, 2.0], "b": [4.0, 4.0, 5.0]}
asked = []
def fake(call):
    name = call()
    asked.append(name)
    turn = asked.count(name)
    return Measure(turn, seconds[name][turn - 1], 100.0 + turn, 100.0)
runner.measure = fake
rows = side_by_side(
    {"a": lambda: "a", "b": lambda: "b"}, repeats=3, columns=lambda result: {"turn": result}
)
print("".join(asked), [(row.name, row.seconds, row.peak_mb, row.extra_mb) for row in rows])
print([row.columns for row in rows])
""")
    assert done.stdout.splitlines() == [
        "ababab [('a', 2.0, 102.0, 2.0), ('b', 4.0, 102.0, 2.0)]",
        "[{'turn': 3}, {'turn': 3}]",
    ]


def test_a_table_has_the_ratio_to_its_first_row_and_the_further_columns():
    done = python("""
rows = [
    Row("obvious", 2.0, 1500.4, 300.0, {"micro-F1": ".40"}),
    Row("blocks | sparse", 0.5, columns={"micro-F1": ".41"}),
]
print(table(rows))
""")
    assert done.stdout.splitlines() == [
        "|  | seconds | ratio | peak MiB | of it the call's | micro-F1 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| obvious | 2.000 | 1.00 | 1,500 | 300 | .40 |",
        r"| blocks \| sparse | 0.500 | 0.25 | – | – | .41 |",
    ]


def test_an_unknown_benchmark_is_wrong_usage():
    done = bench("nonsense")
    assert done.returncode == 2
    assert "no benchmark named nonsense; there are:" in done.stderr


def test_a_folder_without_a_corpus_is_refused_in_one_sentence(tmp_path):
    done = bench("--corpus", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        f"{tmp_path} holds no articles.csv.gz; name a folder that holds both files.\n"
    )
