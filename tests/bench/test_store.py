import sqlite3

import pytest

from ogive.bench.store import Results, Store, StoreError, TaskInfo, Trial

INFO = TaskInfo("tiny", "Tiny", "accuracy", True, "d", "data", "model", 30)
OK = Trial(
    "tiny", "relu", "test", 0.01, 3, "ok", 0.1 + 0.2, ((10, 2.3, 0.1), (30, 1 / 3, 0.30000000000000004)),
    {"params": 12.0, "seconds": 1e-3},
)  # fmt: skip
LOST = Trial("tiny", "x * exp(x)", "tune", 1e3, 500, "diverged", error="the loss was nan at step 2 of 30")


def filled(path):
    store = Store.create(path, {"acts": ["relu"]}, [INFO])
    store.add(OK)
    store.add(LOST)
    return store


def test_what_goes_in_comes_out_bit_for_bit(tmp_path):
    filled(tmp_path / "t.sqlite").close()
    with Store.open(tmp_path / "t.sqlite") as store:
        results = store.results()
    assert results.trials == (OK, LOST)
    assert results.tasks == (INFO,)
    assert Results.from_dict(results.to_dict()) == results


def test_a_trial_is_kept_once(tmp_path):
    with filled(tmp_path / "t.sqlite") as store:
        store.add(OK)
        assert len(store.results().trials) == 2


def test_only_failed_trials_are_dropped(tmp_path):
    with filled(tmp_path / "t.sqlite") as store:
        store.add(Trial("tiny", "relu", "test", 0.01, 4, "failed", error="ValueError: no"))
        store.drop_failed()
        assert store.results().trials == (OK, LOST)


def test_create_does_not_overwrite(tmp_path):
    filled(tmp_path / "t.sqlite").close()
    before = (tmp_path / "t.sqlite").read_bytes()
    with pytest.raises(StoreError, match="--resume"):
        Store.create(tmp_path / "t.sqlite", {}, [])
    assert (tmp_path / "t.sqlite").read_bytes() == before


def truncated(path):
    filled(path).close()
    path.write_bytes(path.read_bytes()[:5000])


def overwritten(path):
    filled(path).close()
    whole = bytearray(path.read_bytes())
    whole[4096:12288] = b"\xa5" * 8192
    path.write_bytes(whole)


def text(path):
    path.write_text("task,act,score\n" * 1000)


def foreign(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE trials (a, b)")
    db.close()


def half_a_curve(path):
    filled(path).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE trials SET curve = '[[1, 2.0'")
    db.close()


def unknown_status(path):
    filled(path).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE trials SET status = 'fine'")
    db.close()


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncated, overwritten, text, foreign, half_a_curve, unknown_status, empty])
def test_a_damaged_file_is_reported_and_left_untouched(tmp_path, damage):
    path = tmp_path / "t.sqlite"
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="left untouched"):
        Store.open(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.sqlite"]


def test_a_missing_file_is_not_created(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        Store.open(tmp_path / "t.sqlite")
    assert not list(tmp_path.iterdir())
