import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from scripts.openai_server import Faults, OpenAiServer, charged_twice, count_tokens
from tagsage.embed.cache import VectorCache
from tagsage.embed.openai import batch_jobs, batch_results, pacing
from tagsage.embed.openai.batch_calls import Calls
from tagsage.embed.openai.batch_files import JobLimits
from tagsage.embed.openai.batch_jobs import cancel_job, list_jobs, pending_jobs, poll_job
from tagsage.embed.openai.config import Ceiling, OpenAiConfig
from tagsage.embed.openai.ledger import CeilingReachedError, Ledger
from tagsage.embed.openai.spool import CACHE
from tagsage.embed.text import text_hashes
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.openai_connection import OpenAiConnection
from tests.embed.openai.batch_world import (
    DIMENSIONS,
    MODEL,
    World,
    by_hand,
    expire,
    finish,
    posts,
    set_queue,
    some_texts,
    work,
)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(pacing, "FIRST_PAUSE_S", 0.02)


@pytest.fixture
def server():
    with by_hand() as server:
        yield server


@pytest.fixture
def world(tmp_path, server) -> World:
    return World(tmp_path, server.base_url, some_texts(70))


def done(world: World, server: OpenAiServer, keys: list[str]) -> list:
    """Let the server work, and take what it has."""
    reports = []
    for key in keys:
        finish(server)
        assert world.poll(key).finished
        reports.append(world.take(key))
    return reports


def test_texts_are_submitted_awaited_and_taken_with_the_servers_own_count_of_tokens(world, server):
    keys = world.submit()
    assert len(keys) == 3
    assert [world.poll(key).finished for key in keys] == [False] * 3
    assert world.claims() == 70
    reports = done(world, server, keys)
    world.assert_right()
    tokens = sum(map(count_tokens, world.texts))
    assert sum(report.tokens for report in reports) == tokens == server.books.tokens
    assert [(report.texts, report.embedded, report.missing) for report in reports] == [
        (30, 30, 0), (30, 30, 0), (10, 10, 0),
    ]  # fmt: skip
    spent = world.spent()
    assert (spent.requests, spent.texts, spent.tokens) == (3, 70, tokens)
    assert spent.dollars == pytest.approx(tokens * 0.01 / 1e6)
    assert world.claims() == 0
    assert not charged_twice(server.books)


def test_nothing_is_left_of_a_job_but_its_results_at_the_server(world, server):
    [*keys] = world.submit()
    done(world, server, keys)
    with Calls(world.connection, world.config) as calls:
        kinds = [file.purpose for file in calls.client.files.list()]
    assert kinds == ["batch_output"] * 3
    assert [path.name for path in (world.folder / "jobs").iterdir() if path.is_dir()] == []
    assert [state.state for state in list_jobs(world.folder)] == ["taken"] * 3


def test_when_nothing_is_missing_no_server_is_asked_and_no_key_needed(world, server):
    done(world, server, world.submit())
    requests = len(server.books.requests)
    assert world.but(base_url="https://api.openai.com/v1").submit() == []
    assert len(server.books.requests) == requests


def test_submitting_again_finds_the_jobs_under_way_and_adds_only_what_is_new(world, server):
    keys = world.submit()
    assert world.submit() == keys
    assert posts(server, "files") == posts(server, "batches") == 3
    more = world.but(texts=[*world.texts, "one more"], run_id="next")
    [*again] = more.submit()
    assert again[:3] == keys
    assert len(again) == 4
    done(more, server, again)
    more.assert_right()
    assert more.spent().texts == 1  # the rest was the first run's
    assert not charged_twice(server.books)


def test_a_job_whose_texts_all_have_a_vector_is_waited_for_only_when_it_has_ended(world, server):
    [key] = world.but(texts=world.texts[:5]).submit()
    VectorCache(world.folder / CACHE, world.config.model_id, DIMENSIONS).put(
        world.hashes[:5], np.ones((5, DIMENSIONS), np.float32)
    )
    assert pending_jobs(world.folder, world.config.model_id, world.hashes) == []
    finish(server)
    world.poll(key)
    assert pending_jobs(world.folder, world.config.model_id, world.hashes) == [key]


