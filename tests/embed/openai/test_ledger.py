"""The books: nobody sends what another sends, and nobody spends more than may be spent."""

from __future__ import annotations

import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tagsage.embed.openai import ledger as ledger_module
from tagsage.embed.openai.config import Ceiling
from tagsage.embed.openai.ledger import (
    FILE,
    CeilingReachedError,
    Ledger,
    Spending,
    new_request_id,
)
from tagsage.embed.openai.ledger_file import OWNERS
from tagsage.errors import TagsageError

MODEL = "m"
AMPLE = Ceiling(100.0, 10**9)


def reserve(ledger: Ledger, request_id: str, **changes) -> None:
    ledger.reserve(
        request_id,
        **{
            "run_id": "run",
            "model_id": MODEL,
            "texts": 2,
            "bound": 100,
            "estimate": 30,
            "price": 0.1,
            "ceiling": AMPLE,
        }
        | changes,
    )


# -- who has a text in hand --------------------------------------------------------------------
def test_a_text_in_hand_is_nobody_elses_until_it_is_released(tmp_path: Path) -> None:
    with Ledger(tmp_path) as one, Ledger(tmp_path) as other:
        assert one.claim(MODEL, [b"a", b"b"]) == {b"a", b"b"}
        assert other.claim(MODEL, [b"b", b"c"]) == {b"c"}
        assert other.claim("another model", [b"b"]) == {b"b"}
        assert one.claim(MODEL, [b"b"]) == {b"b"}
        assert other.owners_of(MODEL, [b"a", b"c", b"d"]) == {b"a": one.owner, b"c": other.owner}
        other.release(MODEL, [b"b"])  # which it has not
        assert other.claim(MODEL, [b"b"]) == set()
        one.release(MODEL, [b"b"])
        assert other.claim(MODEL, [b"b"]) == {b"b"}


def test_closing_the_books_frees_what_was_in_hand(tmp_path: Path) -> None:
    with Ledger(tmp_path) as one:
        one.claim(MODEL, [b"a"])
        owner = one.owner
    with Ledger(tmp_path) as other:
        assert other.claim(MODEL, [b"a"]) == {b"a"}
    assert not (tmp_path / OWNERS / f"{owner}.lock").exists()


def test_texts_of_a_batch_are_nobodys_who_could_die(tmp_path: Path) -> None:
    with Ledger(tmp_path) as one:
        one.claim(MODEL, [b"a"], "job:1")
        one.claim(MODEL, [b"b"])
    with Ledger(tmp_path) as other:
        with other.dead_owners() as dead:
            assert dead == []
        assert other.claim(MODEL, [b"a", b"b"]) == {b"b"}
        other.release(MODEL, [b"a"], "job:1")
        assert other.claim(MODEL, [b"a"]) == {b"a"}


def test_a_host_of_any_name_gives_an_owner_that_files_can_bear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "büro_rechner 1")
    with Ledger(tmp_path) as ledger:
        assert ledger.owner.startswith("b-ro-rechner-1-")
        assert new_request_id(ledger.owner).rpartition("_")[0] == ledger.owner


