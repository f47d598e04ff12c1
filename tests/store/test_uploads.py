"""The table of upload tasks, in SQLite and PostgreSQL."""

from __future__ import annotations

from relay.store import uploads
from relay.store.connection import Connection
from relay.store.uploads import UploadRow


def row(number: int, state: str = "done", finished: float | None = None, sim: str = "13800138000", size: int = 100) -> UploadRow:
    return UploadRow(f"u{number}", sim, 1, state, 1000.0 + number // 2, finished, size, '{"who": "前"}')


def test_a_task_is_written_again_as_it_goes_on(connection: Connection) -> None:
    uploads.put(connection, [row(1, "queued", size=0)])
    uploads.put(connection, [row(1, "done", finished=2000.0, size=5_000_000_000)])
    assert uploads.get(connection, "u1") == row(1, "done", finished=2000.0, size=5_000_000_000)
    assert uploads.get(connection, "u2") is None
    assert uploads.size(connection) == 5_000_000_000


def test_what_is_active_and_what_is_over(connection: Connection) -> None:
    uploads.put(connection, [row(1, "uploading"), row(2, "done", 3000.0), row(3, "failed", 2000.0), row(4, "paused")])
    assert [each.id for each in uploads.active(connection)] == ["u1", "u4"]
    assert [each.id for each in uploads.finished(connection, 10)] == ["u3", "u2"]
    assert [each.id for each in uploads.finished(connection, 1)] == ["u3"]
    uploads.remove(connection, ["u3", "u9"])
    assert uploads.get(connection, "u3") is None


def test_pages_newest_first_without_a_gap_among_equal_times(connection: Connection) -> None:
    uploads.put(connection, [row(number, sim="1" if number % 3 else "2") for number in range(10)])
    seen: list[str] = []
    before = None
    while True:
        rows, total = uploads.page(connection, "", "", 3, before)
        assert total == 10
        if not rows:
            break
        seen += [each.id for each in rows]
        before = rows[-1].created, rows[-1].id
    assert seen == [f"u{number}" for number in reversed(range(10))]
    rows, total = uploads.page(connection, "2", "done", 100, None)
    assert ([each.id for each in rows], total) == (["u9", "u6", "u3", "u0"], 4)
    assert uploads.page(connection, "", "queued", 100, None) == ([], 0)
    assert uploads.size(connection) == 1000