def test_texts_of_a_job_under_way_are_left_to_it_on_line(world, server):
    keys = world.submit()
    more = world.but(texts=[*world.texts, "one more"])
    report = more.online()
    assert (report.embedded, report.in_jobs) == (1, 70)
    assert pending_jobs(world.folder, world.config.model_id, world.hashes[:1]) != []
    assert pending_jobs(world.folder, world.config.model_id, text_hashes(["one more"])) == []
    assert pending_jobs(world.folder, world.config.model_id, text_hashes([])) == []
    done(world, server, keys)
    more.assert_right()
    assert not charged_twice(server.books)


def test_runs_at_the_same_time_submit_and_take_each_job_once(world, server):
    with ThreadPoolExecutor(3) as runs:
        submitted = list(runs.map(lambda _: world.submit(), range(3)))
        keys = sorted({key for each in submitted for key in each})
        finish(server)
        for key in keys:
            world.poll(key)
        taken = list(runs.map(world.take, keys * 2))
    assert posts(server, "files") == posts(server, "batches") == 3
    assert taken[:3] == taken[3:]
    world.assert_right()
    assert world.spent().requests == 3
    assert not charged_twice(server.books)


def test_a_job_whose_files_are_gone_here_can_be_given_up(world, server):
    keys = world.submit()
    shutil.rmtree(world.folder / "jobs" / keys[0])
    with pytest.raises(
        TagsageError, match=rf"give it up \(tagsage vectors cancel {keys[0]} --give"
    ):
        world.submit()
    cancel_job(None, world.config, keys[0], folder=world.folder)
    assert world.submit() == [*keys[1:], keys[0]]
    assert posts(server, "batches") == 4


def test_a_job_taken_twice_is_taken_once(world, server):
    keys = world.submit()
    first = done(world, server, keys)
    requests, spent = len(server.books.requests), world.spent()
    assert [world.take(key) for key in keys] == first
    assert len(server.books.requests) == requests
    assert world.spent() == spent


def test_a_job_that_is_under_way_is_not_taken(world):
    [key, *_] = world.submit()
    with pytest.raises(TagsageError, match=rf"^The batch job {key} is still under way \(\w+\); "):
        world.take(key)


def test_an_unknown_job_is_told(world):
    for ask in (world.poll, world.take):
        with pytest.raises(TagsageError, match=r"knows no batch job 'nothing'; list the jobs"):
            ask("nothing")


# -- answers that do not arrive --------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset_after", "reset_midway", "truncated_body", "garbage"])
@pytest.mark.parametrize("endpoint", ["upload", "batch_create"])
def test_what_was_made_though_its_answer_was_lost_is_not_made_again(world, server, endpoint, fault):
    server.faults.next(endpoint, fault)
    one = world.but(texts=world.texts[:5])
    done(one, server, one.submit())
    one.assert_right()
    assert posts(server, "files") == posts(server, "batches") == 1
    assert not charged_twice(server.books)


@pytest.mark.parametrize("fault", ["500", "503", "429", "429_ms", "reset_before", "truncated_json"])
def test_passing_faults_are_waited_out(world, server, fault):
    for endpoint in ("upload", "batch_create", "batches", "files", "content"):
        server.faults.next(endpoint, fault)
    one = world.but(texts=world.texts[:5])
    [key] = one.submit()
    finish(server)
    server.faults.next("batches", fault)
    state = one.poll(key)  # asked once: told, not raised
    assert state.note
    assert not state.finished
    assert one.poll(key).finished
    one.take(key)
    one.assert_right()
    assert not charged_twice(server.books)


