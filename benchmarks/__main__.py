"""Run the benchmarks: ``python -m benchmarks [NAME ...] [--corpus DIR]``.

NAME is a benchmark without ``bench_``, such as ``graph``; without names graph, learn and year run.
DIR holds ``articles.csv.gz`` and ``lists.csv.gz``; without it the bundled corpus is taken.
``scale`` makes up its own: ``scale --articles 55000 550000 [--set NAME=VALUE ...]``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from benchmarks.runner import machine
from tagsage.corpus.bundled import bundled_files
from tagsage.errors import TagsageError

FOLDER = Path(__file__).parent
# The others start servers and take minutes; Neo4j's needs Java.
BY_DEFAULT = ("graph", "learn", "year")


def main(arguments: list[str] | None = None) -> int:
    """Run the named benchmarks and print their tables.

    Returns
    -------
    int
        Exit status: 0 done, 1 the corpus is not there; 2, through argparse, wrong usage.
    """
    known = sorted(file.stem.removeprefix("bench_") for file in FOLDER.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure tagsage.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    parser.add_argument("--corpus", metavar="DIR", help="articles.csv.gz and lists.csv.gz")
    of_scale = parser.add_argument_group("scale")
    of_scale.add_argument("--articles", type=int, nargs="+", metavar="N", help="sizes of corpora")
    of_scale.add_argument("--set", action="append", metavar="NAME=VALUE", help="a setting")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in known]
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(known)}")
    try:
        corpus = _corpus(given.corpus)
    except TagsageError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Machine: {machine()}\n\nCorpus: {corpus.name}\n", flush=True)
    for name in given.names or BY_DEFAULT:
        started = time.perf_counter()
        bench = importlib.import_module(f"benchmarks.bench_{name}").main
        report = bench(given.articles, given.set or ()) if name == "scale" else bench(str(corpus))
        took = time.perf_counter() - started
        print(f"## {name}\n\n{report.strip()}\n\n({took:.0f} s in all)\n", flush=True)
    return 0


def _corpus(folder: str | None) -> Path:
    if folder is None:
        return Path(bundled_files()[0]).parent
    path = Path(folder).resolve()
    for name in ("articles.csv.gz", "lists.csv.gz"):
        if not (path / name).is_file():
            raise TagsageError(f"{path} holds no {name}; name a folder that holds both files.")
    return path


if __name__ == "__main__":
    sys.exit(main())
