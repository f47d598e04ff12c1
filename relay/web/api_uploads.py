"""The API of file uploads: tasks (0x9206), their control (0x9207), what came, and the files, as they are or as MP4."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from relay.core.uploads import Upload, UploadError, Uploads
from relay.hub.convert import UnsupportedFileError
from relay.web.api_stored import Record, known_sim
from relay.web.connection import SinkMaker
from relay.web.files import InThread, send_file
from relay.web.models_uploads import FileList, FileQuery, UploadControl, UploadList, UploadQuery, UploadStart, UploadView
from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call, Permission, Route

NETWORKS = {"wifi": 1, "lan": 2, "mobile": 4}
TYPES = {"mp4": "video/mp4", "avi": "video/x-msvideo", "ts": "video/mp2t", "jpg": "image/jpeg", "jpeg": "image/jpeg"}
CONVERTED = "converted"  #: folder inside a task's, for what was made of its files

#: makes an MP4 of a file: (source, target); fails with UnsupportedFileError, OSError
Convert = Callable[[Path, Path], Deferred[None]]


def upload_problem(error: UploadError) -> Problem:
    """As an answer."""
    return Problem(error.status, error.message, code=error.code, hint=error.hint)


class UploadApi:
    """Handlers and their routes."""

    def __init__(self, uploads: Uploads, names: Names, sinks: SinkMaker, in_thread: InThread, convert: Convert, record: Record) -> None:
        self._uploads = uploads
        self._names = names
        self._sinks = sinks
        self._in_thread = in_thread
        self._convert = convert
        self._record = record
        self._converting: dict[Path, list[Deferred[None]]] = {}

    def routes(self) -> Iterable[Route]:
        """The lines of the table."""
        one = "/api/v1/uploads/{id}"
        viewer, operator, tag = Permission.VIEWER, Permission.OPERATOR, "uploads"
        yield Route(
            method="POST", path="/api/v1/terminals/{sim}/channels/{channel:int}/uploads", handler=self.start, permission=operator, body=UploadStart,
            answer=UploadView, status=201, tag=tag, summary="Have recordings sent by FTP (0x9206), now or when the terminal is online", errors=(409, 503),
        )  # fmt: skip
        yield Route(
            method="GET", path="/api/v1/uploads", handler=self.list, permission=viewer, query=UploadQuery, answer=UploadList, tag=tag,
            summary="Upload tasks, newest first", errors=(503,), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path=one, handler=self.get, permission=viewer, answer=UploadView, tag=tag, summary="One task: its state, its progress, its files",
            errors=(503,), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="POST", path=f"{one}/control", handler=self.control, permission=operator, body=UploadControl, answer=UploadView, tag=tag,
            summary="Pause, resume, cancel (0x9207)", errors=(409, 502, 503, 504), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="DELETE", path=one, handler=self.remove, permission=operator, status=204, tag=tag, summary="Forget a task that is over, and its files",
            errors=(409, 503), scope="filtered",
        )  # fmt: skip
        yield Route(
            method="GET", path=f"{one}/files", handler=self.files, permission=viewer, answer=FileList, tag=tag, summary="The files that came", errors=(503,),
            scope="filtered",
        )  # fmt: skip
        for path, words in ((f"{one}/files/{{file}}", "One file, with ranges"), (f"{one}/file", "The only file, or the first, with ranges")):
            yield Route(
                method="GET", path=path, handler=self.file, permission=viewer, query=FileQuery, tag=tag, content_type="application/octet-stream",
                also=tuple(sorted(set(TYPES.values()))),
                summary=f"{words}; ?convert=mp4 makes it playable", errors=(409, 415, 416, 503), scope="filtered",
            )  # fmt: skip

    async def start(self, call: Call) -> dict[str, Any]:
        """Begin a task; its id comes at once."""
        body: UploadStart = call.body
        sim = await known_sim(self._names, call)
        channel, who = int(call.path["channel"]), call.principal.name
        conditions = sum({NETWORKS[each] for each in body.networks})
        upload = await self._uploads.start(sim, channel, body.criteria(), conditions, body.file_size, "api", who)
        self._record(who, "upload", f"{sim}_{channel}", f"upload {upload.id}: asked for", call.request.address)
        return upload.as_dict()

    async def list(self, call: Call) -> dict[str, Any]:
        """Newest first."""
        query: UploadQuery = call.query
        sim = (await self._names.sim(query.sim) or query.sim) if query.sim else ""
        before = None
        if query.after:
            created, _, ident = query.after.partition("_")
            try:
                before = float(created), ident
            except ValueError:
                raise Problem(400, "That is no `next` of a page.", code="bad_query") from None
        tasks, total = await self._uploads.page(sim, query.state or "", query.limit, before)
        more = f"{tasks[-1].created!r}_{tasks[-1].id}" if len(tasks) == query.limit else None
        if call.principal.groups:
            tasks = [task for task in tasks if call.sees(task.sim)]
            total = len(tasks)  # of others nothing is told, not even how many
        return {"items": [task.as_dict() for task in tasks], "total": total, "next": more}

    async def _known(self, call: Call) -> Upload:
        """The task that the path names, if it is the account's to see."""
        upload = await self._uploads.get(call.path["id"])
        if not call.sees(upload.sim):
            raise Problem(404, f"There is no upload {call.path['id']}.", code="unknown_upload")
        return upload

    async def get(self, call: Call) -> dict[str, Any]:
        """One task."""
        return (await self._known(call)).as_dict()

    async def control(self, call: Call) -> dict[str, Any]:
        """Tell the terminal."""
        upload = await self._known(call)
        await upload.control(call.body.action)
        self._record(call.principal.name, "upload", f"{upload.sim}_{upload.channel}", f"upload {upload.id}: {call.body.action}", call.request.address)
        return upload.as_dict()

    async def remove(self, call: Call) -> None:
        """Delete."""
        upload = await self._known(call)
        await self._uploads.remove(upload.id)
        self._record(call.principal.name, "upload", f"{upload.sim}_{upload.channel}", f"upload {upload.id}: deleted", call.request.address)

    async def files(self, call: Call) -> dict[str, Any]:
        """What came."""
        upload = await self._known(call)
        items = [each.as_dict() for each in upload.facts.files.values()]
        return {"items": items, "total": len(items), "next": None}

    async def file(self, call: Call) -> Any:
        """One file."""
        upload = await self._known(call)
        name = call.path.get("file") or next(iter(upload.facts.files), "")
        stored = upload.facts.files.get(name)
        if stored is None:
            raise Problem(404, f"Upload {upload.id} has no file {name}." if name else f"Upload {upload.id} has no file yet.", code="unknown_file")
        path, tag = upload.folder / name, stored.sha256[:32]
        ending = name.rpartition(".")[2].lower()
        content_type = TYPES.get(ending, "application/octet-stream")
        if call.query.convert == "mp4":
            path = await self._converted(upload, name)
            name, content_type, tag = f"{name.removesuffix('.mp4')}.mp4", "video/mp4", f"mp4-{tag}" if tag else ""

        def ended(sent: int) -> None:
            self._record(call_name, "download", f"{upload.sim}_{upload.channel}", f"upload {upload.id}: {name}", address, sent)

        call_name, address = call.principal.name, call.request.address
        return await send_file(call, self._sinks, self._in_thread, path, content_type, name, tag, ended)

    async def _converted(self, upload: Upload, name: str) -> Path:
        """The MP4 made of a file; made once, by whoever asks first."""
        stored = upload.facts.files[name]
        if name in upload.open:
            raise Problem(409, f"{name} is still being sent.", code="uploading", hint="Wait until it is complete, or fetch it as it is.")
        target = upload.folder / CONVERTED / f"{stored.size}_{name}.mp4"
        if await self._in_thread(target.exists):
            return target
        waiting = self._converting.get(target)
        if waiting is not None:
            mine: Deferred[None] = Deferred()
            waiting.append(mine)
            await mine
            if await self._in_thread(target.exists):
                return target
        self._converting[target] = []
        try:
            if problem := self._uploads.room(0):
                raise Problem(503, "There is no room for another file.", code=problem, hint="Delete uploads that nobody needs.")
            await self._convert(upload.folder / name, target)
        except UnsupportedFileError as problem:
            raise Problem(415, problem.message, code="unsupported_file", hint=problem.hint) from None
        except OSError as problem:
            raise Problem(503, f"{name} cannot be converted: {problem.strerror}.", code="conversion_failed", hint="Is the disk full?") from None
        finally:
            for each in self._converting.pop(target):
                each.callback(None)
        return target