def test_a_server_that_stays_away_ends_the_run_and_the_next_one_goes_on(world, server):
    hasty = world.but(config=replace(world.config, patience_s=0.0), texts=world.texts[:5])
    server.faults.next("batch_create", "reset_after")
    with pytest.raises(TagsageError, match=r"cannot be reached .*; see that it runs"):
        hasty.submit()
    assert [state.state for state in list_jobs(world.folder)] == ["prepared"]
    assert hasty.claims() == 5
    [key] = hasty.submit()
    assert not hasty.poll(key).finished  # found, and sent
    done(hasty, server, [key])
    hasty.assert_right()
    assert posts(server, "batches") == 1


def test_a_job_is_found_at_the_server_when_everything_here_was_lost(world, server):
    keys = world.submit()
    shutil.rmtree(world.folder)
    assert world.submit() == keys
    done(world, server, keys)
    world.assert_right()
    assert posts(server, "files") == posts(server, "batches") == 3


@pytest.mark.parametrize("fault", ["truncated_body", "reset_midway", "500"])
def test_results_that_come_in_part_are_fetched_again(world, server, fault):
    keys = world.submit()
    server.faults.next("content", fault)
    done(world, server, keys)
    world.assert_right()
    assert not charged_twice(server.books)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("401", "refused the key"),
        ("403", "refused the key"),
        ("quota", "quota of the account is used up"),
        ("400", "answered 400"),
        ("404", "offers no Batch API .*; set openai_mode=online"),
    ],
)
@pytest.mark.parametrize("endpoint", ["upload", "batch_create"])
def test_a_job_that_the_server_refuses_is_undone(world, server, endpoint, fault, said):
    one = world.but(texts=world.texts[:5])
    server.faults.next(endpoint, fault)
    with pytest.raises(TagsageError, match=said):
        one.submit()
    assert one.claims() == 0
    assert one.spent().tokens == 0
    done(one, server, one.submit())
    one.assert_right()


def test_no_key_is_in_the_complaint(world, server):
    wrong = OpenAiConnection("sk-wrong-abcdefghijklmn", world.base_url)
    with pytest.raises(TagsageError, match="refused the key") as caught:
        batch_jobs_of(wrong, world)
    assert "abcdefghijklmn" not in repr(caught.value)
    assert caught.value.__cause__ is None


def batch_jobs_of(connection, world):
    with Calls(connection, world.config) as calls, calls.told():
        calls.patiently(lambda: calls.find_batch("any"))


def test_a_job_of_another_server_is_told(world, server, tmp_path):
    [key, *_] = world.submit()
    with pytest.raises(TagsageError, match=r"is at http://127.* not at http://elsewhere/v1; set"):
        world.but(base_url="http://elsewhere/v1").poll(key)


def test_a_batch_that_the_account_does_not_know_is_told_and_can_be_given_up(world, server):
    [key, *_] = world.submit()
    server.faults.next("batches", "404")
    with pytest.raises(TagsageError, match=rf"Cannot look after the batch \S+ of the job {key}: "):
        world.poll(key)
    state = cancel_job(None, world.config, key, folder=world.folder)
    assert (state.state, state.note) == ("taken", "it was given up")
    assert world.claims() == 40
    assert world.spent().lost_requests == 1
    report = world.take(key)
    assert (report.embedded, report.missing) == (0, 30)


# -- the ceiling -----------------------------------------------------------------------------------


def test_a_ceiling_that_a_job_could_cross_stops_before_it_is_sent(world, server):
    bound = sum(len(text) for text in world.texts)
    with pytest.raises(CeilingReachedError) as caught:
        world.but(ceiling=Ceiling(100.0, 100)).submit()
    assert "A batch of 30 texts is reserved at" in str(caught.value)
    assert "set openai_mode=online" in str(caught.value)
    assert not server.books.requests
    assert world.claims() == 0
    # Room for all but the last token: the jobs before it are under way, and found again.
    with pytest.raises(CeilingReachedError):
        world.but(ceiling=Ceiling(100.0, bound - 1)).submit()
    assert posts(server, "batches") == 2
    assert world.claims() == 60
    keys = world.but(ceiling=Ceiling(100.0, bound)).submit()
    assert len(keys) == 3
    done(world, server, keys)
    world.assert_right()