KILLED = """
import os, signal, sys
from pathlib import Path
from tagsage.embed.openai.config import Ceiling
from tagsage.embed.openai.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
ledger.claim("m", [b"a"])
ledger.reserve("r", run_id="run", model_id="m", texts=1, bound=50, estimate=20, price=0.1,
               ceiling=Ceiling(1.0, 1000))
print(ledger.owner, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_had_in_hand_is_free_and_its_request_lost(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    owner = killed.stdout.strip()
    with Ledger(tmp_path) as ledger, Ledger(tmp_path) as living:
        living.claim(MODEL, [b"b"])
        assert ledger.claim(MODEL, [b"a"]) == set()
        with ledger.dead_owners() as dead:
            assert dead == [owner]
            with living.dead_owners() as also:
                # Somebody is at it already.
                assert also == []
        assert ledger.claim(MODEL, [b"a", b"b"]) == {b"a"}
        assert ledger.spent("run") == Spending(0, 0, 20, pytest.approx(2e-6), 1, 20)
        with ledger.dead_owners() as dead:
            assert dead == []


def test_a_dead_owner_stays_when_what_it_left_could_not_be_put_in_order(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, check=False)
    with Ledger(tmp_path) as ledger:
        with pytest.raises(ValueError, match="no"), ledger.dead_owners():
            raise ValueError("no")
        with ledger.dead_owners() as dead:
            assert len(dead) == 1


# -- money -------------------------------------------------------------------------------------
def test_spending_counts_what_was_charged_and_what_may_have_been(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for name in ("done", "told", "refused", "lost", "under way"):
            reserve(ledger, name)
        ledger.settle("done", "done", 25)
        ledger.settle("told", "done", None)
        ledger.settle("refused", "refused")
        ledger.settle("lost", "lost")
        reserve(ledger, "another's", run_id="other")
        ledger.settle("another's", "done", 1000)
        # 25 + the estimates of the second, the lost one and the one under way.
        assert ledger.spent("run") == Spending(2, 4, 115, pytest.approx(11.5e-6), 1, 30)
        assert ledger.spent().tokens == 1115
        assert ledger.spent("nobody") == Spending()
        assert ledger.runs()[0] == "other"


def test_what_was_settled_first_counts(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        reserve(ledger, "r")
        ledger.settle("r", "done", 25)
        ledger.settle("r", "lost")
        reserve(ledger, "r")  # in the books already
        assert ledger.spent("run").tokens == 25


def test_a_ceiling_in_tokens_counts_what_requests_can_have_cost_at_most(tmp_path: Path) -> None:
    ceiling = Ceiling(100.0, 250)
    with Ledger(tmp_path) as ledger:
        reserve(ledger, "1", ceiling=ceiling)
        reserve(ledger, "2", ceiling=ceiling)
        with pytest.raises(CeilingReachedError, match=r"up to 200 tokens, and 100 more .*=250"):
            reserve(ledger, "3", ceiling=ceiling)
        ledger.settle("1", "done", 40)
        reserve(ledger, "3", ceiling=ceiling)  # 40 + 100 + 100
        with pytest.raises(CeilingReachedError):
            reserve(ledger, "4", ceiling=ceiling)
        ledger.settle("2", "lost")  # may have been charged in full
        with pytest.raises(CeilingReachedError):
            reserve(ledger, "4", ceiling=ceiling)
        ledger.settle("3", "refused")
        reserve(ledger, "4", ceiling=ceiling)  # 40 + 100 + 100
        reserve(ledger, "5", ceiling=ceiling, run_id="another run")


def test_a_ceiling_in_dollars_holds_too(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        reserve(ledger, "1", bound=1_000_000, price=0.1, ceiling=Ceiling(0.15, 10**9))
        with pytest.raises(CeilingReachedError, match=r"\$0.2000 .*openai_max_dollars=0.15"):
            reserve(ledger, "2", bound=1_000_000, price=0.1, ceiling=Ceiling(0.15, 10**9))
        # What costs nothing may go on.
        reserve(ledger, "3", bound=1_000_000, price=0.0, ceiling=Ceiling(0.15, 10**9))


def test_nothing_may_be_spent_below_a_ceiling_of_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        with pytest.raises(CeilingReachedError):
            reserve(ledger, "1", ceiling=Ceiling(100.0, 0))
        with pytest.raises(CeilingReachedError):
            reserve(ledger, "1", ceiling=Ceiling(0.0, 1000))


RACER = """
import sys
from pathlib import Path
from tagsage.embed.openai.config import Ceiling
from tagsage.embed.openai.ledger import CeilingReachedError, Ledger
won = 0
with Ledger(Path(sys.argv[1])) as ledger:
    for number in range(40):
        try:
            ledger.reserve(f"{sys.argv[2]}-{number}", run_id="run", model_id="m", texts=1, bound=10,
                           estimate=5, price=0.1, ceiling=Ceiling(1.0, 500))
        except CeilingReachedError:
            continue
        won += 1
print(won)
"""


def test_processes_side_by_side_stay_below_one_ceiling(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), name], stdout=subprocess.PIPE, text=True
        )
        for name in ("a", "b", "c")
    ]
    won = [int(racer.communicate()[0]) for racer in racers]
    assert sum(won) == 50  # 500 tokens by tens


# -- what no server takes ------------------------------------------------------------------------
def test_a_refused_text_is_remembered_and_a_failed_one_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.reject(MODEL, {b"a": "empty"}, "refused")
        ledger.reject(MODEL, {b"b": "500"}, "failed")
        assert ledger.rejected(MODEL) == {b"a": "empty", b"b": "500"}
        assert ledger.rejected("another model") == {}
        monkeypatch.setattr(ledger_module, "FAILED_FOR", timedelta(0))
        assert ledger.rejected(MODEL) == {b"a": "empty"}
        assert ledger.forget_rejected(MODEL) == 2
        assert ledger.rejected(MODEL) == {}


def test_a_text_that_fails_again_is_left_alone_for_twice_as_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Ledger(tmp_path) as ledger:
        for _ in range(3):
            ledger.reject(MODEL, {b"b": "500"}, "failed")
        ledger.reject(MODEL, {b"c": "500"}, "failed")
        ledger.connection.execute("UPDATE rejected SET rejected_at = '2020-01-01T00:00:00+00:00'")
        age = datetime.now(tz=UTC) - datetime(2020, 1, 1, tzinfo=UTC)
        monkeypatch.setattr(ledger_module, "FAILED_FOR", age / 3)
        # Three times: four thirds of its age; once: a third.
        assert ledger.rejected(MODEL) == {b"b": "500"}


def test_what_was_cut_further_is_remembered(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.note_cut(MODEL, [b"a"])
        ledger.note_cut(MODEL, [b"a", b"b"])
        assert ledger.cut(MODEL) == {b"a", b"b"}
        assert ledger.cut("another model") == set()


def test_only_requests_of_other_processes_of_the_run_are_others(tmp_path: Path) -> None:
    with Ledger(tmp_path) as one, Ledger(tmp_path) as other:
        reserve(one, "1")
        reserve(one, "2", run_id="another run")
        assert not one.others_are_sending("run")
        assert other.others_are_sending("run")
        one.settle("1", "done")
        assert not other.others_are_sending("run")


def test_a_ledger_that_is_no_database_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no database" * 100)
    with pytest.raises(
        TagsageError, match=r"The ledger .*ledger\.db cannot be used \(.*not a data"
    ):
        Ledger(tmp_path)