def test_a_ceiling_in_dollars_holds_too(world, server):
    with pytest.raises(CeilingReachedError, match=r"openai_max_dollars=1e-06"):
        world.but(ceiling=Ceiling(1e-6, 10**9)).submit()
    assert not server.books.requests


def test_what_a_job_did_not_use_is_free_for_the_run_again(world, server):
    bound = sum(len(text) for text in world.texts)
    some = world.but(ceiling=Ceiling(100.0, bound))
    done(some, server, some.submit())
    assert some.spent().tokens < bound / 2
    more = some.but(texts=[f"{text} again" for text in world.texts[:30]])
    done(more, server, more.submit())
    more.assert_right()


# -- results that lack something ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("400", "invalid_request_error"),
        ("429", "server_error"),
        ("500", "server_error"),
        ("missing_item", "the server left its vector out"),
        ("nan", "its vector holds a number that is not finite"),
        ("zero", "its vector is zero"),
        ("missing_line", "no answer for them"),
        ("broken_line", "no answer for them"),
    ],
)
def test_what_a_line_did_not_bring_goes_on_line(world, server, fault, problem):
    one = world.but(texts=world.texts[:30])  # three lines
    server.faults.next("batch_line", fault)
    [report] = done(one, server, one.submit())
    assert report.missing in {1, 10}
    assert report.embedded == 30 - report.missing
    assert sum(report.problems.values()) == report.missing
    assert list(report.problems) == [problem]
    assert one.right_share() == pytest.approx(report.embedded / 30)
    assert one.claims() == 0
    # What the server charged for lines that it lost counts as spent, too.
    assert one.spent().tokens >= server.books.tokens
    rest = one.online()
    assert rest.embedded == report.missing
    one.assert_right()
    assert not charged_twice(server.books)


def test_a_text_that_no_server_takes_is_rejected_on_line_and_not_submitted_again(tmp_path):
    faults = Faults(texts={"POISON": "400"}, retry_after_s=0.05)
    with by_hand(faults=faults) as server:
        world = World(tmp_path, server.base_url, [*some_texts(20), "a POISON text"])
        server.faults.next("batch_line", *["400"] * 3)
        [report] = done(world, server, world.submit())
        assert report.missing == 21
        rest = world.online()
        assert list(rest.rejected) == [bytes(text_hashes(["a POISON text"])[0])]
        assert world.submit() == []
        assert posts(server, "batches") == 1


# -- batches that end otherwise --------------------------------------------------------------------


def test_an_expired_batch_leaves_what_it_did_and_the_rest_goes_on_line(world, server):
    one = world.but(texts=world.texts[:30])
    [key] = one.submit()
    expire(server, lines=2)
    assert one.poll(key).status == "expired"
    report = one.take(key)
    assert (report.embedded, report.missing) == (20, 10)
    assert report.problems == {"batch_expired": 10}
    assert one.right_share() == pytest.approx(2 / 3)
    assert one.online().embedded == 10
    one.assert_right()
    assert not charged_twice(server.books)


def test_a_cancelled_batch_leaves_what_it_did_and_the_rest_goes_on_line(world, server):
    one = world.but(texts=world.texts[:30])
    [key] = one.submit()
    work(server, lines=1)
    state = cancel_job(one.connection, one.config, key, folder=one.folder)
    assert state.status in {"cancelling", "cancelled"}
    finish(server)
    assert one.poll(key).status == "cancelled"
    report = one.take(key)
    assert (report.embedded, report.missing) == (10, 20)
    assert one.online().embedded == 20
    one.assert_right()
    assert not charged_twice(server.books)


def test_cancelling_what_has_ended_changes_nothing(world, server):
    keys = world.submit()
    finish(server)
    state = cancel_job(world.connection, world.config, keys[0], folder=world.folder)
    assert (state.state, state.status) == ("ended", "completed")
    assert cancel_job(world.connection, world.config, keys[0], folder=world.folder) == state
    assert world.take(keys[0]).embedded == 30
    taken = cancel_job(world.connection, world.config, keys[0], folder=world.folder)
    assert taken.state == "taken"


@pytest.mark.parametrize("sent", [True, False])
def test_a_job_killed_while_it_was_sent_can_be_cancelled(world, server, sent):
    one = world.but(config=replace(world.config, patience_s=0.0), texts=world.texts[:5])
    server.faults.next("batch_create", "reset_after" if sent else "reset_before")
    with pytest.raises(TagsageError):
        one.submit()
    [job] = list_jobs(one.folder)
    cancel_job(one.connection, one.config, job.key, folder=one.folder)
    finish(server)
    assert one.poll(job.key).status == "cancelled"
    assert one.take(job.key).missing == 5
    assert one.claims() == 0
    assert one.online().embedded == 5
    assert not charged_twice(server.books)


def test_a_batch_that_fails_its_check_costs_nothing_and_goes_on_line(world, server):
    server.faults.next("batch_create", "failed")
    one = world.but(texts=world.texts[:5])
    [key] = one.submit()
    finish(server)
    state = one.poll(key)
    assert (state.state, state.status) == ("ended", "failed")
    assert state.note
    report = one.take(key)
    assert (report.embedded, report.missing, report.tokens) == (0, 5, 0)
    assert list(report.problems) == ["failed"]
    assert one.spent().tokens == 0
    assert one.online().embedded == 5
    one.assert_right()


def test_a_batch_for_which_the_queue_is_full_is_submitted_again_later(
    world, server, monkeypatch, caplog
):
    one = world.but(texts=world.texts[:5])
    set_queue(server, 1)
    [key] = one.submit()
    finish(server)
    with caplog.at_level(logging.INFO):
        state = one.poll(key)
    assert (state.state, state.finished) == ("deferred", False)
    assert "too much waiting: token_limit_exceeded" in state.note
    assert "submitted again later" in caplog.text
    assert one.claims() == 5
    assert one.poll(key).state == "deferred"
    assert posts(server, "batches") == 1  # not yet
    monkeypatch.setattr(batch_jobs, "DEFER_S", 0.0)
    set_queue(server, None)
    assert one.poll(key).state == "submitted"
    assert (posts(server, "files"), posts(server, "batches")) == (1, 2)
    done(one, server, [key])
    one.assert_right()
    assert one.spent().requests == 1


def test_a_queue_that_is_full_all_day_lets_the_texts_go(world, server, monkeypatch):
    one = world.but(texts=world.texts[:5])
    set_queue(server, 1)
    [key] = one.submit()
    finish(server)
    monkeypatch.setattr(batch_jobs, "GIVE_UP_S", 0.0)
    state = one.poll(key)
    assert state.state == "ended"
    assert "all day" in state.note
    assert one.take(key).missing == 5


def test_results_that_the_server_has_removed_in_time_count_as_lost(world, server, monkeypatch):
    one = world.but(texts=world.texts[:5])
    [key] = one.submit()
    finish(server)
    one.poll(key)
    monkeypatch.setattr(batch_results, "HORIZON_S", 0.0)
    server.faults.next("files", "404")
    report = one.take(key)
    assert report.problems == {"the results are gone": 5}
    assert one.spent().lost_requests == 1
    assert one.claims() == 0


@pytest.mark.parametrize("knows_batch", [True, False])
def test_results_that_are_not_found_are_not_given_up(world, server, monkeypatch, knows_batch):
    one = world.but(texts=world.texts[:5])
    [key] = one.submit()
    finish(server)
    one.poll(key)
    server.faults.next("files", "404")
    if not knows_batch:
        # However old it is: another account knows nothing of it.
        monkeypatch.setattr(batch_results, "HORIZON_S", 0.0)
        server.faults.next("batches", "404")
    with pytest.raises(
        TagsageError,
        match=rf"key, organization or project are not .* vectors cancel {key} --give-up\)\.$",
    ) as caught:
        one.take(key)
    assert caught.value.__suppress_context__
    assert one.claims() == 5
    # With the right key again.
    assert one.take(key).embedded == 5
    one.assert_right()
    assert not charged_twice(server.books)


@pytest.mark.parametrize("fault", ["401", "quota"])
def test_a_refusal_that_no_further_attempt_mends_leaves_the_results_for_later(world, server, fault):
    one = world.but(texts=world.texts[:5])
    [key] = one.submit()
    finish(server)
    one.poll(key)
    server.faults.next("files", fault)
    with pytest.raises(NonRetryableError):
        one.take(key)
    assert one.claims() == 5
    assert one.take(key).embedded == 5
    assert not charged_twice(server.books)


def test_a_file_of_errors_that_is_gone_costs_nothing_but_the_reasons(world, server):
    one = world.but(texts=world.texts[:30])
    server.faults.next("batch_line", "400")
    [key] = one.submit()
    finish(server)
    one.poll(key)
    server.faults.next("files", None, "404")
    report = one.take(key)
    assert (report.embedded, report.missing) == (20, 10)
    assert report.problems == {"failed, and the server no longer says why": 10}
    assert one.spent().tokens == server.books.tokens
    assert one.online().embedded == 10
    one.assert_right()
    assert not charged_twice(server.books)


def test_the_same_texts_missing_again_make_a_new_batch(world, server):
    one = world.but(texts=world.texts[:5])
    [key] = one.submit()
    done(one, server, [key])
    shutil.rmtree(one.folder / "cache")
    assert one.submit() == [key]
    done(one, server, [key])
    one.assert_right()
    assert posts(server, "batches") == 2
    assert one.spent().requests == 2


def test_texts_that_another_process_has_in_hand_or_ready_are_not_submitted(world, server):
    held = [bytes(each) for each in world.hashes[:10]]
    with Ledger(world.folder) as other:
        other.claim(world.config.model_id, held)
        ready = world.hashes[10:20]
        VectorCache(world.folder / CACHE, world.config.model_id, DIMENSIONS).put(
            ready, np.ones((10, DIMENSIONS), np.float32)
        )
        keys = world.submit()
        assert sum(state.texts for state in list_jobs(world.folder)) == 50
        assert len(keys) == 2


def test_what_a_killed_process_left_before_it_wrote_the_job_down_is_removed(world, server):
    orphan = world.folder / "jobs" / "0123"
    orphan.mkdir(parents=True)
    (orphan / "input.jsonl").write_text("{}")
    world.submit()
    assert not orphan.exists()


def test_the_input_is_what_a_job_says_it_is(world, server):
    one = world.but(texts=["b", "a", "", "a"], limits=JobLimits())
    [key] = one.submit()
    path = one.folder / "jobs" / key / "input.jsonl"
    [line] = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(line["body"]["input"]) == ["a", "b"]
    assert line["body"]["model"] == MODEL
    assert line["body"]["dimensions"] == DIMENSIONS
    assert line["body"]["encoding_format"] == "float"
    with Calls(one.connection, one.config) as calls:
        [file] = calls.client.files.list(purpose="batch")
        [batch] = calls.client.batches.list()
    assert file.filename == f"tagsage-{key}.jsonl"
    assert batch.metadata == {"tagsage": f"{key}-0"}


def test_a_model_with_its_own_dimensions_and_base64_works_too(tmp_path, server):
    world = World(
        tmp_path,
        server.base_url,
        some_texts(3),
        config=OpenAiConfig(model="text-embedding-ada-002", encoding="base64", timeout_s=10),
    )
    assert poll_job is not None
    from tagsage.embed.openai.batch_submit import submit_missing

    keys = submit_missing(
        world.connection, world.config, world.texts, world.hashes, np.arange(3),
        folder=tmp_path, dimensions=1536, run_id="r", price=0.0, ceiling=world.ceiling,
    )  # fmt: skip
    [report] = done(world, server, keys)
    assert report.embedded == 3
